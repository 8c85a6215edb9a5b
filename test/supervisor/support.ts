import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { duplexPair, type Duplex } from 'node:stream'
import { DproxyError, type Stage } from '../../src/base/errors.js'
import { unless } from '../../src/base/timeout.js'
import { ClockJumps } from '../../src/supervisor/link/clock-jumps.js'
import type { LinkLane } from '../../src/supervisor/link/link-lane.js'
import { Link, type LinkOptions } from '../../src/supervisor/link/link.js'
import type { LinkState } from '../../src/supervisor/link/link-status.js'
import { until } from '../testbed/until.js'

const VERSION = '{"Version":"28.2.2","ApiVersion":"1.50"}'

/** What stands behind a lane's remote socket. */
export type Engine = (request: IncomingMessage, response: ServerResponse) => void

export const livingEngine: Engine = (request, response) => {
  // Whatever is not asked for its version gets an answer that never ends.
  if (request.url === '/version') response.end(VERSION)
  else response.flushHeaders()
}

/** An SSH connection as a link sees it, with an engine of the test's own at its other end. */
export class FakeLane implements LinkLane {
  readonly rttMs = 1
  readonly transport = { kind: 'ssh2', why: null } as const
  connectTimeoutMs = 1000
  keepAlive = { intervalMs: 60_000, misses: 3 }
  readonly streams = new Set<Duplex>()
  readonly #lost = new AbortController()
  readonly #engine: Engine
  #heardMs = performance.now()
  /** False: the server is silent. */
  answers = true
  pings = 0
  /** What the next stream ends with instead of opening. */
  cannotOpen: DproxyError | undefined
  /** What the next streams wait for before they are open. */
  opening: Promise<void> | undefined
  #onCut: (streams: number) => void = () => undefined

  constructor(engine: Engine = livingEngine) {
    this.#engine = engine
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }
  get silentMs(): number {
    return performance.now() - this.#heardMs
  }
  get openStreams(): number {
    return this.streams.size
  }

  /** A byte comes in. */
  hear(): void {
    this.#heardMs = performance.now()
  }

  readonly remoteSocket = '/var/run/docker.sock'
  readonly forwarding = { method: 'streamlocal', why: null } as const

  async openStream(signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    this.lost.throwIfAborted()
    if (this.cannotOpen) throw this.cannotOpen
    if (this.opening) await unless([signal, this.lost], this.opening)
    const [near, far] = duplexPair()
    near.on('error', () => undefined)
    far.on('error', () => undefined)
    near.once('close', () => this.streams.delete(near))
    this.streams.add(near)
    // Any stream will do for Node's HTTP server.
    createServer(this.#engine).emit('connection', far)
    return near
  }

  async ping(limitMs: number, signal: AbortSignal): Promise<number> {
    this.pings += 1
    if (this.answers) {
      this.hear()
      return 1
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs)
      signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
    })
    throw new DproxyError('LINK_LOST', 'silent')
  }

  onCut(listener: (streams: number) => void): void {
    this.#onCut = listener
  }

  /** One stream is cut and the others go on, as when one connection of several is lost. */
  cut(stream: Duplex): void {
    this.#onCut(1)
    stream.destroy()
  }

  close(reason = 'closed'): void {
    if (this.lost.aborted) return
    const error = new DproxyError('LINK_LOST', `the SSH connection was lost: ${reason}`)
    this.#lost.abort(error)
    for (const stream of this.streams) stream.destroy(error)
    this.streams.clear()
  }
}

/** A clock that jumps ahead on demand, as the wall clock does when the machine has slept. */
export class JumpyClock {
  #aheadMs = 0
  readonly jumps = new ClockJumps({ wallMs: () => Date.now() + this.#aheadMs, tickMs: 10 })

  sleepFor(ms: number): void {
    this.#aheadMs += ms
  }
}

type Attempt = (onStage: (stage: Stage) => void, signal: AbortSignal) => Promise<FakeLane>

/** A link, the lanes it was given, and every state it was seen in. */
export class Bench implements AsyncDisposable {
  readonly link: Link
  readonly states: LinkState[] = []
  readonly lanes: FakeLane[] = []
  attempts = 0
  attempt: Attempt

  constructor(attempt: Attempt = async () => new FakeLane(), options: Partial<LinkOptions> = {}) {
    this.attempt = attempt
    this.link = new Link({
      openLane: async ({ signal, onStage }) => {
        this.attempts += 1
        onStage('connect')
        const lane = await this.attempt(onStage, signal)
        lane.connectTimeoutMs = options.connectTimeoutMs ?? 1000
        this.lanes.push(lane)
        return lane
      },
      connectTimeoutMs: 1000,
      onChange: () => {
        if (this.states.at(-1) !== this.link.state) this.states.push(this.link.state)
      },
      ...options,
    })
  }

  /** The lane in use. */
  get lane(): FakeLane {
    return this.lanes.at(-1)!
  }

  async reaches(state: LinkState, ms = 5000): Promise<void> {
    await until(`the link is ${state}`, () => this.link.state === state, ms)
  }

  /** A client's stream that stays open, as `docker logs -f` has one. */
  async follow(): Promise<Duplex> {
    const stream = await this.link.openStream(new AbortController().signal)
    stream.on('error', () => undefined)
    const asked = httpRequest({ createConnection: () => stream, path: '/follow' })
    asked.on('error', () => undefined)
    asked.end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    response.on('error', () => undefined).resume()
    return stream
  }

  /** A client that comes and goes: resolves with `served`, or the code it was refused with. */
  async visit(): Promise<string> {
    try {
      const stream = await this.link.openStream(new AbortController().signal)
      stream.destroy()
      return 'served'
    } catch (failure) {
      return failure instanceof DproxyError ? failure.code : String(failure)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.link.close()
  }
}

export const refused = () => new DproxyError('CONNECT_REFUSED', 'connection refused', { stage: 'connect' })
