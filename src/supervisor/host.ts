import type { HostDefinition, HostStatus, StreamStatus } from '../control/messages.js'
import type { DproxyError, Stage } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { placeText } from '../base/ssh-url.js'
import { count, printable } from '../base/text.js'
import { Proxy } from '../proxy/proxy.js'
import { runtimeDir } from '../base/paths.js'
import type { UnlockedKeys } from '../ssh/login/unlocked-keys.js'
import { openEngineLane } from '../ssh/engine/open-engine-lane.js'
import { DEFAULT_CONNECT_TIMEOUT_MS, where } from '../ssh/target.js'
import type { AddressGate } from './address-gate.js'
import { failureOf } from './failure.js'
import { Link } from './link.js'
import type { EventLog } from './event-log.js'
import { QuestionDesk } from './question-desk.js'
import { storedSecretsOf } from './stored-secrets.js'

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
  }: HostOptions) {
    this.definition = definition
    this.#agentSocket = agentSocket
    this.#log = log
    this.#onChange = onChange
    this.#ssh = placeText(definition)
    this.#desk = new QuestionDesk(definition.name, () => this.#onChange())
    this.#link = new Link({
      openLane: ({ signal, onStage, person }) =>
        openEngineLane(definition, {
          agentSocket: this.#agentSocket,
          env,
          runDir: runtimeDir(env),
          ask: person ? this.#desk.ask : null,
          secretsOf: (hop) => storedSecretsOf(definition, hop, { env, ask: person ? this.#desk.ask : null }),
          unlocked,
          signal,
          onStage,
          onResolved: (resolved) => {
            this.#ssh = where(resolved)
          },
          throttle: (name, work) => gate.through(name, work, signal),
        }),
      connectTimeoutMs: definition.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
      cutBefore,
      onChange: () => this.#onLinkChange(),
    })
  }

  /**
   * Starts to listen; dials at once unless `lazy`.
   * @throws DproxyError SOCKET_*; nothing is left behind then
   */
  static async start(
    options: HostOptions & { readonly lazy: boolean; readonly person: boolean },
  ): Promise<Host> {
    const host = new Host(options)
    const { name, socket } = options.definition
    host.#proxy = await Proxy.listen({
      path: socket,
      dial: (signal) => host.#link.openStream(signal),
      explain: (error) => explain(name, error),
      onFailed: (id, error) => options.log.warn(name, `stream ${id}: ${error.message}`),
      onChange: options.onChange,
    })
    options.log.info(name, `listening on ${socket}`)
    if (!options.lazy) host.#link.connect(options.person)
    return host
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
    this.#link.connect(person)
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
    this.#draining = true
    this.#drainingSinceMs = Date.now()
    this.#onChange()
    if (this.#proxy.openStreams > 0)
      this.#log.info(name, `draining ${count(this.#proxy.openStreams, 'stream')}`)
    try {
      const cut = await this.#proxy.close(drainMs, AbortSignal.any([hurry, this.#hurry.signal]))
      this.#log.info(name, `stopped; ${socket} is removed${cut > 0 ? `; ${count(cut, 'stream')} cut` : ''}`)
      return cut
    } finally {
      await this.#link.close()
    }
  }

  cut(streamId: string): boolean {
    // Before the client can ask what became of its command: `docker exec` would read the answer as success.
    if (this.#proxy.has(streamId)) this.#link.onStreamCut()
    return this.#proxy.cut(streamId)
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
    return {
      name: definition.name,
      state: this.#draining ? 'draining' : link.state,
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
      turnedAway: 0,
      reconnects: link.reconnects,
      lastError: failure && error ? { ...failure, at: new Date(error.atMs).toISOString() } : null,
      stages: [...link.stages],
      stage: link.stage,
      nextTryMs: link.nextTryMs,
      tags: definition.tags,
      description: definition.description,
      protected: definition.protected,
    }
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
