// One tick a second costs next to nothing, and nobody minds a second after hours of sleep.
const TICK_MS = 1000

// What a tick may be late without meaning anything: a busy machine, a long computation, a clock that is set right.
const MEANS_NOTHING_MS = 4000

export interface ClockJumpsOptions {
  /** The wall clock, milliseconds since 1970: the only one that goes on while the machine sleeps. */
  readonly wallMs?: () => number
  readonly tickMs?: number
}

/**
 * Notices that this process has stood still while the world went on: the machine slept, or the process was
 * stopped. Timers and `performance.now()` tell nothing of it, as Linux' CLOCK_MONOTONIC stands still as well
 * (clock_gettime(2)); so the wall clock is looked at once a second. Costs nothing while nobody listens.
 */
export class ClockJumps {
  readonly #wallMs: () => number
  readonly #tickMs: number
  readonly #listeners = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  #lastMs = 0

  constructor({ wallMs = Date.now, tickMs = TICK_MS }: ClockJumpsOptions = {}) {
    this.#wallMs = wallMs
    this.#tickMs = tickMs
  }

  /** `listener` hears of every jump ahead, until what is returned is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    if (!this.#timer) {
      this.#lastMs = this.#wallMs()
      this.#timer = setInterval(() => this.#tick(), this.#tickMs).unref()
    }
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #tick(): void {
    const nowMs = this.#wallMs()
    const passedMs = nowMs - this.#lastMs
    this.#lastMs = nowMs
    if (passedMs > this.#tickMs + MEANS_NOTHING_MS) for (const listener of this.#listeners) listener()
  }
}

/** The one watch of this process. */
export const clockJumps = new ClockJumps()
