import type { Duplex } from 'node:stream'
import { unless } from '../../base/timeout.js'
import type { RawLane } from '../raw-lane.js'
import { STREAMLOCAL, type Forwarding } from './forwarding.js'
import { locate } from './locate.js'

/** How the engine is reached in one SSH connection. */
interface Way {
  /** The engine's socket there. */
  readonly path: string
  readonly forwarding: Forwarding
  readonly open: (signal: AbortSignal) => Promise<Duplex>
}

/** One SSH connection together with the way to the engine in it: which socket, and how streams get to it. */
export class EngineLane {
  readonly #raw: RawLane
  /** An absolute path, or `auto`. */
  readonly #wanted: string
  /** Found once for each connection; while it is being looked for, every client waits for the same search. */
  #search: Promise<Way> | undefined
  #way: Way | undefined

  constructor(raw: RawLane, wanted: string) {
    this.#raw = raw
    this.#wanted = wanted
  }

  get lost(): AbortSignal {
    return this.#raw.lost
  }

  get silentMs(): number {
    return this.#raw.silentMs
  }

  get rttMs(): number | null {
    return this.#raw.rttMs
  }

  get openStreams(): number {
    return this.#raw.openStreams
  }

  get connectTimeoutMs(): number {
    return this.#raw.resolved.connectTimeoutMs
  }

  get keepAlive(): RawLane['resolved']['keepAlive'] {
    return this.#raw.resolved.keepAlive
  }

  get transport(): RawLane['transport'] {
    return this.#raw.transport
  }

  get gone(): Promise<void> {
    return this.#raw.gone ?? Promise.resolve()
  }

  /** The engine's socket on the remote machine; null while it has to be found. */
  get remoteSocket(): string | null {
    return this.#way?.path ?? (this.#wanted === 'auto' ? null : this.#wanted)
  }

  /** How streams get to it; null before the first. */
  get forwarding(): Forwarding | null {
    return this.#way?.forwarding ?? null
  }

  /**
   * Opens one stream to the engine.
   * @throws DproxyError LINK_LOST, FORWARDING_FORBIDDEN, SESSION_LIMIT, or ENGINE_* with what is wrong there
   */
  async openStream(signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    const way = this.#way ?? (await unless([signal, this.lost], this.#find()))
    return way.open(signal)
  }

  ping(limitMs: number, signal: AbortSignal): Promise<number> {
    return this.#raw.ping(limitMs, signal)
  }

  close(reason?: string): void {
    this.#raw.close(reason)
  }

  #find(): Promise<Way> {
    this.#search ??= this.#look().then(
      (way) => (this.#way = way),
      (failure: unknown) => {
        this.#search = undefined
        throw failure
      },
    )
    return this.#search
  }

  async #look(): Promise<Way> {
    const path = this.#wanted === 'auto' ? await locate(this.#raw) : this.#wanted
    return { path, forwarding: STREAMLOCAL, open: (signal) => this.#raw.openStream(path, signal) }
  }
}
