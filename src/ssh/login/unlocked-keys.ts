import { createHash, type KeyObject } from 'node:crypto'
import { unless } from '../../base/timeout.js'
import type { KeyFile } from './key-file.js'

/**
 * The keys of one host that a passphrase has opened, kept in memory as an agent keeps them: so that a link which
 * is made again asks nobody. A key file that changes is another key.
 */
export class UnlockedKeys {
  readonly #keys = new Map<string, KeyObject>()
  readonly #busy = new Map<string, Promise<unknown>>()

  /**
   * The key of `file`, else what `open` comes to, which is kept. One at a time for each key: several connections
   * of a host ask once.
   * @throws what `open` throws, or the reason of `signal`
   */
  async getOrOpen(
    file: KeyFile,
    open: () => Promise<KeyObject | undefined>,
    signal: AbortSignal,
  ): Promise<KeyObject | undefined> {
    const id = idOf(file.text)
    for (let busy = this.#busy.get(id); busy; busy = this.#busy.get(id)) await unless([signal], busy)
    const known = this.#keys.get(id)
    if (known) return known
    const opening = open()
    const settled = opening.then(
      () => undefined,
      () => undefined,
    )
    this.#busy.set(id, settled)
    try {
      const key = await opening
      if (key) this.#keys.set(id, key)
      return key
    } finally {
      this.#busy.delete(id)
    }
  }
}

const idOf = (text: string): string => createHash('sha256').update(text).digest('base64')
