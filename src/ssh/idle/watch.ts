import { deferred } from '../../base/deferred.js'
import type { DproxyError } from '../../base/errors.js'

/** How one stream ended, as far as it came from the server. */
export interface End {
  /** When it came in. */
  readonly at: Moment
  /** Since when nothing had gone either way. */
  readonly quietSince: Moment
  /** Our own end had gone out before, so that a CLOSE says nothing: the server answers both ends with it. */
  readonly afterOurs: boolean
}

/** Read from both clocks: one is set by others, the other may stand still while the machine sleeps. */
export interface Moment {
  readonly ms: number
  readonly wallMs: number
}

const now = (): Moment => ({ ms: performance.now(), wallMs: Date.now() })

/** Milliseconds, those of a sleep included. */
export const between = (from: Moment, to: Moment): number =>
  Math.max(to.ms - from.ms, to.wallMs - from.wallMs)

/** What a stream asks about its end: see {@link IdleCuts}. */
export interface Judge {
  readonly mayCut: boolean
  readonly rttMs: number | null
  /** Resolves once all has come in that the server had sent by now; rejects when the connection is lost. */
  answered(): Promise<unknown>
  /** Why that was no end of the engine's but one of the server's; undefined: it was the engine's. */
  cutBy(end: End): DproxyError | undefined
}

// Whatever comes after so much silence is no answer to anything. Not longer: sshd counts whole seconds, so that its
// interval of two may be over after a little more than one.
export const QUIET_MS = 500

// The question waits behind whatever else is being sent, and no end is to wait for somebody's upload: what the server
// sends together comes in sooner than this.
const HELD_AT_MOST_MS = 3000

// A round trip that was measured once may have become shorter since.
const LONGEST_RTT_MS = 1000

/**
 * Tells the end that the engine gave a stream from the one that the server makes when nothing goes through it
 * (ChannelTimeout, sshd_config(5)): EOF and CLOSE at once, where an engine's end is an EOF alone. A CLOSE also
 * follows on what was sent to an engine that has gone, but then something was sent a moment ago, as long as a round
 * trip takes.
 *
 * So an end that comes out of silence is held back until the server has answered whatever it is asked: what it
 * sent together with the end has come by then, however the network has cut it into pieces.
 */
export class IdleWatch {
  readonly #judge: Judge | undefined
  #received = now()
  #sent = this.#received
  #isEndSent = false
  #closedAt: Moment | undefined

  /** Without a `judge`, every end is the engine's. */
  constructor(judge?: Judge) {
    this.#judge = judge
  }

  /** Bytes came from the server. */
  received(): void {
    this.#received = now()
  }

  /** Bytes went to the server. */
  sent(): void {
    this.#sent = now()
  }

  /** Our end (SSH_MSG_CHANNEL_EOF) went to the server. */
  endSent(): void {
    this.#isEndSent = true
  }

  /** SSH_MSG_CHANNEL_CLOSE has come in. */
  closed(): void {
    this.#closedAt ??= now()
  }

  get closedAt(): Moment | undefined {
    return this.#closedAt
  }

  /** Since when nothing has gone either way. */
  get quietSince(): Moment {
    return this.#received.ms > this.#sent.ms ? this.#received : this.#sent
  }

  /** The end has come in, by EOF or by a CLOSE without one. `then` hears, once, whether it is one. */
  ended(then: (cut: DproxyError | undefined) => void): void {
    const judge = this.#judge
    const end = { at: now(), quietSince: this.quietSince, afterOurs: this.#isEndSent }
    if (!judge?.mayCut || !this.#isQuiet(end.at, judge.rttMs)) return then(undefined)
    const enough = deferred<void>()
    const late = setTimeout(enough.resolve, HELD_AT_MOST_MS).unref()
    Promise.race([judge.answered(), enough.promise])
      .finally(() => clearTimeout(late))
      .then(
        () => then(this.#closedAt && judge.cutBy(end)),
        // The connection is lost, and its streams fail with the reason.
        () => undefined,
      )
    return undefined
  }

  #isQuiet(at: Moment, rttMs: number | null): boolean {
    const answerMs = Math.min(rttMs ?? 0, LONGEST_RTT_MS)
    return between(this.#received, at) >= QUIET_MS && between(this.#sent, at) >= QUIET_MS + answerMs
  }
}
