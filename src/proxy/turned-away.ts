import type { Socket } from 'node:net'
import type { Admission } from './descriptors.js'
import { refuse } from './refuse.js'

// Hundreds come at once: the log hears of the first, and they are counted.
const TOLD_EVERY_MS = 60_000

/** The clients of a proxy for whom no file descriptor can be spared. */
export class TurnedAway {
  #count = 0
  #toldMs = -Infinity

  /** How many since the start. */
  get count(): number {
    return this.#count
  }

  /**
   * Turns a client away, with an answer or without. Resolves when it is gone. `tell` is called when the log is to
   * hear of it.
   */
  async turn(
    client: Socket,
    how: Exclude<Admission, 'served'>,
    sentence: string,
    tell: () => void,
  ): Promise<void> {
    this.#count += 1
    if (performance.now() - this.#toldMs >= TOLD_EVERY_MS) {
      this.#toldMs = performance.now()
      tell()
    }
    if (how === 'answered') await refuse(client, sentence)
    else client.destroy()
  }
}
