// What may be on its way before anything is known of the link.
const START = 128 * 1024
// Long enough on its way to keep every link busy, short enough for others not to notice.
const SECONDS_ON_THE_WAY = 0.5
const PERIOD_MS = 250

/**
 * How many bytes of one stream may be on their way to the server, unacknowledged. ssh takes all that the
 * server's window allows (2 MiB) at once and queues it in front of every other stream of the host, which on a
 * slow link is many seconds; so no more is handed over than the link carries in half a second.
 */
export class Pace {
  readonly #most: number
  #limit: number
  #onTheWay = 0
  #largestAnswer = 0
  #periodBeganMs: number
  #acknowledged = 0

  /** `most`: bytes that are never exceeded. */
  constructor(most: number, nowMs: number) {
    this.#most = most
    this.#limit = Math.min(START, most)
    this.#periodBeganMs = nowMs
  }

  /** Bytes that may be sent now. */
  get room(): number {
    return this.#limit - this.#onTheWay
  }

  sent(bytes: number): void {
    this.#onTheWay += bytes
  }

  /** The server has read `bytes` more and says so (SSH_MSG_CHANNEL_WINDOW_ADJUST). */
  acknowledged(bytes: number, nowMs: number): void {
    this.#onTheWay = Math.max(0, this.#onTheWay - bytes)
    this.#acknowledged += bytes
    // Some servers say so only after a megabyte: less than two of their answers would stand still.
    this.#largestAnswer = Math.max(this.#largestAnswer, bytes)
    const ms = nowMs - this.#periodBeganMs
    if (ms < PERIOD_MS) return
    const carried = Math.floor((this.#acknowledged / ms) * 1000 * SECONDS_ON_THE_WAY)
    this.#limit = Math.min(this.#most, Math.max(carried, START, 2 * this.#largestAnswer))
    this.#periodBeganMs = nowMs
    this.#acknowledged = 0
  }

  /** Nothing was acknowledged for long: perhaps this server only answers to more. */
  widen(): void {
    this.#limit = Math.min(this.#most, 2 * this.#limit)
  }
}
