// So many within so long are no accident any more: the same happens again.
export const MOST_CRASHES = 5
const WITHIN_MS = 60_000

const FIRST_PAUSE_MS = 1000

/** When something crashed lately, and what follows from that: at once the first time, then after longer and longer. */
export class Crashes {
  #atMs: number[]

  /** `atMs`: those that are known already, milliseconds since 1970. */
  constructor(atMs: readonly number[] = []) {
    this.#atMs = [...atMs]
  }

  /** Those that still count. */
  get lately(): readonly number[] {
    this.#atMs = this.#atMs.filter((at) => Date.now() - at < WITHIN_MS)
    return this.#atMs
  }

  get areTooMany(): boolean {
    return this.lately.length >= MOST_CRASHES
  }

  /** How long to wait before the next start, milliseconds. */
  get pauseMs(): number {
    const { length } = this.lately
    return length < 2 ? 0 : FIRST_PAUSE_MS * 2 ** (length - 2)
  }

  add(): void {
    this.#atMs.push(Date.now())
  }
}

/** What is logged of an exception: where it came from; never what it carried. */
export const stackOf = (failure: unknown): string =>
  failure instanceof Error ? (failure.stack ?? failure.message) : String(failure)

export const sentenceOf = (failure: unknown): string => {
  const text = failure instanceof Error ? `${failure.name}: ${failure.message}` : String(failure)
  return text.split('\n', 1)[0]?.slice(0, 300) ?? ''
}
