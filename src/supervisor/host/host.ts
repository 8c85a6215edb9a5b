import type {
  HostDefinition,
  HostState,
  HostStatus,
  RunningHost,
  StreamStatus,
} from '../../control/messages.js'
import type { DproxyError } from '../../base/errors.js'
import type { ListenOptions } from '../../base/unix-socket.js'
import { Proxy } from '../../proxy/proxy.js'
import { DEFAULT_CONNECT_TIMEOUT_MS } from '../../ssh/target.js'
import { onBehalfOf } from '../crash/at-fault.js'
import { Cuts, type Neighbour } from './cuts.js'
import { Drain } from './drain.js'
import { HostLog } from './host-log.js'
import { LaneOpener } from './lane-opener.js'
import type { HostOptions, HowToStart } from './options.js'
import { statusOf, streamsOf } from './status.js'
import { explain } from './words.js'
import { Link } from '../link/link.js'
import { QuestionDesk } from './question-desk.js'

/** One served host: its listener and its link, and what is told of both. */
export class Host {
  readonly definition: HostDefinition
  readonly #log: HostLog
  readonly #desk: QuestionDesk
  readonly #opener: LaneOpener
  readonly #link: Link
  readonly #proxy: Proxy
  readonly #cuts = new Cuts()
  readonly #drain: Drain
  readonly #onChange: () => void
  #listens = false
  /** Why nobody gets in at the socket now. */
  #socketLost: { readonly error: DproxyError; readonly atMs: number } | undefined

  private constructor({ log, cutBefore, onChange, ...options }: HostOptions) {
    const { definition } = options
    this.definition = definition
    this.#onChange = onChange
    this.#log = new HostLog(log, definition)
    this.#desk = new QuestionDesk(definition.name, onChange)
    this.#opener = new LaneOpener({
      ...options,
      ask: this.#desk.ask,
      onChange: (sentence) => {
        this.#log.info(sentence)
        onChange()
      },
    })
    this.#link = new Link({
      openLane: (attempt) => this.#opener.open(attempt),
      connectTimeoutMs: definition.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
      cutBefore,
      onCut: () => this.#cuts.tell(),
      onChange: () => this.#onLinkChange(),
    })
    this.#proxy = Proxy.create({
      path: definition.socket,
      dial: (signal) => this.#cuts.dial(() => this.#link.openStream(signal)),
      explain: (error) => explain(definition.name, error),
      onFailed: (id, error) => this.#log.streamFailed(id, error),
      onChange,
      onSocket: (lost) => this.#onSocket(lost),
    })
    this.#drain = new Drain({ proxy: this.#proxy, log: this.#log, cuts: this.#cuts, onChange })
  }

  /**
   * Starts to listen, unless told not to yet; dials at once unless `lazy`.
   * @throws DproxyError SOCKET_*; nothing is left behind then
   */
  static async start({ lazy, person, listen, ...options }: HostOptions & HowToStart): Promise<Host> {
    const host = new Host(options)
    if (listen) await host.listen()
    if (!lazy) host.retry(person)
    return host
  }

  /** @throws DproxyError SOCKET_* */
  async listen(how?: ListenOptions): Promise<void> {
    await onBehalfOf(this.definition.name, () => this.#proxy.listen(how))
    this.#listens = true
    this.#log.listening()
  }

  /** The agent asked for keys, as last handed over. */
  get agentSocket(): string | null {
    return this.#opener.agentSocket
  }

  /** From now on, this agent is asked for keys: the last one may be gone with the session it belonged to. */
  handOver(agentSocket: string | null): void {
    this.#opener.agentSocket = agentSocket ?? this.#opener.agentSocket
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
    return this.#drain.hasten(drainMs)
  }

  /** Drains, then stops. Resolves with how many streams were cut. */
  stop(drainMs: number, hurry: AbortSignal): Promise<number> {
    return this.#end(this.#drain.close(drainMs, hurry))
  }

  /** Accepts its last client: another process serves the socket. Resolves with how many streams are open. */
  retire(): Promise<number> {
    return this.#drain.retire()
  }

  /** Lets what `retire` has left end by itself for `drainMs`, cuts the rest, and stops. */
  finish(drainMs: number, hurry: AbortSignal): Promise<number> {
    return this.#end(this.#drain.finish(drainMs, hurry))
  }

  /** Clients of ours had streams in another process that were cut: they must not read our answers as success. */
  holdDown(from: Neighbour): void {
    this.#cuts.hear(from, () => this.#link.onStreamCut())
  }

  /**
   * `listener` hears of streams that end before their work is done, and hears it before their clients do; but not of
   * those that `neighbour` has told of itself.
   */
  onCut(neighbour: Neighbour, listener: () => void): void {
    this.#cuts.subscribe(neighbour, listener)
  }

  /** False when it has no such stream. */
  cut(streamId: string): boolean {
    // Before the client can ask what became of its command: `docker exec` would read the answer as success.
    if (this.#proxy.has(streamId)) this.#link.onStreamCut()
    return this.#proxy.cut(streamId)
  }

  get state(): HostState {
    return this.#drain.hasBegun ? 'draining' : this.#link.state
  }

  /** What the login waits for a person to answer. */
  get question(): HostStatus['question'] {
    return this.#desk.question
  }

  /** What another supervisor needs to run this host in our place. */
  running(): RunningHost {
    const { definition, agentSocket: agent, state } = this
    return { definition, agent, state, cutLately: this.#cuts.areRecent }
  }

  streams(): StreamStatus[] {
    return streamsOf(this.definition.name, this.#proxy)
  }

  status(): HostStatus {
    return statusOf({
      definition: this.definition,
      state: this.state,
      drainingSinceMs: this.#drain.sinceMs,
      link: this.#link,
      proxy: this.#proxy,
      ssh: this.#opener.ssh,
      remoteSocket: this.#opener.remoteSocket,
      question: this.question,
      socketLost: this.#socketLost,
    })
  }

  async #end(drained: Promise<number>): Promise<number> {
    try {
      const cut = await drained
      this.#log.stopped({ removed: this.#listens, cut })
      return cut
    } finally {
      await this.#link.close()
    }
  }

  /** Somebody deleted our socket: it was made again, or could not be. */
  #onSocket(lost: DproxyError | undefined): void {
    this.#socketLost = lost && { error: lost, atMs: Date.now() }
    this.#log.socketDeleted(lost)
    this.#onChange()
  }

  #onLinkChange(): void {
    const { state, remoteSocket } = this.#link
    if (state === 'up' && remoteSocket !== null) this.#opener.keepTo(remoteSocket)
    this.#log.link(this.#link, this.#opener.ssh)
    this.#onChange()
  }
}
