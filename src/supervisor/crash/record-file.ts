import { renameSync, writeFileSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import type { RunRecord } from '../../control/run-record.js'

const OURS_ALONE = { mode: 0o600 }

/**
 * The file in which a supervisor keeps what it runs. It is always whole: written beside and renamed. That it cannot
 * be written (a full disk) stops nobody.
 */
export class RecordFile {
  readonly #path: string
  #wanted: RunRecord | undefined
  #writing: Promise<void> | undefined
  #isFinal = false

  constructor(path: string) {
    this.#path = path
  }

  /** Writes `record`, or the one that comes after it. */
  save(record: RunRecord): void {
    if (this.#isFinal) return
    this.#wanted = record
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  /** Writes `record` before it returns; nothing that was or will be saved comes over it. */
  saveForGood(record: RunRecord): void {
    this.#isFinal = true
    this.#wanted = undefined
    const beside = `${this.#path}.now`
    try {
      writeFileSync(beside, textOf(record), OURS_ALONE)
      renameSync(beside, this.#path)
    } catch {
      // The next supervisor starts without it.
    }
  }

  /** Resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    await this.#writing
  }

  /** Removes the file, unless it holds what was saved for good. */
  async remove(): Promise<void> {
    if (this.#isFinal) return
    this.#wanted = undefined
    await this.#writing
    await rm(this.#path, { force: true }).catch(() => undefined)
  }

  async #write(): Promise<void> {
    const beside = `${this.#path}.new`
    while (this.#wanted) {
      const text = textOf(this.#wanted)
      this.#wanted = undefined
      try {
        await writeFile(beside, text, OURS_ALONE)
        if (!this.#isFinal) await rename(beside, this.#path)
      } catch {
        await rm(beside, { force: true }).catch(() => undefined)
      }
    }
  }
}

const textOf = (record: RunRecord): string => `${JSON.stringify(record)}\n`
