import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { deferred } from '../../base/deferred.js'
import { unless } from '../../base/timeout.js'

// A few are as fast as many, and leave something of the machine to the streams of other hosts.
const AT_ONCE = 4

// ssh -G takes some ten milliseconds. What takes longer waits for something: a name server, a lock, a network.
const MAKES_ROOM_AFTER_MS = 100

const limit = pLimit(AT_ONCE)

/**
 * Runs `work`, which starts a program, when its turn has come: hosts that are tried again all at the same time do
 * not start as many programs at the same time. One that takes long makes room for the next, so that what a dead
 * host waits for never holds up a living one. Rejects at once when `signal` aborts.
 */
export const inTurn = <T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> => {
  const done = deferred<T>()
  void limit(async () => {
    if (signal.aborted) return
    const working = (async () => work())()
    working.then(done.resolve, done.reject)
    const soon = sleep(MAKES_ROOM_AFTER_MS, undefined, { ref: false })
    await Promise.race([working, soon]).catch(() => undefined)
  })
  return unless([signal], done.promise)
}
