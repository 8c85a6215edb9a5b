import { setMaxListeners } from 'node:events'
import type {
  DownReply,
  HostDefinition,
  HostStatus,
  LogEntry,
  Status,
  StreamStatus,
  SupervisorInfo,
  UpReply,
  UpRequest,
} from '../control/messages.js'
import { SCHEMA_VERSION } from '../control/messages.js'
import type { ControlService } from '../control/server.js'
import { deferred } from '../base/deferred.js'
import { DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { UnlockedKeys } from '../ssh/login/unlocked-keys.js'
import { AddressGate } from './address-gate.js'
import type { EventLog } from './event-log.js'
import { Host } from './host.js'

export interface SupervisorOptions {
  readonly env: Env
  readonly log: EventLog
  readonly info: SupervisorInfo
}

interface HowToStart {
  readonly lazy: boolean
  /** Somebody waits who can answer what the login asks. */
  readonly person: boolean
}

// As long as a link holds its clients down after a loss (promise 2).
const CUT_COUNTS_MS = 1000

// Several hosts are asked for at once: the first one's failure must not end the supervisor under the second.
const LEAVE_AFTER_MS = 200

/**
 * Makes the running proxies match what was asked: starts hosts, stops them, and tells what they do. What
 * happens to one host never touches another; changes to the same host wait for each other.
 */
export class Supervisor implements ControlService {
  readonly #options: SupervisorOptions
  readonly #hosts = new Map<string, Host>()
  readonly #gate = new AddressGate()
  /** Kept as long as we run, as an agent keeps them: no reconnect and no second host asks for them again. */
  readonly #unlocked = new UnlockedKeys()
  /** The last change of each host name, under way or done. */
  readonly #changes = new Map<string, Promise<unknown>>()
  readonly #hurry = new AbortController()
  /** Streams that were cut by stopping a host, and when. */
  readonly #cuts = new Map<string, { readonly cut: number; readonly atMs: number }>()
  readonly #watchers = new Set<() => void>()
  readonly #emptied = new AbortController()
  readonly #left = deferred<void>()
  #stopping = false

  constructor(options: SupervisorOptions) {
    this.#options = options
    setMaxListeners(0, this.#hurry.signal)
  }

  /** Aborts when the last host has been stopped, or `shutdown` is done: nothing is left to do. */
  get emptied(): AbortSignal {
    return this.#emptied.signal
  }

  get #isEmpty(): boolean {
    return this.#hosts.size === 0 && this.#changes.size === 0
  }

  status(): Status {
    return {
      schemaVersion: SCHEMA_VERSION,
      atMs: Date.now(),
      supervisor: this.#options.info,
      hosts: Array.from(this.#hosts.values(), (host): HostStatus => host.status()),
    }
  }

  /**
   * Starts a host, restarts one whose definition has changed, tries again where one failed, and leaves one
   * alone that already runs as asked.
   * @throws DproxyError SOCKET_* when its socket cannot be made; the host is not started then. SUPERVISOR_DOWN
   * when it stops, once it has left its control socket
   */
  async up(request: UpRequest): Promise<UpReply> {
    try {
      return await this.#inTurn(request.definition.name, () => this.#up(request))
    } catch (failure) {
      // Whoever hears that we stop starts another supervisor, and that one needs our place.
      if (this.#stopping) await this.#left.promise
      throw failure
    }
  }

  /** @throws DproxyError HOST_UNKNOWN when no such host runs */
  down(name: string, drainMs: number): Promise<DownReply> {
    const draining = this.#find(name)?.hasten(drainMs)
    return this.#inTurn(name, async () => {
      // Whoever asked first has stopped it.
      if (draining && !this.#find(name)) return { cut: 0 }
      return { cut: await this.#stop(this.#running(name), drainMs) }
    })
  }

  /** Stops and starts a host, by the definition it runs with. */
  restart(name: string, drainMs: number, person = false): Promise<DownReply> {
    return this.#inTurn(name, async () => {
      this.#refuseWhenStopping()
      const host = this.#running(name)
      const cut = await this.#stop(host, drainMs)
      this.#refuseWhenStopping()
      await this.#start(host.definition, host.agentSocket, { lazy: false, person })
      return { cut }
    })
  }

  streams(name: string): StreamStatus[] {
    return this.#running(name).streams()
  }

  /** @throws DproxyError STREAM_UNKNOWN */
  cut(id: string): void {
    const [name = '', stream = ''] = id.split(':')
    if (!this.#find(name)?.cut(stream)) throw new DproxyError('STREAM_UNKNOWN', `there is no stream ${id}`)
  }

  /**
   * @throws DproxyError QUESTION_UNKNOWN when nothing of that id is being asked, REQUEST_INVALID when it takes
   * another number of answers
   */
  answer(id: string, answers: readonly string[] | null): void {
    const [name = ''] = id.split(':')
    if (this.#find(name)?.answer(id, answers)) return
    throw new DproxyError('QUESTION_UNKNOWN', 'nothing like this is being asked any more', {
      hint: 'see: dproxy status',
    })
  }

  recentLogs(): readonly LogEntry[] {
    return this.#options.log.recent()
  }

  onLog(listener: (entry: LogEntry) => void): () => void {
    return this.#options.log.subscribe(listener)
  }

  onChange(listener: () => void): () => void {
    this.#watchers.add(listener)
    return () => void this.#watchers.delete(listener)
  }

  /** Drains and stops every host, all at once, those included that are just being started. */
  async shutdown(drainMs: number): Promise<void> {
    this.#stopping = true
    while (!this.#isEmpty) {
      const names = Array.from(this.#hosts.values(), ({ definition }) => definition.name)
      await Promise.allSettled(names.map((name) => this.down(name, drainMs)))
      await Promise.allSettled(this.#changes.values())
    }
    this.#emptied.abort()
  }

  /** Ends every drain under way, now and from now on. */
  hurry(): void {
    this.#hurry.abort()
  }

  /** Ends the supervisor if it serves nobody `afterMs` from now. */
  leaveIfEmpty(afterMs: number): void {
    setTimeout(() => {
      if (!this.#isEmpty || this.#stopping) return
      // From here on a request to start a host is refused, and its sender starts a new supervisor.
      this.#stopping = true
      this.#emptied.abort()
    }, afterMs).unref()
  }

  /** The control socket's path is free for another supervisor. */
  hasLeft(): void {
    this.#left.resolve()
  }

  async #up({ definition, agent, lazy, person, evenProtected }: UpRequest): Promise<UpReply> {
    this.#refuseWhenStopping()
    const running = this.#find(definition.name)
    if (running && sameDefinition(running, definition)) {
      running.handOver(agent)
      const retried = !lazy && running.status().state !== 'up'
      if (retried) running.retry(person)
      return { action: retried ? 'retried' : 'unchanged' }
    }
    this.#refuseSharedSocket(definition.name, definition.socket)
    if (running && !evenProtected) refuseProtected(running)
    if (running) await this.#stop(running, 0)
    await this.#start(definition, agent, { lazy, person })
    return { action: running ? 'restarted' : 'started' }
  }

  #find(name: string): Host | undefined {
    return this.#hosts.get(key(name))
  }

  #running(name: string): Host {
    const host = this.#find(name)
    if (host) return host
    throw new DproxyError('HOST_UNKNOWN', `${name} is not running`, { hint: `start it: dproxy up ${name}` })
  }

  async #start(definition: HostDefinition, agentSocket: string | null, how: HowToStart): Promise<void> {
    const cutBefore = this.#cutLately(definition.name)
    const { env, log } = this.#options
    const gate = this.#gate
    const unlocked = this.#unlocked
    const onChange = () => this.#changed()
    const host = await Host.start({
      definition,
      agentSocket,
      env,
      log,
      gate,
      unlocked,
      cutBefore,
      onChange,
      ...how,
    })
    this.#hosts.set(key(definition.name), host)
    this.#changed()
  }

  async #stop(host: Host, drainMs: number): Promise<number> {
    try {
      const cut = await host.stop(drainMs, this.#hurry.signal)
      if (cut > 0) this.#cuts.set(key(host.definition.name), { cut, atMs: performance.now() })
      return cut
    } finally {
      this.#hosts.delete(key(host.definition.name))
      this.#changed()
    }
  }

  /** How many streams of a host were cut a moment ago: whoever starts it again must hold clients down. */
  #cutLately(name: string): number {
    const { cut = 0, atMs = 0 } = this.#cuts.get(key(name)) ?? {}
    this.#cuts.delete(key(name))
    return performance.now() - atMs < CUT_COUNTS_MS ? cut : 0
  }

  /** Runs `change` after the changes of the same host asked for earlier. */
  #inTurn<T>(name: string, change: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(key(name)) ?? Promise.resolve()
    const mine = before.then(change, change).finally(() => {
      if (this.#changes.get(key(name)) === mine) this.#changes.delete(key(name))
      this.leaveIfEmpty(LEAVE_AFTER_MS)
    })
    this.#changes.set(key(name), mine)
    return mine
  }

  #refuseWhenStopping(): void {
    if (!this.#stopping) return
    throw new DproxyError('SUPERVISOR_DOWN', 'the supervisor is stopping', { hint: 'try again in a moment' })
  }

  #refuseSharedSocket(name: string, socket: string): void {
    for (const { definition } of this.#hosts.values()) {
      if (definition.socket !== socket || key(definition.name) === key(name)) continue
      throw new DproxyError('SOCKET_BUSY', `${socket} is taken: ${definition.name} is served there`, {
        stage: 'socket',
        hint: 'give each host its own `socket:`',
      })
    }
  }

  #changed(): void {
    for (const listener of this.#watchers) listener()
  }
}

// Names differ only in case nowhere: two sockets whose names do would be one file on macOS.
const key = (name: string): string => name.toLowerCase()

const refuseProtected = (host: Host): void => {
  if (!host.definition.protected) return
  throw new DproxyError(
    'HOST_PROTECTED',
    `${host.definition.name} is protected, and its changed definition would restart it`,
    {
      hint: 'to restart it, add --yes',
    },
  )
}

const sameDefinition = (host: Host, definition: HostDefinition): boolean =>
  JSON.stringify(host.definition) === JSON.stringify(definition)
