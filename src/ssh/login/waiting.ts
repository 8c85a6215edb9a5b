import type { PersonAsked } from '../login-clock.js'

/**
 * Whether the login waits for this side and not for the server: for a person, for an agent that may want a
 * touch, for a key that is being unlocked.
 */
export class Waiting implements PersonAsked {
  #waits = 0
  onChange: (() => void) | undefined

  get asked(): boolean {
    return this.#waits > 0
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#change(1)
    try {
      return await work()
    } finally {
      this.#change(-1)
    }
  }

  #change(by: 1 | -1): void {
    const before = this.asked
    this.#waits += by
    if (this.asked !== before) this.onChange?.()
  }
}
