import type { Duplex } from 'node:stream'

/** As long as a link holds its clients down after a loss (promise 2), milliseconds. */
export const CUT_COUNTS_MS = 1000

/** Another supervisor that may have streams of the same host: the one whose place we took, or who takes ours. */
export type Neighbour = 'predecessor' | 'successor'

/** Streams of one host that were cut here or in another supervisor, and who is to be told of them. */
export class Cuts {
  readonly #listeners = new Map<Neighbour, () => void>()
  /** On the clock that nobody sets back. */
  #atMs = Number.NEGATIVE_INFINITY
  /** How often another supervisor has told of streams that it had. */
  #heard = 0
  #heardFrom: Neighbour | undefined

  /** Whether streams were cut, here or there, a moment ago. */
  get areRecent(): boolean {
    return performance.now() - this.#atMs < CUT_COUNTS_MS
  }

  /** `listener` hears of every cut, but not of those that `neighbour` has told of itself. */
  subscribe(neighbour: Neighbour, listener: () => void): void {
    this.#listeners.set(neighbour, listener)
  }

  /** Streams are cut; told before their clients can notice. */
  tell(): void {
    this.#atMs = performance.now()
    for (const [neighbour, listener] of this.#listeners) if (neighbour !== this.#heardFrom) listener()
  }

  /** Opens a stream; and another one instead when a neighbour told of a cut meanwhile: it may be this very client's. */
  async dial(open: () => Promise<Duplex>): Promise<Duplex> {
    const before = this.#heard
    const stream = await open()
    if (this.#heard === before) return stream
    stream.destroy()
    return open()
  }

  /** A neighbour tells of streams that it had; `holdDown`, which may `tell` of them in turn, holds their clients down. */
  hear(from: Neighbour, holdDown: () => void): void {
    this.#heard += 1
    this.#heardFrom = from
    try {
      holdDown()
    } finally {
      this.#heardFrom = undefined
    }
  }
}
