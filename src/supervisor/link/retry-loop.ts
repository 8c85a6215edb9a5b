import { needsUser, type DproxyError } from '../../base/errors.js'
import type { Attempts } from './attempts.js'
import { delayBefore, leastDelay } from './backoff.js'
import type { ClockJumps } from './clock-jumps.js'
import type { LinkStatus } from './link-status.js'
import { Pause } from './pause.js'

export interface RetryLoopOptions {
  readonly attempts: Attempts
  readonly status: LinkStatus
  readonly stop: AbortSignal
  readonly jumps: ClockJumps
}

// A link that holds for less than this counts as one more failed try: a server that lets us in and hangs up
// would otherwise be asked several times a second, for ever.
const HOLDS_AFTER_MS = 10_000

/**
 * Tries to bring a link up, and up again whenever it is lost, for ever: until it is stopped, or only the user can
 * help (promise 5).
 */
export class RetryLoop {
  readonly #attempts: Attempts
  readonly #status: LinkStatus
  readonly #stop: AbortSignal
  readonly #jumps: ClockJumps
  #reconnects = 0
  /** Tries that have come to nothing, one after the other. */
  #failures = 0
  #isFirstAfterLoss = false
  /** The wait for the next try. */
  #pause: Pause | undefined
  #running: Promise<void> | undefined

  constructor({ attempts, status, stop, jumps }: RetryLoopOptions) {
    this.#attempts = attempts
    this.#status = status
    this.#stop = stop
    this.#jumps = jumps
  }

  /** How often a link that was up was lost. */
  get reconnects(): number {
    return this.#reconnects
  }

  /** Milliseconds until the next try; null while none is waited for. */
  get nextTryMs(): number | null {
    return this.#pause ? Math.round(this.#pause.leftMs) : null
  }

  /** A link that was up is lost, and the first try to make it again is waited for or under way. */
  get isFirstAfterLoss(): boolean {
    return this.#isFirstAfterLoss
  }

  /** Tries now: for the first time, once more after it was given up, or without waiting any longer. */
  tryNow(): void {
    this.#pause?.end()
    if (this.#running || this.#stop.aborted) return
    this.#status.enter('connecting')
    const unsubscribe = this.#jumps.subscribe(() => this.#onJump())
    this.#running = this.#run().finally(() => {
      unsubscribe()
      this.#running = undefined
    })
  }

  /** Lets the wait for the next try last for no more than `ms`, unless the other side has asked for more. */
  hasten(ms: number): void {
    this.#pause?.hasten(ms)
  }

  /** Resolves when nothing is tried any more, once the signal to stop has been given. */
  async stopped(): Promise<void> {
    this.#pause?.end()
    await this.#running
  }

  async #run(): Promise<void> {
    this.#failures = 0
    while (!this.#stop.aborted) {
      const { error, heldMs } = await this.#attempts.next()
      if (heldMs !== undefined) this.#reconnects += 1
      if (this.#stop.aborted) return
      this.#status.note(error)
      // Somebody came while nobody could be asked: they get a try of their own before they hear that it failed.
      if (this.#attempts.personWaits) continue
      if (needsUser(error.code)) return this.#giveUp()
      if (heldMs !== undefined && heldMs >= HOLDS_AFTER_MS) this.#failures = 0
      this.#failures += 1
      this.#isFirstAfterLoss = this.#failures === 1 && heldMs !== undefined
      await this.#rest(error)
      if (!this.#stop.aborted) this.#status.enter('connecting')
    }
  }

  async #rest({ retryAfterMs }: DproxyError): Promise<void> {
    const leastMs = retryAfterMs === undefined ? 0 : leastDelay(retryAfterMs)
    this.#pause = new Pause(Math.max(leastMs, delayBefore(this.#failures)), leastMs)
    this.#attempts.abandon()
    this.#status.enter('retrying')
    await this.#pause.over
    this.#pause = undefined
  }

  /** The machine has slept: what could not be reached before may be there now; and if it is not yet, it soon is. */
  #onJump(): void {
    this.#failures = 0
    this.#pause?.hasten(this.#pause.elapsedMs + delayBefore(1))
  }

  #giveUp(): void {
    this.#attempts.lane?.close()
    this.#attempts.abandon()
    this.#status.enter('failed')
  }
}
