// ssh holds what it cannot pass on yet in one buffer, for all streams together, and gives up at 128 MiB
// (SSHBUF_SIZE_MAX). So the windows of all streams, each way, stay below that, up to a thousand streams.
const ALL = 48 * 1024 * 1024
const LARGEST = 2 * 1024 * 1024
const SMALLEST = 64 * 1024

/** Shares out how many bytes each stream may have on its way: the more streams there are, the fewer. */
export class Windows {
  #taken = 0

  /** A window for one stream, in bytes; to be given back. */
  take(): number {
    const window = Math.min(LARGEST, Math.max(SMALLEST, Math.floor((ALL - this.#taken) / 8)))
    this.#taken += window
    return window
  }

  giveBack(window: number): void {
    this.#taken -= window
  }
}
