import type { Duplex } from 'node:stream'
import type { DproxyError } from '../../base/errors.js'
import { unless } from '../../base/timeout.js'
import type { RawLane } from '../raw-lane.js'
import { Fallback, mayBeForbidden } from './fallback/fallback.js'
import { STREAMLOCAL, type Forwarding } from './forwarding.js'
import { locate, type Found } from './locate.js'

// How long it is known that there is no way round a refusal, so that a hundred clients of a stopped engine do not
// look for one each.
const REFUSAL_HOLDS_MS = 1000

/** sshd does forward: the refusal was the engine's, which was not there yet. */
class ForwardsAfterAll extends Error {}

/** One SSH connection together with the way to the engine in it: which socket, and how streams get to it. */
export class EngineLane {
  readonly #raw: RawLane
  /** An absolute path, or `auto`. */
  readonly #wanted: string
  /** Found once for each connection; while it is being looked for, every client waits for the same search. */
  #search: Promise<string> | undefined
  #path: string | null = null
  #found: Found | null = null
  /** A stream was opened by sshd itself: that is the way, whatever becomes of others. */
  #isForwarded = false
  #fallback: Fallback | undefined
  #choice: { readonly result: Promise<Fallback>; untilMs: number } | undefined
  readonly #streams = new Set<Duplex>()
  readonly #onCut = new Set<(streams: number) => void>()
  readonly #onRoom = new Set<() => void>()

  /** `like`: another connection to the same server, in which the way has been found. */
  constructor(raw: RawLane, wanted: string, like?: EngineLane) {
    this.#raw = raw
    this.#wanted = wanted
    if (!like) return
    this.#found = like.#found
    this.#path = like.#path
    if (this.#path !== null) raw.keepCanary?.(this.#path)
    this.#fallback = like.#fallback?.in(raw, () => this.#cut())
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
    return this.#streams.size
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
    return this.#path ?? (this.#wanted === 'auto' ? null : this.#wanted)
  }

  /** How it was found; null before that, and where it was told. */
  get found(): Found | null {
    return this.#found
  }

  /** How streams get to it; null before the first. */
  get forwarding(): Forwarding | null {
    return this.#fallback?.forwarding ?? (this.#isForwarded ? STREAMLOCAL : null)
  }

  /** `hear` is told how many streams are about to be cut although the connection lives. */
  onCut(hear: (streams: number) => void): void {
    this.#onCut.add(hear)
  }

  /** `hear` is told that a stream is over, and with it what it took of the server's sessions. */
  onRoom(hear: () => void): void {
    this.#onRoom.add(hear)
  }

  /**
   * Opens one stream to the engine: by sshd itself, or where that is refused by a command there.
   * @throws DproxyError LINK_LOST, FORWARDING_FORBIDDEN, SESSION_LIMIT, or ENGINE_* with what is wrong there
   */
  async openStream(signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    const over = [signal, this.lost]
    const path = this.#path ?? (await unless(over, this.#find()))
    const fallback = this.#fallback
    if (fallback) return this.#keep(await fallback.open(signal, this.openStreams))
    try {
      const stream = await this.#raw.openStream(path, signal)
      this.#isForwarded = true
      return this.#keep(stream)
    } catch (failure) {
      signal.throwIfAborted()
      this.lost.throwIfAborted()
      if (this.#isForwarded || !mayBeForbidden(failure)) throw failure
      const chosen = await unless(over, this.#choose(path, failure)).catch((why: unknown) => {
        if (why instanceof ForwardsAfterAll) return undefined
        throw why
      })
      if (!chosen) return this.#keep(await this.#raw.openStream(path, signal))
      return this.#keep(await chosen.open(signal, this.openStreams))
    }
  }

  ping(limitMs: number, signal: AbortSignal): Promise<number> {
    return this.#raw.ping(limitMs, signal)
  }

  close(reason?: string): void {
    this.#raw.close(reason)
  }

  #find(): Promise<string> {
    this.#search ??= this.#look().then(
      (path) => (this.#path = path),
      (failure: unknown) => {
        this.#search = undefined
        throw failure
      },
    )
    return this.#search
  }

  async #look(): Promise<string> {
    if (this.#wanted === 'auto') this.#found = await locate(this.#raw)
    const path = this.#found?.path ?? this.#wanted
    this.#raw.keepCanary?.(path)
    return path
  }

  /** The way round `failure`, looked for once for all who met it at about the same time. */
  #choose(path: string, failure: DproxyError): Promise<Fallback> {
    if (this.#choice && performance.now() <= this.#choice.untilMs) return this.#choice.result
    const result = Fallback.find(this.#raw, path, failure, () => this.#cut()).then(async (fallback) => {
      // An engine that was only just starting is no reason to go round sshd for as long as the connection lasts.
      if (this.#isForwarded || (await this.#forwardsNow(path))) throw new ForwardsAfterAll()
      this.#fallback = fallback
      return fallback
    })
    const choice = { result, untilMs: Number.POSITIVE_INFINITY }
    this.#choice = choice
    result.catch(() => {
      choice.untilMs = performance.now() + REFUSAL_HOLDS_MS
    })
    return result
  }

  async #forwardsNow(path: string): Promise<boolean> {
    try {
      const stream = await this.#raw.openStream(path, this.lost)
      stream.destroy()
      this.#isForwarded = true
    } catch {
      this.lost.throwIfAborted()
    }
    return this.#isForwarded
  }

  /** Counts it from now until it is over, whatever the transport counts. */
  #keep<S extends Duplex>(stream: S): S {
    if (stream.closed) return stream
    this.#streams.add(stream)
    stream.once('close', () => {
      this.#streams.delete(stream)
      for (const hear of this.#onRoom) hear()
    })
    return stream
  }

  #cut(): void {
    for (const hear of this.#onCut) hear(1)
  }
}
