import { asDproxyError, needsUser, type DproxyError } from '../../base/errors.js'
import type { PooledLane } from './pool-member.js'

// After a connection that could not be opened, the next is not tried for this long.
const PAUSE_MS = 30_000

export interface PoolGrowthOptions {
  /** Opens one more connection to the same host, asking nobody. */
  readonly open: (signal: AbortSignal) => Promise<PooledLane>
  /** Takes it. */
  readonly adopt: (lane: PooledLane) => void
  readonly onFailed: (failure: DproxyError) => void
  /** The pool is no more. */
  readonly over: AbortSignal
}

/** Opens further connections for a pool: one at a time, and none for a while after one that could not be opened. */
export class PoolGrowth {
  readonly #options: PoolGrowthOptions
  #opening: Promise<void> | undefined
  #notBeforeMs = 0

  constructor(options: PoolGrowthOptions) {
    this.#options = options
  }

  /** Resolves when nothing is being opened. */
  get settled(): Promise<void> {
    return this.#opening ?? Promise.resolve()
  }

  /** Begins to open one more, if that may be done now. */
  start(): void {
    if (this.#opening || this.#options.over.aborted || performance.now() < this.#notBeforeMs) return
    this.#opening = this.#open().finally(() => {
      this.#opening = undefined
    })
  }

  async #open(): Promise<void> {
    const { open, adopt, onFailed, over } = this.#options
    try {
      const lane = await open(over)
      if (over.aborted) lane.close()
      else adopt(lane)
    } catch (failure) {
      if (over.aborted) return
      const error = asDproxyError(failure)
      // Promise 5: what only the user can mend is not tried again.
      this.#notBeforeMs = needsUser(error.code) ? Number.POSITIVE_INFINITY : performance.now() + PAUSE_MS
      onFailed(error)
    }
  }
}
