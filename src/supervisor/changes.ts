import { setTimeout as sleep } from 'node:timers/promises'
import { deferred, type Deferred } from '../base/deferred.js'

/** Changes of hosts: those of one host wait for each other, in the order they were asked for. */
export class Changes {
  /** The last change of each host, under way or done. */
  readonly #last = new Map<string, Promise<unknown>>()
  readonly #onDone: () => void
  #frozen: Deferred<void> | undefined

  /** `onDone` hears of the end of every change. */
  constructor(onDone: () => void) {
    this.#onDone = onDone
  }

  /** Whether none is under way or waits. */
  get isIdle(): boolean {
    return this.#last.size === 0
  }

  get isFrozen(): boolean {
    return this.#frozen !== undefined
  }

  /** Runs `change` after the changes of the same host asked for earlier. */
  inTurn<T>(host: string, change: () => Promise<T>): Promise<T> {
    const before = Promise.allSettled([this.#last.get(host), this.#frozen?.promise])
    const mine = before.then(change).finally(() => {
      if (this.#last.get(host) === mine) this.#last.delete(host)
      this.#onDone()
    })
    this.#last.set(host, mine)
    return mine
  }

  /** Resolves when those asked for so far are done. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#last.values())
  }

  /**
   * Keeps every change that is asked for from now on waiting until `thaw`. Resolves when those under way are done;
   * false, and nothing is kept waiting, when that takes longer than `withinMs`.
   */
  async freeze(withinMs: number): Promise<boolean> {
    const settled = this.settled().then(() => true)
    this.#frozen = deferred()
    const given = new AbortController()
    const late = sleep(withinMs, false, { signal: given.signal }).catch(() => false)
    const isStill = await Promise.race([settled, late])
    given.abort()
    if (!isStill) this.thaw()
    return isStill
  }

  /** Lets those go on that wait. */
  thaw(): void {
    this.#frozen?.resolve()
    this.#frozen = undefined
  }
}
