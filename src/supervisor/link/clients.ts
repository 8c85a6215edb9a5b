import type { Duplex } from 'node:stream'
import { deferred, type Deferred } from '../../base/deferred.js'
import { asDproxyError, DproxyError, type Stage } from '../../base/errors.js'
import { formatDuration } from '../../base/duration.js'
import { within } from '../../base/timeout.js'
import { holdBack } from './hold-back.js'
import { HoldDown } from './hold-down.js'
import type { LinkLane } from './link-lane.js'

/** How a link stands when a client asks for a stream. */
export interface Situation {
  /** Where streams are opened; undefined unless the link is up. */
  readonly lane: LinkLane | undefined
  /** A word for it. */
  readonly state: string
  /** What the link is at while it connects. */
  readonly stage: Stage | null
  /** What went wrong last, if anything did. */
  readonly error: DproxyError | undefined
  /** How long a client may wait for the link, milliseconds. */
  readonly limitMs: number
}

export interface ClientsOptions {
  readonly situation: () => Situation
  /** How many streams were just cut by the link that this one takes the place of. */
  readonly cutBefore: number
  /** Streams of clients end before their work is done; told before any of these clients can notice. */
  readonly onCut: (() => void) | undefined
  /** A client was served. */
  readonly onServed: () => void
  /** The link is up, and yet a client could not be served. */
  readonly onRefused: (error: DproxyError) => void
}

/** The clients of one link: who is served, who waits until the link is up, and what the others are told (promise 2). */
export class Clients {
  readonly #options: ClientsOptions
  readonly #holdDown = new HoldDown()
  /** Streams that clients have now. */
  readonly #streams = new Set<Duplex>()
  /** While clients wait: resolves once it is known whether the link comes up. */
  #settled: Deferred<void> | undefined

  constructor(options: ClientsOptions) {
    this.#options = options
    this.#holdDown.onCut(options.cutBefore)
  }

  /** A link that was up is lost, and its streams are about to be destroyed. */
  onLost(): void {
    this.onCut(this.#streams.size)
  }

  /** Streams are about to be cut: whoever asks next must not read that as the end of its work. */
  onCut(streams: number): void {
    this.#holdDown.onCut(streams)
    if (streams === 0) return
    for (const stream of this.#streams) this.#holdBack(stream)
    this.#options.onCut?.()
  }

  /** Clients are refused until the link is up again: streams were cut. */
  get areHeldDown(): boolean {
    return this.#holdDown.holds(false)
  }

  /** From now on clients wait: it is not known yet whether the link comes up. */
  letWait(): void {
    this.#settled ??= deferred()
  }

  /** It is known now. */
  settle(): void {
    this.#settled?.resolve()
    this.#settled = undefined
  }

  /**
   * Opens one stream to the engine. At a cold start, and right after a loss that cut nothing, a client waits here
   * for the link, for its time limit; after one that cut streams it gets an error.
   * @throws DproxyError that says why the host cannot be served now
   */
  async openStream(signal: AbortSignal): Promise<Duplex> {
    this.#refuseWhenHeldDown()
    if (this.#settled) {
      await this.#settledInTime(this.#settled.promise, signal)
      this.#refuseWhenHeldDown()
    }
    const { lane, state, error } = this.#options.situation()
    if (!lane) throw error ?? isNotUp(state)
    try {
      const stream = await lane.openStream(signal)
      // Opened in the very moment of a loss: no other lane may serve it instead.
      if (stream.destroyed) throw stream.errored ?? lost()
      this.#watch(stream)
      this.#options.onServed()
      return stream
    } catch (failure) {
      const refusal = asDproxyError(failure)
      if (!signal.aborted && !lane.lost.aborted) this.#options.onRefused(refusal)
      throw refusal
    }
  }

  #watch(stream: Duplex): void {
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    // A stream may fail alone, in a link that stays up: its channel was closed, its command has died. This listener
    // comes before the proxy's, so its client has not noticed yet.
    stream.once('error', (failure) => {
      if (!isRefusal(failure)) this.onCut(1)
    })
    // Streams were cut while it was being opened.
    if (this.#isHeldDown) this.#holdBack(stream)
  }

  /** Who has a stream from before may finish what is under way in it, and asks nothing new. */
  #holdBack(stream: Duplex): void {
    holdBack(
      stream,
      () => this.#isHeldDown,
      () => cutOff(this.#options.situation().error),
    )
  }

  get #isHeldDown(): boolean {
    return this.#holdDown.holds(this.#options.situation().lane !== undefined)
  }

  #refuseWhenHeldDown(): void {
    if (this.#isHeldDown) throw cutOff(this.#options.situation().error)
  }

  async #settledInTime(settled: Promise<void>, signal: AbortSignal): Promise<void> {
    const { limitMs } = this.#options.situation()
    const late = () => notYet(limitMs, this.#options.situation().stage)
    await within(limitMs, signal, late, () => settled)
  }
}

const cutOff = (cause: DproxyError | undefined): DproxyError =>
  new DproxyError(
    'LINK_DOWN',
    'requests were cut off a moment ago; what they were doing may not have finished',
    { hint: 'try again in a moment', cause },
  )

// What is refused of a client was not begun: it is no cut.
const isRefusal = (failure: unknown): boolean =>
  failure instanceof DproxyError && failure.code === 'LINK_DOWN'

const notYet = (limitMs: number, stage: Stage | null): DproxyError => {
  const still = stage === null ? '' : `; it is still at the stage ${stage}`
  const message = `not connected within ${formatDuration(limitMs)}${still}`
  return new DproxyError('LINK_DOWN', message, { hint: 'see: dproxy status' })
}

const lost = (): DproxyError => new DproxyError('LINK_LOST', 'the stream was lost as soon as it was opened')

const isNotUp = (state: string): DproxyError =>
  new DproxyError('LINK_DOWN', `the host is ${state}`, { hint: 'see: dproxy status' })
