import { basename, dirname } from 'node:path'
import { createStream, type RotatingFileStream } from 'rotating-file-stream'

// Two files of this size at most.
const SIZE = '4M'
// How long lines are lost before the file is tried again.
const AGAIN_AFTER_MS = 1000

/**
 * The lines of a log in a file of bounded size, for its owner alone. A full disk, or none, must not stop the
 * proxies: lines are lost as long as it lasts, and no longer.
 */
export class LogFile {
  readonly #path: string
  #stream: RotatingFileStream | undefined
  #againMs = 0

  constructor(path: string) {
    this.#path = path
    this.#stream = this.#open()
  }

  /** `line` with its newline. */
  write(line: string): void {
    if (!this.#stream) {
      if (performance.now() < this.#againMs) return
      this.#stream = this.#open()
      // Of the last line there, only the beginning may have been written.
      this.#stream.write('\n')
    }
    this.#stream.write(line)
  }

  /** Resolves when everything is written that can be. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stream) this.#stream.end(() => resolve())
      else resolve()
    })
  }

  #open(): RotatingFileStream {
    const stream = createStream(basename(this.#path), {
      path: dirname(this.#path),
      size: SIZE,
      maxFiles: 1,
      mode: 0o600,
    })
    // It takes nothing more after an error.
    return stream.on('error', () => {
      if (this.#stream !== stream) return
      this.#stream = undefined
      this.#againMs = performance.now() + AGAIN_AFTER_MS
    })
  }
}
