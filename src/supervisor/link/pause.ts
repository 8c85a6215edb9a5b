import { deferred } from '../../base/deferred.js'
import { LONGEST_TIMER_MS } from '../../base/timeout.js'

/** A wait that may be cut short. On the clock that nobody sets, and that stands still while the machine sleeps. */
export class Pause {
  readonly #over = deferred<void>()
  readonly #startedMs = performance.now()
  readonly #leastMs: number
  #endsAtMs: number
  #timer: NodeJS.Timeout

  /** `leastMs`: who hastens the end cannot make it shorter than this. */
  constructor(ms: number, leastMs = 0) {
    this.#leastMs = leastMs
    this.#endsAtMs = this.#startedMs + ms
    this.#timer = this.#timerFor(ms)
  }

  /** Resolves at the end, however it comes. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedMs
  }

  get leftMs(): number {
    return Math.max(0, this.#endsAtMs - performance.now())
  }

  /** Lets it end `ms` after its beginning, or at once when that is past; never later than it would anyway. */
  hasten(ms: number): void {
    const endsAtMs = this.#startedMs + Math.max(ms, this.#leastMs)
    if (endsAtMs >= this.#endsAtMs) return
    clearTimeout(this.#timer)
    this.#endsAtMs = endsAtMs
    this.#timer = this.#timerFor(this.leftMs)
  }

  /** Ends it now. */
  end(): void {
    clearTimeout(this.#timer)
    this.#endsAtMs = performance.now()
    this.#over.resolve()
  }

  #timerFor(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.end(), Math.min(ms, LONGEST_TIMER_MS))
  }
}
