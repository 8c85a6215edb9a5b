import { EventEmitter, once } from 'node:events'

/**
 * The last `limit` things that happened, and whatever happens next. A reader that falls behind by more than
 * that misses the oldest: it costs no memory and delays nobody.
 */
export class Feed<T> {
  readonly #limit: number
  readonly #news = new EventEmitter().setMaxListeners(0)
  #kept: T[] = []
  /** The number of all things ever pushed. */
  #pushed = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  push(thing: T): void {
    this.#kept.push(thing)
    if (this.#kept.length > this.#limit) this.#kept.shift()
    this.#pushed += 1
    this.#news.emit('pushed')
  }

  /** What is kept, oldest first, and then each new thing until `signal` aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<T, void> {
    let next = this.#pushed - this.#kept.length
    while (!signal.aborted) {
      const oldest = this.#pushed - this.#kept.length
      next = Math.max(next, oldest)
      const thing = this.#kept[next - oldest]
      if (next < this.#pushed && thing !== undefined) {
        next += 1
        yield thing
      } else {
        await once(this.#news, 'pushed', { signal }).catch(() => undefined)
      }
    }
  }
}
