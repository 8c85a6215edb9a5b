import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlClient } from '../../control/client.js'
import type { LineChannel } from '../../control/line-channel.js'
import type { Failure, HandOverNews, HandOverOrder, Running, TakeOverReply } from '../../control/messages.js'
import { deferred, type Deferred } from '../../base/deferred.js'
import { DproxyError, isErrorCode } from '../../base/errors.js'

// What a cut costs beyond its drain.
const CUT_WITHIN_MS = 1000
// One that hangs keeps its streams; everybody else is served by us.
const RETIRES_WITHIN_MS = 5000

/** The supervisor whose place we take: frozen, then retired, until its last stream has ended. */
export class Predecessor {
  readonly pid: number
  readonly running: Running
  readonly #channel: LineChannel<HandOverNews, HandOverOrder>
  readonly #onCut: (host: string) => void
  readonly #retired: Deferred<TakeOverReply['draining']>
  /** The hosts whose streams have not all ended there. */
  readonly #draining = new Map<string, Deferred<void>>()

  /**
   * Freezes the supervisor that `control` leads to: from here on it starts and stops nothing, until it retires or
   * `leave` is called. `onCut` hears of clients that must be held down.
   * @throws DproxyError when it does not agree
   */
  static async freeze(control: ControlClient, onCut: (host: string) => void): Promise<Predecessor> {
    const channel = await control.handOver()
    const frozen = deferred<Extract<HandOverNews, { is: 'frozen' }>>()
    const retired = deferred<TakeOverReply['draining']>()
    retired.promise.catch(() => undefined)
    let made: Predecessor | undefined
    channel.receive((news) => {
      if (news.is === 'frozen') frozen.resolve(news)
      if (news.is === 'retired') retired.resolve(news.draining)
      if (news.is === 'cut') onCut(news.host)
      if (news.is === 'drained' && made) made.#drained(news.host)
      if (news.is !== 'refused') return
      frozen.reject(refusal(news))
      retired.reject(refusal(news))
    })
    void channel.closed.then(() => {
      frozen.reject(gone())
      // It has died with the sockets already ours: we serve, and whatever streams it had were cut.
      retired.resolve([])
      if (made) made.#gone()
    })
    try {
      made = new Predecessor(await frozen.promise, channel, onCut, retired)
      return made
    } catch (failure) {
      channel.close()
      throw failure
    }
  }

  private constructor(
    { pid, running }: Extract<HandOverNews, { is: 'frozen' }>,
    channel: LineChannel<HandOverNews, HandOverOrder>,
    onCut: (host: string) => void,
    retired: Deferred<TakeOverReply['draining']>,
  ) {
    this.pid = pid
    this.running = running
    this.#channel = channel
    this.#onCut = onCut
    this.#retired = retired
    for (const { definition } of running.hosts) this.#draining.set(definition.name, deferred())
  }

  /**
   * Tells it that its sockets are ours: it accepts no more clients and lets its streams end for `drainMs`.
   * Resolves with the streams it still has.
   * @throws DproxyError when it serves on, because it was told to stop or because we took too long
   */
  async retire(drainMs: number): Promise<TakeOverReply['draining']> {
    this.#channel.send({ do: 'retire', drainMs })
    const enough = new AbortController()
    const late = sleep(RETIRES_WITHIN_MS, [], { signal: enough.signal }).catch(() => [])
    try {
      return await Promise.race([this.#retired.promise, late])
    } finally {
      enough.abort()
    }
  }

  /** Gives what it has of a host's streams no more than `drainMs`; resolves when they are over. */
  async end(host: string, drainMs: number): Promise<void> {
    const over = this.drained(host)
    this.#channel.send({ do: 'hasten', host, drainMs })
    const enough = new AbortController()
    const late = sleep(drainMs + CUT_WITHIN_MS, undefined, { signal: enough.signal }).catch(() => undefined)
    await Promise.race([over, late])
    enough.abort()
  }

  /** Resolves when it has no stream of a host. */
  async drained(host: string): Promise<void> {
    await this.#draining.get(host)?.promise
  }

  /**
   * Holds down the clients that still have streams there, because others of theirs are cut here: docker keeps the
   * connection that it began a command with, and asks in it what became of the command.
   */
  holdDown(host: string): void {
    if (this.#draining.has(host)) this.#channel.send({ do: 'hold down', host })
  }

  /** Lets it serve on. */
  leave(): void {
    this.#channel.close()
  }

  #drained(host: string): void {
    this.#draining.get(host)?.resolve()
    this.#draining.delete(host)
  }

  #gone(): void {
    // It was killed, and with it what streams it had.
    for (const host of this.#draining.keys()) {
      this.#onCut(host)
      this.#drained(host)
    }
  }
}

const refusal = ({ code, message, hint, stage }: Failure): DproxyError =>
  new DproxyError(isErrorCode(code) ? code : 'INTERNAL', message, {
    hint: hint ?? undefined,
    stage: stage ?? undefined,
  })

const gone = (): DproxyError =>
  new DproxyError('SUPERVISOR_DOWN', 'the running supervisor went away before its place could be taken', {
    hint: 'see: dproxy logs; then start your hosts again: dproxy up',
  })
