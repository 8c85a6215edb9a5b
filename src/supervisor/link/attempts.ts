import { asDproxyError, type DproxyError, type Stage } from '../../base/errors.js'
import { aborted } from '../../base/timeout.js'
import type { ClockJumps } from './clock-jumps.js'
import { askVersion, type EngineVersion } from './engine.js'
import { keepAlive } from './keep-alive.js'
import type { LinkLane } from './link-lane.js'
import { StageLog } from './stage-log.js'

/** One try to open a lane. */
export interface Attempt {
  readonly signal: AbortSignal
  readonly onStage: (stage: Stage) => void
  /** Somebody waits who can answer what the login asks: the try is a user's own, not one of ours. */
  readonly person: boolean
}

export interface AttemptsOptions {
  readonly openLane: (attempt: Attempt) => Promise<LinkLane>
  /** The link was closed: nothing is tried any more. */
  readonly stop: AbortSignal
  /** Hears every stage as it begins. */
  readonly onStage: () => void
  /** The engine answers. */
  readonly onUp: () => void
  /** The lane is lost; its streams are destroyed right after. */
  readonly onLost: () => void
  /** Streams were cut in a lane that goes on. */
  readonly onCut: (streams: number) => void
  readonly jumps: ClockJumps
}

/** How a try ended: why it failed or its link was lost, and how long that was up, if at all. */
export interface Outcome {
  readonly error: DproxyError
  readonly heldMs: number | undefined
}

/** The tries to bring one link up, one after the other, and the lane that the last one has opened. */
export class Attempts {
  readonly #options: AttemptsOptions
  #lane: LinkLane | undefined
  #engine: EngineVersion | null = null
  #stages = new StageLog()
  /** Whether a person waits for a try of their own. */
  #person = false
  /** Whether the try under way is one. */
  #isAttended = false

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /** The lane in use, or kept while its engine is away. */
  get lane(): LinkLane | undefined {
    return this.#lane
  }

  /** What the engine said of itself the last time. */
  get engine(): EngineVersion | null {
    return this.#engine
  }

  /** The stages of the present or last try. */
  get stages(): Pick<StageLog, 'current' | 'passed'> {
    return this.#stages
  }

  /** Somebody is here who came too late for the try under way. */
  get personWaits(): boolean {
    return this.#person
  }

  /**
   * Somebody waits who can answer what the login asks: in the try under way if that is another person's, else in
   * the next one, and in no later one.
   */
  attend(): void {
    this.#person ||= !this.#isAttended
  }

  /** Brings the link up. Resolves when that failed, or when the link was lost. */
  async next(): Promise<Outcome> {
    let upAtMs: number | undefined
    try {
      const lane = await this.#bringUp()
      upAtMs = performance.now()
      return await aborted(lane.lost)
    } catch (failure) {
      this.#isAttended = false
      const error = asDproxyError(failure)
      return { error, heldMs: upAtMs === undefined ? undefined : performance.now() - upAtMs }
    }
  }

  /** The try under way has come to nothing, and none follows for now. */
  abandon(): void {
    this.#stages.abandon()
  }

  /** All stages, up to a living engine. A lane that outlived a failed engine stage is used again. */
  async #bringUp(): Promise<LinkLane> {
    const { openLane, stop: signal, onUp } = this.#options
    const person = this.#person
    this.#person = false
    this.#isAttended = person
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
    lane.lost.throwIfAborted()
    this.#stages.finish()
    // Whoever came meanwhile has what they wanted: the next try is one of ours.
    this.#person = false
    onUp()
    return lane
  }

  #adopt(lane: LinkLane): void {
    lane.lost.throwIfAborted()
    this.#lane = lane
    const { jumps, onCut, onLost } = this.#options
    // From here on, not from `up` on: a lane kept while the engine is away must be found out when it dies.
    void keepAlive(lane, lane.keepAlive, lane.lost, jumps)
    lane.onCut?.(onCut)
    lane.lost.addEventListener(
      'abort',
      () => {
        // Runs before the lane destroys its streams: nobody can be served between the loss and the hold-down.
        onLost()
        this.#lane = undefined
      },
      { once: true },
    )
  }

  #begin(stage: Stage): void {
    this.#stages.begin(stage)
    this.#options.onStage()
  }
}
