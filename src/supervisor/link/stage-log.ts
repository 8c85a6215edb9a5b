import type { Stage } from '../../base/errors.js'

/** The stages of one attempt to bring a host up: which are passed, how long each took, and which is on. */
export class StageLog {
  readonly #passed: { stage: Stage; ms: number }[] = []
  #current: { readonly stage: Stage; readonly startedMs: number } | undefined

  /** The stage being worked on. */
  get current(): Stage | null {
    return this.#current?.stage ?? null
  }

  /** In order, with the milliseconds each took. */
  get passed(): readonly { stage: Stage; ms: number }[] {
    return this.#passed
  }

  /** The stage before is passed, this one begins; begun once more, it and what came after it count anew. */
  begin(stage: Stage): void {
    this.finish()
    const before = this.#passed.findIndex((passed) => passed.stage === stage)
    if (before !== -1) this.#passed.length = before
    this.#current = { stage, startedMs: performance.now() }
  }

  /** The last stage is passed. */
  finish(): void {
    if (!this.#current) return
    const { stage, startedMs } = this.#current
    this.#passed.push({ stage, ms: Math.round(performance.now() - startedMs) })
    this.#current = undefined
  }

  /** The current stage was not passed, and nothing is tried for now. */
  abandon(): void {
    this.#current = undefined
  }
}
