/**
 * How one piece of work ended: well; refused with 503; at a socket that was not there; cut on the way; or wrong,
 * in a sentence.
 */
export type Outcome = 'done' | 'refused' | 'away' | 'cut' | { readonly wrong: string }

/** What was seen, for the summary and for the verdict. */
export class Tally {
  /** Ends by kind of work. */
  readonly work = new Map<string, Record<Extract<Outcome, string>, number>>()
  readonly faults = new Map<string, number>()
  /** Milliseconds from the end of a fault to the first request served. */
  readonly recoveries: number[] = []
  /** Bytes of transfers that ended well. */
  bytes = 0
  /** What must never be: each with when, where, and what was done to that host last. */
  readonly wrong: string[] = []
  /** How long the control socket took to answer, milliseconds. */
  readonly answers: number[] = []
  readonly resident: { readonly atMs: number; readonly bytes: number }[] = []
  readonly #sinceMs = performance.now()
  readonly #last = new Map<string, string>()

  count(host: string, kind: string, outcome: Outcome): void {
    const row = this.work.get(kind) ?? { done: 0, refused: 0, away: 0, cut: 0 }
    this.work.set(kind, row)
    if (typeof outcome === 'string') row[outcome] += 1
    else this.blame(host, `${kind}: ${outcome.wrong}`)
  }

  /** Something is wrong. */
  blame(host: string, what: string): void {
    const last = this.#last.get(host)
    this.wrong.push(`${this.#clock()} ${host}: ${what}${last === undefined ? '' : ` (last fault: ${last})`}`)
  }

  fault(host: string, kind: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1)
    this.#last.set(host, `${kind}, at ${this.#clock()}`)
  }

  #clock(): string {
    return `${((performance.now() - this.#sinceMs) / 1000).toFixed(1)} s`
  }
}

export const median = (numbers: readonly number[]): number =>
  numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? Number.NaN

/** Bytes a minute that memory grew by: the slope of the straight line nearest to the samples. */
export const slope = (samples: Tally['resident']): number => {
  const mean = (pick: (sample: Tally['resident'][number]) => number) =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length
  const [atMs, bytes] = [mean((sample) => sample.atMs), mean((sample) => sample.bytes)]
  const along = samples.reduce((sum, at) => sum + (at.atMs - atMs) * (at.bytes - bytes), 0)
  const across = samples.reduce((sum, at) => sum + (at.atMs - atMs) ** 2, 0)
  return (along / across) * 60_000
}
