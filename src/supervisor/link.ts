import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HostState } from '../control/messages.js'
import { deferred, type Deferred } from '../base/deferred.js'
import { asDproxyError, DproxyError, needsUser, type Stage } from '../base/errors.js'
import { formatDuration } from '../base/duration.js'
import { aborted, within } from '../base/timeout.js'
import { delayBefore } from './backoff.js'
import { askVersion, type EngineVersion } from './engine.js'
import { HoldDown } from './hold-down.js'
import { keepAlive } from './keep-alive.js'
import type { Forwarding, LinkLane, Transport } from './link-lane.js'
import { StageLog } from './stage-log.js'

export interface LinkOptions {
  readonly openLane: (attempt: Attempt) => Promise<LinkLane>
  /** What holds before a lane has told its own times. */
  readonly connectTimeoutMs: number
  /** How many streams were just cut by the link that this one takes the place of. */
  readonly cutBefore?: number
  /** Hears every change of state and stage. */
  readonly onChange: () => void
}

/** One try to open a lane. */
export interface Attempt {
  readonly signal: AbortSignal
  readonly onStage: (stage: Stage) => void
  /** Somebody waits who can answer what the login asks: the try is a user's own, not one of ours. */
  readonly person: boolean
}

/** The states a link itself can be in; `draining` is its host's. */
export type LinkState = Exclude<HostState, 'draining'>

// A client's interest makes the next try come at once, but a busy client must not turn the back-off into a storm.
const CLIENTS_WAKE_AFTER_MS = 1000

// A link that holds for less than this counts as one more failed try: a server that lets us in and hangs up
// would otherwise be asked several times a second, for ever.
const HOLDS_AFTER_MS = 10_000

/**
 * What connects us to one host: an SSH connection that is made, watched, and made again when it is lost.
 * One loop (`#run`) moves it from state to state; everything else only reads or asks.
 */
export class Link {
  readonly #options: LinkOptions
  readonly #stop = new AbortController()
  #state: LinkState = 'idle'
  #sinceMs = Date.now()
  #stages = new StageLog()
  #error: { readonly error: DproxyError; readonly atMs: number } | undefined
  #engine: EngineVersion | null = null
  #lane: LinkLane | undefined
  #reconnects = 0
  #nextTryAtMs: number | null = null
  readonly #holdDown = new HoldDown()
  /** After a loss that cut nothing, a client waits for the first new try instead of being refused. */
  #clientsMayWait = false
  /** While clients may wait: resolves once it is known whether the link comes up. */
  #settled: Deferred<void> | undefined
  #wake: AbortController | undefined
  #running: Promise<void> | undefined
  /** Whether a person waits for a try of their own. */
  #person = false
  /** Whether the try under way is one. */
  #isAttended = false

  constructor(options: LinkOptions) {
    this.#options = options
    setMaxListeners(0, this.#stop.signal)
    this.#holdDown.onLost(options.cutBefore ?? 0)
  }

  get state(): LinkState {
    return this.#state
  }
  get sinceMs(): number {
    return this.#sinceMs
  }
  get stage(): Stage | null {
    return this.#stages.current
  }
  /** The stages passed in the present or last attempt, with the milliseconds each took. */
  get stages(): readonly { stage: Stage; ms: number }[] {
    return this.#stages.passed
  }
  get lastError(): { readonly error: DproxyError; readonly atMs: number } | undefined {
    return this.#error
  }
  get engine(): EngineVersion | null {
    return this.#engine
  }
  get rttMs(): number | null {
    return this.#lane?.rttMs ?? null
  }
  get transport(): Transport | null {
    return this.#lane?.transport ?? null
  }
  get remoteSocket(): string | null {
    return this.#lane?.remoteSocket ?? null
  }
  get forwarding(): Forwarding | null {
    return this.#lane?.forwarding ?? null
  }
  get lanes(): number {
    return this.#lane ? 1 : 0
  }
  get reconnects(): number {
    return this.#reconnects
  }
  get nextTryMs(): number | null {
    return this.#nextTryAtMs === null ? null : Math.max(0, this.#nextTryAtMs - Date.now())
  }

  /**
   * Starts to connect; harmless when it already does. A failed link tries once more. `person`: somebody waits
   * who can answer what the login asks: in the try under way if that is another person's, else in the next one,
   * and in no later one.
   */
  connect(person = false): void {
    this.#person ||= person && !this.#isAttended && this.#state !== 'up'
    this.#wake?.abort()
    if (this.#running || this.#stop.signal.aborted) return
    this.#enter('connecting')
    this.#running = this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /**
   * Opens one stream to the engine. A client may wait here for the link, for the link's time limit, at a cold
   * start and right after a loss that cut nothing; after one that cut streams it gets an error (promise 2).
   * @throws DproxyError that says why the host cannot be served now
   */
  async openStream(signal: AbortSignal): Promise<Duplex> {
    if (this.#state === 'retrying' && Date.now() - this.#sinceMs >= CLIENTS_WAKE_AFTER_MS) this.#wake?.abort()
    if (this.#state === 'idle') this.connect()
    if (this.#holdDown.holds(this.#state === 'up')) throw this.#cut()
    if (this.#settled) await this.#settledInTime(this.#settled.promise, signal)
    const lane = this.#lane
    if (this.#state !== 'up' || !lane) throw this.#down()
    try {
      const stream = await lane.openStream(signal)
      // What failed before works again.
      if (this.#error) this.#forgive()
      return stream
    } catch (failure) {
      const error = asDproxyError(failure)
      if (!signal.aborted && !lane.lost.aborted) this.#note(error)
      throw error
    }
  }

  /** A stream was cut on purpose: whoever asks next must not read that as the end of its work. */
  onStreamCut(): void {
    this.#holdDown.onLost(1)
  }

  /** Ends the link for good. */
  async close(): Promise<void> {
    this.#stop.abort(new DproxyError('STOPPED', 'the host was stopped'))
    this.#wake?.abort()
    const lane = this.#lane
    lane?.close()
    await this.#running
    await lane?.gone
    this.#enter('stopped')
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (let failures = 0; !signal.aborted;) {
      const { error, heldMs } = await this.#attempt()
      if (signal.aborted) return
      this.#note(error)
      // Somebody came while nobody could be asked: they get a try of their own before they hear that it failed.
      if (this.#person) continue
      if (needsUser(error.code)) return this.#fail()
      if (heldMs !== undefined && heldMs >= HOLDS_AFTER_MS) failures = 0
      failures += 1
      this.#clientsMayWait = failures === 1 && heldMs !== undefined && !this.#holdDown.holds(false)
      await this.#pause(delayBefore(failures))
      if (!signal.aborted) this.#enter('connecting')
    }
  }

  /** Brings the link up. Resolves when that failed, or it was lost: with why, and how long it was up, if at all. */
  async #attempt(): Promise<{ error: DproxyError; heldMs: number | undefined }> {
    let upAtMs: number | undefined
    try {
      const lane = await this.#bringUp()
      upAtMs = performance.now()
      return await aborted(lane.lost)
    } catch (failure) {
      this.#isAttended = false
      const error = asDproxyError(failure)
      if (upAtMs === undefined) return { error, heldMs: undefined }
      this.#reconnects += 1
      return { error, heldMs: performance.now() - upAtMs }
    }
  }

  /** All stages, up to a living engine. A lane that outlived a failed engine stage is used again. */
  async #bringUp(): Promise<LinkLane> {
    const { openLane } = this.#options
    const person = this.#person
    this.#person = false
    this.#isAttended = person
    const { signal } = this.#stop
    this.#stages = new StageLog()
    const onStage = (stage: Stage) => this.#begin(stage)
    const lane = this.#lane ?? (await openLane({ signal, onStage, person }))
    if (!this.#lane) this.#adopt(lane)
    this.#begin('engine')
    this.#engine = await askVersion(
      (limited) => lane.openStream(limited),
      () => lane.remoteSocket ?? 'its socket',
      lane.connectTimeoutMs,
      signal,
    )
    await lane.ping(lane.connectTimeoutMs, signal)
    this.#stages.finish()
    // Whoever came meanwhile has what they wanted: the next try is one of ours.
    this.#person = false
    this.#enter('up')
    return lane
  }

  #adopt(lane: LinkLane): void {
    lane.lost.throwIfAborted()
    this.#lane = lane
    // From here on, not from `up` on: a lane kept while the engine is away must be found out when it dies.
    void keepAlive(lane, lane.keepAlive, lane.lost)
    lane.lost.addEventListener(
      'abort',
      () => {
        // Runs before the lane destroys its streams: nobody can be served between the loss and the hold-down.
        if (this.#state === 'up') this.#holdDown.onLost(lane.openStreams)
        this.#lane = undefined
      },
      { once: true },
    )
  }

  async #pause(ms: number): Promise<void> {
    this.#nextTryAtMs = Date.now() + ms
    this.#stages.abandon()
    this.#enter('retrying')
    this.#wake = new AbortController()
    await sleep(ms, undefined, { signal: this.#wake.signal }).catch(() => undefined)
    this.#wake = undefined
    this.#nextTryAtMs = null
  }

  #fail(): void {
    this.#lane?.close()
    this.#stages.abandon()
    this.#enter('failed')
  }

  #enter(state: LinkState): void {
    if (this.#state !== state) this.#sinceMs = Date.now()
    this.#state = state
    if (state === 'up') this.#error = undefined
    if (state === 'connecting' || (state === 'retrying' && this.#clientsMayWait)) this.#settled ??= deferred()
    else this.#settle()
    this.#options.onChange()
  }

  #settle(): void {
    this.#settled?.resolve()
    this.#settled = undefined
  }

  #begin(stage: Stage): void {
    this.#stages.begin(stage)
    this.#options.onChange()
  }

  #note(error: DproxyError): void {
    this.#error = { error, atMs: Date.now() }
    this.#options.onChange()
  }

  #forgive(): void {
    this.#error = undefined
    this.#options.onChange()
  }

  async #settledInTime(settled: Promise<void>, signal: AbortSignal): Promise<void> {
    const connectTimeoutMs = this.#lane?.connectTimeoutMs ?? this.#options.connectTimeoutMs
    const late = () => {
      const stage = this.stage === null ? '' : `; it is still at the stage ${this.stage}`
      const message = `not connected within ${formatDuration(connectTimeoutMs)}${stage}`
      return new DproxyError('LINK_DOWN', message, { hint: 'see: dproxy status' })
    }
    await within(connectTimeoutMs, signal, late, () => settled)
  }

  /** Why nobody can be served now, for the client that asked. */
  #down(): DproxyError {
    const known = this.#error?.error
    return known ?? new DproxyError('LINK_DOWN', `the host is ${this.#state}`, { hint: 'see: dproxy status' })
  }

  #cut(): DproxyError {
    return new DproxyError(
      'LINK_DOWN',
      'requests were cut off a moment ago; what they were doing may not have finished',
      { hint: 'try again in a moment', cause: this.#error?.error },
    )
  }
}
