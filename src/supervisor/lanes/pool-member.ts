import type { Duplex } from 'node:stream'
import { DproxyError } from '../../base/errors.js'
import type { LinkLane } from '../link/link-lane.js'

/** A connection that tells when it may have room for one more stream. */
export interface PooledLane extends LinkLane {
  /** `listener` hears that a stream is over. */
  onRoom?(listener: () => void): void
}

export interface MemberOptions {
  /** There may be room in it again. */
  readonly onRoom: () => void
  /** Closes it when it has carried nothing for so long; null: never. */
  readonly idleMs: number | null
}

/** One connection of a pool, and whether it has room. */
export class Member {
  readonly lane: PooledLane
  readonly #idleMs: number | null
  /** Streams that are open or being opened. */
  #inUse = 0
  #idle: NodeJS.Timeout | undefined
  #refusal: DproxyError | undefined

  constructor(lane: PooledLane, { onRoom, idleMs }: MemberOptions) {
    this.lane = lane
    this.#idleMs = idleMs
    lane.onRoom?.(() => {
      this.askAgain()
      onRoom()
    })
    this.#rest()
  }

  /** Why it had no room the last time it was asked; undefined: it may have some. */
  get refusal(): DproxyError | undefined {
    return this.#refusal
  }

  /** What it answered the last time counts no longer. */
  askAgain(): void {
    this.#refusal = undefined
  }

  /**
   * Opens one stream; undefined when there is no room for it, or the connection has gone.
   * @throws what opening it throws otherwise
   */
  async open(signal: AbortSignal): Promise<Duplex | undefined> {
    this.#inUse += 1
    try {
      const stream = await this.lane.openStream(signal)
      if (stream.closed) this.#release()
      else stream.once('close', () => this.#release())
      return stream
    } catch (failure) {
      this.#release()
      signal.throwIfAborted()
      if (this.lane.lost.aborted) return undefined
      if (!(failure instanceof DproxyError) || failure.code !== 'SESSION_LIMIT') throw failure
      this.#refusal = failure
      return undefined
    }
  }

  #release(): void {
    this.#inUse -= 1
    this.#rest()
  }

  #rest(): void {
    clearTimeout(this.#idle)
    if (this.#idleMs === null || this.#inUse > 0) return
    const close = () => {
      if (this.#inUse === 0) this.lane.close('it is no longer needed')
    }
    this.#idle = setTimeout(close, this.#idleMs).unref()
  }
}
