import type { Duplex } from 'node:stream'
import type { HostDefinition, HostState, HostStatus, RunningHost, StreamStatus } from '../control/messages.js'
import type { DproxyError, Stage } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { placeText } from '../base/ssh-url.js'
import { count, printable } from '../base/text.js'
import { LONGEST_TIMER_MS } from '../base/timeout.js'
import type { ListenOptions } from '../base/unix-socket.js'
import { Proxy } from '../proxy/proxy.js'
import { runtimeDir } from '../base/paths.js'
import type { UnlockedKeys } from '../ssh/login/unlocked-keys.js'
import { DEFAULT_CONNECT_TIMEOUT_MS, where } from '../ssh/target.js'
import type { AddressGate } from './address-gate.js'
import { onBehalfOf } from './crash/at-fault.js'
import { failureOf } from './failure.js'
import { openPool } from './open-pool.js'
import { Link } from './link.js'
import type { EventLog } from './event-log.js'
import { QuestionDesk } from './question-desk.js'
import { storedSecretsOf } from './stored-secrets.js'

// As long as a link holds its clients down after a loss (promise 2).
export const CUT_COUNTS_MS = 1000

export interface HostOptions {
  readonly definition: HostDefinition
  readonly agentSocket: string | null
  readonly env: Env
  readonly log: EventLog
  readonly gate: AddressGate
  /** The keys that a passphrase has opened, for every host that uses them. */
  readonly unlocked: UnlockedKeys
  /** How many streams were cut when the host that this one takes the place of was stopped. */
  readonly cutBefore: number
  readonly onChange: () => void
  /** What the first try waits for, or fails with. */
  readonly beforeFirstTry?: (signal: AbortSignal) => Promise<void>
}

export interface HowToStart {
  /** Dial only when the first client comes. */
  readonly lazy: boolean
  /** Somebody waits who can answer what the login asks. */
  readonly person: boolean
  /** False: another supervisor still serves the socket, and `listen` comes later. */
  readonly listen: boolean
}

/** One served host: its listener and its link, and the numbers of both. */
export class Host {
  readonly definition: HostDefinition
  readonly #log: EventLog
  readonly #link: Link
  readonly #onChange: () => void
  #agentSocket: string | null
  #proxy!: Proxy
  #ssh: string
  #draining = false
  #drainingSinceMs = 0
  #listens = false
  /** Why nobody gets in at the socket now. */
  #socketLost: { readonly error: DproxyError; readonly atMs: number } | undefined
  /** On the clock that nobody sets back. */
  #cutAtMs = Number.NEGATIVE_INFINITY
  /** How often clients were held down for streams that another process had. */
  #heldDown = 0
  #onCut: () => void = () => undefined
  #beforeTry: ((signal: AbortSignal) => Promise<void>) | undefined
  readonly #hurry = new AbortController()
  readonly #desk: QuestionDesk

  private constructor({
    definition,
    agentSocket,
    env,
    log,
    gate,
    unlocked,
    cutBefore,
    onChange,
    beforeFirstTry,
  }: HostOptions) {
    this.definition = definition
    this.#beforeTry = beforeFirstTry
    this.#agentSocket = agentSocket
    this.#log = log
    this.#onChange = onChange
    this.#ssh = placeText(definition)
    this.#desk = new QuestionDesk(definition.name, () => this.#onChange())
    this.#link = new Link({
      openLane: async ({ signal, onStage, person }) => {
        const before = this.#beforeTry
        this.#beforeTry = undefined
        await before?.(signal)
        return openPool(definition, {
          ask: person ? this.#desk.ask : null,
          optionsFor: (ask) => ({
            agentSocket: this.#agentSocket,
            env,
            runDir: runtimeDir(env),
            ask,
            secretsOf: (hop) => storedSecretsOf(definition, hop, { env, ask }),
            unlocked,
            signal,
            onStage,
            onResolved: (resolved) => {
              this.#ssh = where(resolved)
            },
            throttle: (name, work) => gate.through(name, work, signal),
          }),
          onChange: (sentence) => {
            log.info(definition.name, sentence)
            this.#onChange()
          },
        })
      },
      connectTimeoutMs: definition.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
      cutBefore,
      onCut: () => this.#tellOfCut(),
      onChange: () => this.#onLinkChange(),
    })
  }

  /**
   * Starts to listen, unless told not to yet; dials at once unless `lazy`.
   * @throws DproxyError SOCKET_*; nothing is left behind then
   */
  static async start(options: HostOptions & HowToStart): Promise<Host> {
    const host = new Host(options)
    const { name, socket } = options.definition
    host.#proxy = Proxy.create({
      path: socket,
      dial: (signal) => host.#dial(signal),
      explain: (error) => explain(name, error),
      onFailed: (id, error) => options.log.warn(name, `stream ${id}: ${error.message}`),
      onChange: options.onChange,
      onSocket: (lost) => host.#onSocket(lost),
    })
    if (options.listen) await host.listen()
    if (!options.lazy) host.retry(options.person)
    return host
  }

  /** @throws DproxyError SOCKET_* */
  async listen(how?: ListenOptions): Promise<void> {
    const { name, socket } = this.definition
    await onBehalfOf(name, () => this.#proxy.listen(how))
    this.#listens = true
    this.#log.info(name, `listening on ${socket}`)
  }

  /** The agent asked for keys, as last handed over. */
  get agentSocket(): string | null {
    return this.#agentSocket
  }

  /** From now on, this agent is asked for keys: the last one may be gone with the session it belonged to. */
  handOver(agentSocket: string | null): void {
    this.#agentSocket = agentSocket ?? this.#agentSocket
  }

  /** Tries now: a failed host once more, a retrying one without waiting. */
  retry(person: boolean): void {
    onBehalfOf(this.definition.name, () => this.#link.connect(person))
  }

  /** Answers what the login asks; null declines. False when nothing of that id is being asked. */
  answer(questionId: string, answers: readonly string[] | null): boolean {
    return this.#desk.answer(questionId, answers)
  }

  /** Lets a drain under way last for no more than `drainMs` from now; false when there is none. */
  hasten(drainMs: number): boolean {
    if (this.#draining) setTimeout(() => this.#hurry.abort(), drainMs).unref()
    return this.#draining
  }

  /** Drains, then stops. Resolves with how many streams were cut. */
  async stop(drainMs: number, hurry: AbortSignal): Promise<number> {
    const { name, socket } = this.definition
    this.#drain()
    try {
      const cut = await this.#proxy.close(drainMs, AbortSignal.any([hurry, this.#hurry.signal]))
      const removed = this.#listens ? `; ${socket} is removed` : ''
      this.#log.info(name, `stopped${removed}${cut > 0 ? `; ${count(cut, 'stream')} cut` : ''}`)
      return cut
    } finally {
      await this.#link.close()
    }
  }

  /**
   * Accepts its last client: another process serves the socket. Resolves with how many streams are open.
   */
  async retire(): Promise<number> {
    this.#drain()
    await this.#proxy.retire()
    return this.#proxy.openStreams
  }

  /** Lets what `retire` has left end by itself for `drainMs`, cuts the rest, and stops. */
  async finish(drainMs: number, hurry: AbortSignal): Promise<number> {
    const over = new AbortController()
    const cut = () => {
      if (!over.signal.aborted && this.#proxy.openStreams > 0) this.#tellOfCut()
      over.abort()
    }
    const limit = setTimeout(cut, Math.min(drainMs, LONGEST_TIMER_MS))
    const sooner = AbortSignal.any([hurry, this.#hurry.signal])
    sooner.addEventListener('abort', cut, { once: true })
    if (sooner.aborted) cut()
    try {
      return await this.stop(LONGEST_TIMER_MS, over.signal)
    } finally {
      clearTimeout(limit)
      sooner.removeEventListener('abort', cut)
    }
  }

  /** Clients of ours had streams in another process that were cut: they must not read our answers as success. */
  holdDown(): void {
    this.#heldDown += 1
    this.#link.onStreamCut()
  }

  /** `listener` hears of streams that end before their work is done, and hears it before their clients do. */
  onCut(listener: () => void): void {
    this.#onCut = listener
  }

  cut(streamId: string): boolean {
    // Before the client can ask what became of its command: `docker exec` would read the answer as success.
    if (this.#proxy.has(streamId)) this.#link.onStreamCut()
    return this.#proxy.cut(streamId)
  }

  /** What another supervisor needs to run this host in our place. */
  running(): RunningHost {
    return {
      definition: this.definition,
      agent: this.#agentSocket,
      state: this.#state,
      cutLately: performance.now() - this.#cutAtMs < CUT_COUNTS_MS,
    }
  }

  streams(): StreamStatus[] {
    const { name } = this.definition
    return Array.from(this.#proxy.streams(), ({ id, sinceMs, bytes }) => ({
      id: `${name}:${id}`,
      host: name,
      since: new Date(sinceMs).toISOString(),
      bytes,
    }))
  }

  status(): HostStatus {
    const { definition } = this
    const link = this.#link
    const error = link.lastError
    const failure = error && failureOf(error.error)
    const last = this.#socketLost ?? error
    return {
      name: definition.name,
      state: this.#state,
      reason: link.state === 'up' || this.#draining ? null : (failure?.message ?? null),
      since: new Date(this.#draining ? this.#drainingSinceMs : link.sinceMs).toISOString(),
      socket: definition.socket,
      ssh: this.#ssh,
      remoteSocket: link.remoteSocket ?? definition.remoteSocket,
      engine: link.engine,
      rttMs: link.rttMs === null ? null : Math.round(link.rttMs * 10) / 10,
      lanes: link.lanes,
      transport: link.transport,
      forwarding: link.forwarding,
      question: this.#desk.question,
      streams: { open: this.#proxy.openStreams, total: this.#proxy.totalStreams },
      bytes: this.#proxy.bytes,
      turnedAway: this.#proxy.turnedAway,
      reconnects: link.reconnects,
      lastError: last ? { ...failureOf(last.error), at: new Date(last.atMs).toISOString() } : null,
      stages: [...link.stages],
      stage: link.stage,
      nextTryMs: link.nextTryMs,
      tags: definition.tags,
      description: definition.description,
      protected: definition.protected,
    }
  }

  get #state(): HostState {
    return this.#draining ? 'draining' : this.#link.state
  }

  async #dial(signal: AbortSignal): Promise<Duplex> {
    const before = this.#heldDown
    const stream = await this.#link.openStream(signal)
    if (this.#heldDown === before) return stream
    // The hold-down came while it was being opened, and may be meant for this very client.
    stream.destroy()
    return this.#link.openStream(signal)
  }

  #drain(): void {
    if (this.#draining) return
    this.#draining = true
    this.#drainingSinceMs = Date.now()
    this.#onChange()
    const { openStreams } = this.#proxy
    if (openStreams > 0) this.#log.info(this.definition.name, `draining ${count(openStreams, 'stream')}`)
  }

  /** Somebody deleted our socket: it was made again, or could not be. */
  #onSocket(lost: DproxyError | undefined): void {
    const { name, socket } = this.definition
    this.#socketLost = lost && { error: lost, atMs: Date.now() }
    if (lost) this.#log.error(name, sentence(lost, ''))
    else this.#log.warn(name, `somebody had deleted ${socket}: it is there again`)
    this.#onChange()
  }

  #tellOfCut(): void {
    this.#cutAtMs = performance.now()
    this.#onCut()
  }

  #logged: string | undefined

  #onLinkChange(): void {
    const { name } = this.definition
    const { state, lastError, engine } = this.#link
    if (state !== this.#logged) {
      this.#logged = state
      if (state === 'up') this.#log.info(name, `up: ${this.#ssh}, Docker ${engine?.version ?? '?'}`)
      if (state === 'retrying') this.#log.warn(name, sentence(lastError?.error, 'not connected'))
      if (state === 'failed') this.#log.error(name, sentence(lastError?.error, 'failed'))
    }
    this.#onChange()
  }
}

/** `prod: login: deploy@… refused the only key offered` */
const explain = (name: string, error: DproxyError): string => {
  const hint = error.hint === undefined ? '' : ` (${error.hint})`
  // Docker's own command line prints this as it is.
  return printable(`dproxy: ${name}: ${stageOf(error.stage)}${error.message}${hint}`)
}

const stageOf = (stage: Stage | undefined): string => (stage ? `${stage}: ` : '')

const sentence = (error: DproxyError | undefined, otherwise: string): string =>
  error ? `${stageOf(error.stage)}${error.message}` : otherwise
