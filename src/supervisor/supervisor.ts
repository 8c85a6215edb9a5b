import { setMaxListeners } from 'node:events'
import type { ControlClient } from '../control/client.js'
import type { LineChannel } from '../control/line-channel.js'
import type {
  DownReply,
  HandOverNews,
  HandOverOrder,
  HostStatus,
  LogEntry,
  Running,
  Status,
  StreamStatus,
  SupervisorInfo,
  TakeOverReply,
  UpReply,
  UpRequest,
} from '../control/messages.js'
import { SCHEMA_VERSION } from '../control/messages.js'
import type { RunRecord } from '../control/run-record.js'
import type { ControlService } from '../control/server.js'
import { deferred } from '../base/deferred.js'
import { DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { Containment } from './crash/containment.js'
import type { EventLog } from './event-log.js'
import type { Host } from './host.js'
import { Roster } from './roster.js'
import { handOver } from './takeover/hand-over.js'
import { Predecessor } from './takeover/predecessor.js'
import { Retirement } from './takeover/retirement.js'
import { sameDefinition, takePlace } from './takeover/take-place.js'

export interface SupervisorOptions {
  readonly env: Env
  readonly log: EventLog
  readonly info: SupervisorInfo
  /** Whether somebody waits for the end of this very process. */
  readonly foreground?: boolean
  /** Set where another supervisor runs whose place is to be taken: until then no host listens. */
  readonly succession?: Succession
  /** Hears of every change of what is run. */
  readonly onHosts?: (hosts: RunRecord['hosts']) => void
}

export interface Succession {
  /** Leads to the supervisor that runs. */
  readonly control: ControlClient
  /** Takes the control socket from it. */
  readonly publish: () => Promise<void>
}

// Several hosts are asked for at once: the first one's failure must not end the supervisor under the second.
const LEAVE_AFTER_MS = 200

/**
 * Makes the running proxies match what was asked: starts hosts, stops them, and tells what they do. What
 * happens to one host never touches another; changes to the same host wait for each other.
 */
export class Supervisor implements ControlService {
  readonly #options: SupervisorOptions
  readonly #roster: Roster
  readonly #containment: Containment
  readonly #retirement: Retirement
  readonly #hurry = new AbortController()
  readonly #watchers = new Set<() => void>()
  readonly #emptied = new AbortController()
  readonly #left = deferred<void>()
  readonly #retired = new AbortController()
  #stopping = false
  /** False until we have taken the place of the supervisor that runs. */
  #serves: boolean
  #holdsPlace: boolean

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#serves = options.succession === undefined
    this.#holdsPlace = this.#serves
    const { env, log } = options
    const { signal: hurry } = this.#hurry
    setMaxListeners(0, hurry)
    const roster = new Roster({
      env,
      log,
      hurry,
      listens: () => this.#serves,
      onHosts: () => this.#tellHosts(),
      onChange: () => this.#changed(),
      onChanged: () => this.leaveIfEmpty(LEAVE_AFTER_MS),
    })
    this.#roster = roster
    this.#containment = new Containment({ roster, log, goesOn: () => !this.#stopping })
    this.#retirement = new Retirement({
      roster,
      log,
      hurry,
      running: () => this.running(),
      refuseWhenLeaving: () => this.#refuseWhenStopping(),
      onRetired: () => this.#onRetired(),
      onFinished: () => this.#emptied.abort(),
    })
  }

  /** Aborts when the last host has been stopped, or `shutdown` is done: nothing is left to do. */
  get emptied(): AbortSignal {
    return this.#emptied.signal
  }

  /** Aborts when another supervisor has taken our place; streams may still go on. */
  get retired(): AbortSignal {
    return this.#retired.signal
  }

  /** Whether our hosts' sockets are ours, or just being taken. */
  get serves(): boolean {
    return this.#serves
  }

  /** Whether we are the one supervisor of our run directory. */
  get holdsPlace(): boolean {
    return this.#holdsPlace && !this.retired.aborted
  }

  status(): Status {
    return {
      schemaVersion: SCHEMA_VERSION,
      atMs: Date.now(),
      supervisor: this.#options.info,
      hosts: this.#roster.all.map((host): HostStatus => host.status()),
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
      return await this.#roster.inTurn(request.definition.name, () => this.#up(request))
    } catch (failure) {
      // Whoever hears that we stop starts another supervisor, and that one needs our place.
      if (this.#stopping) await this.#left.promise
      throw failure
    }
  }

  /** @throws DproxyError HOST_UNKNOWN when no such host runs */
  down(name: string, drainMs: number): Promise<DownReply> {
    const draining = !this.retired.aborted && this.#roster.find(name)?.hasten(drainMs)
    return this.#roster.inTurn(name, async () => {
      // Stopped here, it would go on with whom we left it to.
      if (this.retired.aborted) this.#refuseWhenStopping()
      // Whoever asked first has stopped it.
      if (draining && !this.#roster.find(name)) return { cut: 0 }
      return { cut: await this.#roster.stop(this.#roster.running(name), drainMs) }
    })
  }

  /** Stops and starts a host, by the definition it runs with. */
  restart(name: string, drainMs: number, person = false): Promise<DownReply> {
    return this.#roster.inTurn(name, async () => {
      this.#refuseWhenStopping()
      const host = this.#roster.running(name)
      const cut = await this.#roster.stop(host, drainMs)
      this.#refuseWhenStopping()
      await this.#roster.start(host.definition, host.agentSocket, { lazy: false, person })
      return { cut }
    })
  }

  streams(name: string): StreamStatus[] {
    return this.#roster.running(name).streams()
  }

  /** @throws DproxyError STREAM_UNKNOWN */
  cut(id: string): void {
    const [name = '', stream = ''] = id.split(':')
    if (!this.#roster.find(name)?.cut(stream))
      throw new DproxyError('STREAM_UNKNOWN', `there is no stream ${id}`)
  }

  /**
   * @throws DproxyError QUESTION_UNKNOWN when nothing of that id is being asked, REQUEST_INVALID when it takes
   * another number of answers
   */
  answer(id: string, answers: readonly string[] | null): void {
    const [name = ''] = id.split(':')
    if (this.#roster.find(name)?.answer(id, answers)) return
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
    if (this.retired.aborted) {
      for (const { definition } of this.#roster.all) this.#retirement.hasten(definition.name, drainMs)
      return
    }
    this.#stopping = true
    // Whoever wants our place comes too late.
    this.#retirement.thaw()
    while (!this.#roster.isEmpty) {
      const names = this.#roster.all.map(({ definition }) => definition.name)
      await Promise.allSettled(names.map((name) => this.down(name, drainMs)))
      await this.#roster.changes.settled()
    }
    this.#emptied.abort()
  }

  running(): Running {
    return {
      foreground: this.#options.foreground === true,
      hosts: this.#roster.all.map((host) => host.running()),
    }
  }

  /**
   * Takes the place of the supervisor that runs, with every host it runs; it lets its streams end for `drainMs`.
   * @throws DproxyError when that cannot be; it serves on then, and we leave
   */
  async takeOver(drainMs: number): Promise<TakeOverReply> {
    const { succession, log } = this.#options
    if (!succession || this.#serves)
      throw new DproxyError('REQUEST_INVALID', 'this supervisor was not started to take the place of another')
    this.#serves = true
    let predecessor: Predecessor | undefined
    try {
      predecessor = await Predecessor.freeze(succession.control, (host) => this.#roster.holdDown(host))
      const { all: hosts } = this.#roster
      const drop = (name: string) => this.down(name, 0)
      await takePlace(predecessor, { hosts, drop, publish: succession.publish })
      this.#holdsPlace = true
      this.#tellHosts()
      this.#roster.succeed(predecessor)
      const { pid } = predecessor
      const draining = await predecessor.retire(drainMs)
      log.info(null, `took the place of the supervisor with pid ${pid}`)
      return { pid, draining: draining.filter(({ streams }) => streams > 0) }
    } catch (failure) {
      predecessor?.leave()
      void this.shutdown(0)
      throw failure
    }
  }

  handOver(successor: LineChannel<HandOverOrder, HandOverNews>): void {
    if (this.#serves) void handOver(this.#retirement, successor, this.#options.info.pid)
    else successor.close()
  }

  /** See {@link Containment}. */
  contain(failure: unknown): boolean {
    return this.#containment.contain(failure)
  }

  /** See {@link Containment}. */
  restore(hosts: RunRecord['hosts']): Promise<void> {
    return this.#containment.restore(hosts)
  }

  /** Ends every drain under way, now and from now on. */
  hurry(): void {
    this.#hurry.abort()
    for (const { definition } of this.#roster.all) this.#roster.hastenElsewhere(definition.name, 0)
  }

  /** Ends the supervisor if it serves nobody `afterMs` from now. */
  leaveIfEmpty(afterMs: number): void {
    setTimeout(() => {
      if (!this.#roster.isEmpty || this.#stopping) return
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
    const running = this.#roster.find(definition.name)
    if (running && sameDefinition(running.definition, definition)) {
      running.handOver(agent)
      const retried = !lazy && running.status().state !== 'up'
      if (retried) running.retry(person)
      return { action: retried ? 'retried' : 'unchanged' }
    }
    this.#roster.refuseSharedSocket(definition)
    if (running && !evenProtected) refuseProtected(running)
    if (running) await this.#roster.stop(running, 0)
    await this.#roster.start(definition, agent, { lazy, person })
    return { action: running ? 'restarted' : 'started' }
  }

  #onRetired(): void {
    this.#stopping = true
    this.#retired.abort()
    // Whoever is refused finds our successor.
    this.#left.resolve()
  }

  /** A host has come or gone. */
  #tellHosts(): void {
    this.#changed()
    if (!this.holdsPlace) return
    this.#options.onHosts?.(this.running().hosts.map(asRecorded))
  }

  #refuseWhenStopping(): void {
    if (!this.#stopping) return
    throw new DproxyError('SUPERVISOR_DOWN', 'the supervisor is stopping', { hint: 'try again in a moment' })
  }

  #changed(): void {
    for (const listener of this.#watchers) listener()
  }
}

const asRecorded = ({ definition, agent, state }: Running['hosts'][number]) => ({
  definition,
  agent,
  lazy: state === 'idle',
})

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
