import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { LineChannel } from '../../control/line-channel.js'
import type { HandOverNews, HandOverOrder, Running, TakeOverReply } from '../../control/messages.js'
import { deferred } from '../../base/deferred.js'
import { asDproxyError, DproxyError } from '../../base/errors.js'
import { failureOf } from '../failure.js'

/** A supervisor that another one takes the place of. */
export interface Retiring {
  /**
   * Starts and stops no host until `thaw`. `onCut` hears of streams that end before their work is done, before
   * their clients do.
   * @throws DproxyError when nobody may take its place now
   */
  freeze(onCut: (host: string) => void): Promise<Running>
  thaw(): void
  /** Accepts its last clients, and leaves its place, for good. @throws DproxyError when it serves on */
  retire(): Promise<TakeOverReply['draining']>
  /** Lets the streams end for `drainMs`, cuts the rest, and is done. */
  finish(drainMs: number, onDrained: (host: string) => void): Promise<void>
  /** The streams of a host have no more than `drainMs` left. */
  hasten(host: string, drainMs: number): void
  /** Streams of a host were cut in the successor. */
  holdDown(host: string): void
}

// Renaming sockets takes milliseconds. A successor that takes longer hangs, and our hosts are not to hang with it.
const FROZEN_AT_MOST_MS = 10_000

/**
 * Hands everything over to `successor`, up to the last stream; or goes on as before when the successor is gone
 * before it has said that the sockets are its own. Never rejects.
 */
export const handOver = async (
  retiring: Retiring,
  successor: LineChannel<HandOverOrder, HandOverNews>,
  pid: number,
): Promise<void> => {
  const order = deferred<number | undefined>()
  successor.receive((message) => {
    if (message.do === 'retire') order.resolve(message.drainMs)
    else if (message.do === 'hold down') retiring.holdDown(message.host)
    else retiring.hasten(message.host, message.drainMs)
  })
  void successor.closed.then(() => order.resolve(undefined))
  const refuse = (failure: unknown) => successor.send({ is: 'refused', ...failureOf(asDproxyError(failure)) })
  let running: Running
  try {
    running = await retiring.freeze((host) => successor.send({ is: 'cut', host }))
    successor.send({ is: 'frozen', pid, running })
  } catch (failure) {
    refuse(failure)
    return successor.close()
  }
  try {
    const drainMs = await orLate(order.promise)
    if (drainMs === undefined || (await isGone(successor))) return retiring.thaw()
    const draining = await retiring.retire()
    // Whoever serves these clients after it knows of no cut here: they must lose their streams while its sockets
    // are dead, or docker would ask there what became of a command, and read the answer as success.
    void successor.closed.then(() => {
      for (const { definition } of running.hosts) retiring.hasten(definition.name, 0)
    })
    successor.send({ is: 'retired', draining })
    await retiring.finish(drainMs, (host) => successor.send({ is: 'drained', host }))
  } catch (failure) {
    retiring.thaw()
    refuse(failure)
  } finally {
    successor.close()
  }
}

/** Whether its last words are all there is of it: the end of a connection is read a turn later than they are. */
const isGone = async (successor: LineChannel<HandOverOrder, HandOverNews>): Promise<boolean> => {
  for (let turn = 0; turn < 2; turn += 1) await nextTurn()
  return successor.isOver
}

const orLate = async <T>(work: Promise<T>): Promise<T> => {
  const done = new AbortController()
  const late = sleep(FROZEN_AT_MOST_MS, undefined, { signal: done.signal }).then(() => {
    throw new DproxyError('SUPERVISOR_FAILED', 'the new supervisor did not take the sockets in time')
  })
  late.catch(() => undefined)
  try {
    return await Promise.race([work, late])
  } finally {
    done.abort()
  }
}
