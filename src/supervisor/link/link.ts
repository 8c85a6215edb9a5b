import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import { DproxyError, type Stage } from '../../base/errors.js'
import { Attempts, type Attempt } from './attempts.js'
import { Clients } from './clients.js'
import { clockJumps, type ClockJumps } from './clock-jumps.js'
import type { EngineVersion } from './engine.js'
import type { Forwarding, LinkLane, Transport } from './link-lane.js'
import { LinkStatus, type LinkState } from './link-status.js'
import { RetryLoop } from './retry-loop.js'

export interface LinkOptions {
  readonly openLane: (attempt: Attempt) => Promise<LinkLane>
  /** What holds before a lane has told its own times. */
  readonly connectTimeoutMs: number
  /** How many streams were just cut by the link that this one takes the place of. */
  readonly cutBefore?: number
  /** Hears every change of state and stage. */
  readonly onChange: () => void
  /** Hears that clients are held down because streams are cut, before any of them can notice. */
  readonly onCut?: () => void
  /** Where to hear that the machine has slept; this process's own watch unless told. */
  readonly jumps?: ClockJumps
}

// A client's interest makes the next try come at once, but a busy client must not turn the back-off into a storm.
const CLIENTS_WAKE_AFTER_MS = 1000

/**
 * What connects us to one host: an SSH connection that is made, watched, and made again when it is lost. Puts its
 * parts together: the tries, the loop that repeats them, what becomes of the clients, and what is to be told.
 */
export class Link {
  readonly #stop = new AbortController()
  readonly #status: LinkStatus
  readonly #clients: Clients
  readonly #attempts: Attempts
  readonly #loop: RetryLoop

  constructor(options: LinkOptions) {
    const { openLane, connectTimeoutMs, cutBefore = 0, onChange, onCut, jumps = clockJumps } = options
    const { signal: stop } = this.#stop
    setMaxListeners(0, stop)
    this.#status = new LinkStatus({ onEnter: (state) => this.#onEnter(state), onChange })
    this.#clients = new Clients({
      situation: () => ({
        lane: this.state === 'up' ? this.#attempts.lane : undefined,
        state: this.state,
        stage: this.stage,
        error: this.lastError?.error,
        limitMs: this.#attempts.lane?.connectTimeoutMs ?? connectTimeoutMs,
      }),
      cutBefore,
      onCut,
      onServed: () => this.#status.forgive(),
      onRefused: (error) => this.#status.note(error),
    })
    this.#attempts = new Attempts({
      openLane,
      stop,
      jumps,
      onStage: onChange,
      onUp: () => this.#status.enter('up'),
      onLost: () => this.state === 'up' && this.#clients.onLost(),
      onCut: (streams) => this.#clients.onCut(streams),
    })
    this.#loop = new RetryLoop({ attempts: this.#attempts, status: this.#status, stop, jumps })
  }

  get state(): LinkState {
    return this.#status.state
  }
  get sinceMs(): number {
    return this.#status.sinceMs
  }
  get lastError(): LinkStatus['lastError'] {
    return this.#status.lastError
  }
  get stage(): Stage | null {
    return this.#attempts.stages.current
  }
  /** The stages passed in the present or last attempt, with the milliseconds each took. */
  get stages(): readonly { stage: Stage; ms: number }[] {
    return this.#attempts.stages.passed
  }
  get engine(): EngineVersion | null {
    return this.#attempts.engine
  }
  get rttMs(): number | null {
    return this.#attempts.lane?.rttMs ?? null
  }
  get transport(): Transport | null {
    return this.#attempts.lane?.transport ?? null
  }
  get remoteSocket(): string | null {
    return this.#attempts.lane?.remoteSocket ?? null
  }
  get forwarding(): Forwarding | null {
    return this.#attempts.lane?.forwarding ?? null
  }
  get lanes(): number {
    const { lane } = this.#attempts
    return lane ? (lane.lanes ?? 1) : 0
  }
  get reconnects(): number {
    return this.#loop.reconnects
  }
  get nextTryMs(): number | null {
    return this.#loop.nextTryMs
  }

  /**
   * Starts to connect; harmless when it already does. A failed link tries once more, a retrying one at once.
   * `person`: somebody waits who can answer what the login asks: in the try under way if that is another
   * person's, else in the next one, and in no later one.
   */
  connect(person = false): void {
    if (person && this.state !== 'up') this.#attempts.attend()
    this.#loop.tryNow()
  }

  /**
   * Opens one stream to the engine; see {@link Clients.openStream}. A client's interest makes an idle link
   * connect, and a retrying one try again.
   * @throws DproxyError that says why the host cannot be served now
   */
  openStream(signal: AbortSignal): Promise<Duplex> {
    this.#loop.hasten(CLIENTS_WAKE_AFTER_MS)
    if (this.state === 'idle') this.connect()
    return this.#clients.openStream(signal)
  }

  /** A stream was cut on purpose: whoever asks next must not read that as the end of its work. */
  onStreamCut(): void {
    this.#clients.onCut(1)
  }

  /** Ends the link for good. */
  async close(): Promise<void> {
    this.#stop.abort(new DproxyError('STOPPED', 'the host was stopped'))
    const { lane } = this.#attempts
    lane?.close()
    await this.#loop.stopped()
    await lane?.gone
    this.#status.enter('stopped')
  }

  /** After a loss that cut nothing, a client waits for the first new try instead of being refused. */
  #onEnter(state: LinkState): void {
    const mayWait = state === 'retrying' && this.#loop.isFirstAfterLoss && !this.#clients.areHeldDown
    if (state === 'connecting' || mayWait) this.#clients.letWait()
    else this.#clients.settle()
  }
}
