import { setTimeout as sleep } from 'node:timers/promises'
import { deferred } from '../../base/deferred.js'
import { unless } from '../../base/timeout.js'

// Nobody tells when a session that has ended is free there as well; soon, and then less and less often, it is tried.
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1000

/** Who waits for something that can be tried again and again, in the order in which they came. */
export class WaitingLine {
  readonly #waiting: object[] = []
  #changed = deferred<void>()

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** There is a reason to try again. */
  notify(): void {
    this.#changed.resolve()
    this.#changed = deferred()
  }

  /**
   * Waits until it is one's turn and `attempt` comes to something. It is tried after each `notify`, and without one
   * from time to time.
   * @throws what `attempt` throws, or the reason of `signal`
   */
  async wait<T>(signal: AbortSignal, attempt: () => Promise<T | undefined>): Promise<T> {
    const self = {}
    this.#waiting.push(self)
    try {
      let reason = this.#changed.promise
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
        do {
          await unless([signal], orAfter(pauseMs, reason))
          // Taken before the try: what happens meanwhile is a reason for the next.
          reason = this.#changed.promise
        } while (this.#waiting[0] !== self)
        const found = await attempt()
        if (found !== undefined) return found
      }
    } finally {
      this.#waiting.splice(this.#waiting.indexOf(self), 1)
      // What was enough for one may be enough for the next.
      this.notify()
    }
  }
}

/** Waits for `reason`, and at most so long. */
const orAfter = async (ms: number, reason: Promise<void>): Promise<void> => {
  const pause = new AbortController()
  const over = sleep(ms, undefined, { signal: pause.signal }).catch(() => undefined)
  await Promise.race([reason, over]).finally(() => pause.abort())
}
