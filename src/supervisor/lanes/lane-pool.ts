import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import { asDproxyError, DproxyError } from '../../base/errors.js'
import { formatDuration } from '../../base/duration.js'
import { count } from '../../base/text.js'
import { unless, within } from '../../base/timeout.js'
import { keepAlive } from '../link/keep-alive.js'
import type { Forwarding, KeepAlive, LinkLane, Transport } from '../link/link-lane.js'
import { PoolGrowth } from './pool-growth.js'
import { Member, type PooledLane } from './pool-member.js'
import { WaitingLine } from './waiting-line.js'

/** How many connections to a host there may be where nobody has said. */
export const DEFAULT_LANES = 4

// A further connection that carries nothing is closed after this long: the next crowd may be near.
const IDLE_MS = 60_000

export interface LanePoolOptions {
  readonly first: PooledLane
  /** Opens one more connection to the same host, asking nobody; null: it may not. */
  readonly openFurther: ((signal: AbortSignal) => Promise<PooledLane>) | null
  /** The most connections, the first one included. */
  readonly most: number
  /** Hears, in a sentence, that a further connection has come, gone, or could not be opened. */
  readonly onChange: (sentence: string) => void
  readonly idleMs?: number
}

/**
 * The connections to one host as one. The first carries everything that it has room for, which is all, unless
 * each stream takes one of the sessions that its server allows (MaxSessions, sshd_config(5)): then further ones
 * are opened, up to a limit, and closed again when they are idle; beyond, streams wait in line.
 *
 * It is lost with its first connection. A further one that is lost takes its own streams with it.
 */
export class LanePool implements LinkLane {
  readonly #options: LanePoolOptions
  readonly #first: PooledLane
  readonly #members: Member[] = []
  readonly #growth: PoolGrowth | undefined
  readonly #lost = new AbortController()
  readonly #line = new WaitingLine()
  readonly #onCut = new Set<(streams: number) => void>()
  /** Connections that are over, until nothing is left of them. */
  readonly #going = new Set<Promise<void>>()

  constructor(options: LanePoolOptions) {
    const { first, openFurther: open, onChange } = options
    this.#options = options
    this.#first = first
    setMaxListeners(0, this.lost) // one for each stream that waits
    this.#growth =
      open === null
        ? undefined
        : new PoolGrowth({
            open,
            adopt: (lane) => this.#adopt(lane),
            onFailed: ({ message }) => onChange(`no other SSH connection could be opened: ${message}`),
            over: this.lost,
          })
    this.#add(first, null)
    whenAborted(first.lost, () => this.#end(first.lost.reason))
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }
  get silentMs(): number {
    return this.#first.silentMs
  }
  get rttMs(): number | null {
    return this.#first.rttMs
  }
  get openStreams(): number {
    return this.#members.reduce((sum, { lane }) => sum + lane.openStreams, 0)
  }
  get lanes(): number {
    return this.#members.length
  }
  get connectTimeoutMs(): number {
    return this.#first.connectTimeoutMs
  }
  get keepAlive(): KeepAlive {
    return this.#first.keepAlive
  }
  get transport(): Transport {
    return this.#first.transport
  }
  get remoteSocket(): string | null {
    return this.#first.remoteSocket
  }
  get forwarding(): Forwarding | null {
    return this.#first.forwarding
  }
  get gone(): Promise<void> {
    const here = this.#members.map(({ lane }) => lane.gone)
    return Promise.all([...here, ...this.#going, this.#growth?.settled]).then(() => undefined)
  }

  onCut(listener: (streams: number) => void): void {
    this.#onCut.add(listener)
  }

  /**
   * Opens one stream, in whichever connection has room. Waits for room at most as long as for a connection.
   * @throws DproxyError SESSION_LIMIT, or what opening it throws
   */
  async openStream(signal: AbortSignal): Promise<Duplex> {
    // Nobody overtakes those who wait.
    const stream = this.#line.isEmpty ? await this.#open(signal) : undefined
    if (stream) return stream
    const limitMs = this.connectTimeoutMs
    const late = () => this.#noRoom(limitMs)
    return within(limitMs, signal, late, (limited) => unless([this.lost], this.#wait(limited)))
  }

  ping(limitMs: number, signal: AbortSignal): Promise<number> {
    return this.#first.ping(limitMs, signal)
  }

  close(reason?: string): void {
    this.#first.close(reason)
  }

  #wait(signal: AbortSignal): Promise<Duplex> {
    return this.#line.wait(signal, async () => {
      for (const member of this.#members) member.askAgain()
      const stream = await this.#open(signal)
      if (!stream && this.lanes < this.#options.most) this.#growth?.start()
      return stream
    })
  }

  async #open(signal: AbortSignal): Promise<Duplex | undefined> {
    for (const member of this.#members) {
      const stream = member.refusal ? undefined : await member.open(signal)
      if (stream) return stream
      this.lost.throwIfAborted()
    }
    return undefined
  }

  #add(lane: PooledLane, idleMs: number | null): Member {
    const member = new Member(lane, { onRoom: () => this.#line.notify(), idleMs })
    this.#members.push(member)
    lane.onCut?.((streams) => this.#tell(streams))
    return member
  }

  #adopt(lane: PooledLane): void {
    lane.lost.throwIfAborted()
    const { idleMs = IDLE_MS, most, onChange } = this.#options
    const member = this.#add(lane, idleMs)
    void keepAlive(lane, lane.keepAlive, lane.lost)
    // Runs before the lane destroys its streams: their clients must not be served again before that is known.
    whenAborted(lane.lost, () => this.#remove(member))
    onChange(`opened another SSH connection (${this.lanes} of at most ${most})`)
    this.#line.notify()
  }

  #remove(member: Member): void {
    if (this.lost.aborted) return
    const { lane } = member
    this.#members.splice(this.#members.indexOf(member), 1)
    const gone: Promise<void> = (lane.gone ?? Promise.resolve()).finally(() => this.#going.delete(gone))
    this.#going.add(gone)
    const { openStreams } = lane
    if (openStreams > 0) this.#tell(openStreams)
    const cut = openStreams > 0 ? `, and ${count(openStreams, 'stream')} with it` : ''
    const { message } = asDproxyError(lane.lost.reason)
    this.#options.onChange(`another SSH connection is over${cut}: ${message}`)
  }

  #end(reason: unknown): void {
    // First the link hears it (promise 2); then the other connections go, and their streams with them.
    this.#lost.abort(reason)
    for (const { lane } of this.#members) if (lane !== this.#first) lane.close()
  }

  #tell(streams: number): void {
    for (const listener of this.#onCut) listener(streams)
  }

  #noRoom(limitMs: number): DproxyError {
    const refusal = this.#members.findLast((member) => member.refusal)?.refusal
    const where = this.lanes === 1 ? '' : ` in any of ${this.lanes} connections`
    const late = `there was no room for one more stream${where} within ${formatDuration(limitMs)}`
    return new DproxyError('SESSION_LIMIT', refusal ? `${refusal.message}; ${late}` : late, {
      stage: 'engine',
      hint: refusal?.hint,
      cause: refusal,
    })
  }
}

const whenAborted = (signal: AbortSignal, then: () => void): void => {
  if (signal.aborted) then()
  else signal.addEventListener('abort', then, { once: true })
}
