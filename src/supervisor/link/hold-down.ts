// Promise 2: after a loss under live streams, nobody is served for this long, however quickly the link is
// back. A docker CLI whose `exec` stream was cut asks for the exit code right after, and an answer would read
// as "exited with 0" (measured: refused for 1 s it reports a failure).
const HOLD_DOWN_MS = 1000

/** Whether clients must be refused because streams were cut under them or others. */
export class HoldDown {
  /** On the clock that nobody sets back. */
  #cutAtMs: number | undefined

  /** So many streams are cut: by a link that is lost, which may have had none, or alone. */
  onCut(streams: number): void {
    if (streams > 0) this.#cutAtMs = performance.now()
    else this.#endIfOver()
  }

  /** A hold-down ends only once the link is up again, however long ago the loss was. */
  holds(isUp: boolean): boolean {
    if (isUp) this.#endIfOver()
    return this.#cutAtMs !== undefined
  }

  #endIfOver(): void {
    if (this.#cutAtMs !== undefined && performance.now() - this.#cutAtMs >= HOLD_DOWN_MS) {
      this.#cutAtMs = undefined
    }
  }
}
