import { setMaxListeners } from 'node:events'
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
import type { ControlService } from '../control/service.js'
import { DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { Containment } from './crash/containment.js'
import type { EventLog } from './event-log.js'
import { HostOrders } from './host/host-orders.js'
import { Lifetime } from './lifetime.js'
import { Roster } from './roster.js'
import { handOver } from './takeover/hand-over.js'
import { Retirement } from './takeover/retirement.js'
import { takeOver, type Succession } from './takeover/take-over.js'

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
  readonly #lifetime: Lifetime
  readonly #orders: HostOrders

  constructor(options: SupervisorOptions) {
    this.#options = options
    const { env, log, succession } = options
    const lifetime = new Lifetime(succession === undefined)
    this.#lifetime = lifetime
    const { signal: hurry } = this.#hurry
    setMaxListeners(0, hurry)
    const roster = new Roster({
      env,
      log,
      hurry,
      listens: () => lifetime.serves,
      onHosts: () => this.#tellHosts(),
      onChange: () => this.#changed(),
      onChanged: () => this.leaveIfEmpty(LEAVE_AFTER_MS),
    })
    this.#roster = roster
    this.#orders = new HostOrders(roster, lifetime)
    this.#containment = new Containment({ roster, log, goesOn: () => !lifetime.isStopping })
    this.#retirement = new Retirement({
      roster,
      log,
      hurry,
      running: () => this.running(),
      refuseWhenLeaving: () => lifetime.refuseWhenStopping(),
      onRetired: () => lifetime.retire(),
      onFinished: () => lifetime.end(),
    })
  }

  /** Aborts when the last host has been stopped, or `shutdown` is done: nothing is left to do. */
  get emptied(): AbortSignal {
    return this.#lifetime.emptied
  }

  /** Aborts when another supervisor has taken our place; streams may still go on. */
  get retired(): AbortSignal {
    return this.#lifetime.retired
  }

  /** Whether our hosts' sockets are ours, or just being taken. */
  get serves(): boolean {
    return this.#lifetime.serves
  }

  /** Whether we are the one supervisor of our run directory. */
  get holdsPlace(): boolean {
    return this.#lifetime.holdsPlace
  }

  status(): Status {
    return {
      schemaVersion: SCHEMA_VERSION,
      atMs: Date.now(),
      supervisor: this.#options.info,
      hosts: this.#roster.all.map((host) => host.status()),
    }
  }

  /** What can be asked of every host at each change, however many there are. */
  glance(): Pick<HostStatus, 'name' | 'state' | 'question'>[] {
    return this.#roster.all.map(({ definition: { name }, state, question }) => ({ name, state, question }))
  }

  /** See {@link HostOrders.up}. */
  up(request: UpRequest): Promise<UpReply> {
    return this.#orders.up(request)
  }

  /** See {@link HostOrders.down}. */
  down(name: string, drainMs: number): Promise<DownReply> {
    return this.#orders.down(name, drainMs)
  }

  /** See {@link HostOrders.restart}. */
  restart(name: string, drainMs: number, person = false): Promise<DownReply> {
    return this.#orders.restart(name, drainMs, person)
  }

  streams(name: string): StreamStatus[] {
    return this.#roster.running(name).streams()
  }

  /** See {@link HostOrders.cut}. */
  cut(id: string): void {
    this.#orders.cut(id)
  }

  /** See {@link HostOrders.answer}. */
  answer(id: string, answers: readonly string[] | null): void {
    this.#orders.answer(id, answers)
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
    if (this.#lifetime.isRetired) {
      for (const { definition } of this.#roster.all) this.#retirement.hasten(definition.name, drainMs)
      return
    }
    this.#lifetime.stop()
    // Whoever wants our place comes too late.
    this.#retirement.thaw()
    await this.#orders.downAll(drainMs)
    this.#lifetime.end()
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
    if (!succession || this.serves)
      throw new DproxyError('REQUEST_INVALID', 'this supervisor was not started to take the place of another')
    return takeOver({
      ...succession,
      drainMs,
      roster: this.#roster,
      lifetime: this.#lifetime,
      log,
      drop: (name) => this.down(name, 0),
      onPlace: () => this.#tellHosts(),
      leave: () => void this.shutdown(0),
    })
  }

  handOver(successor: LineChannel<HandOverOrder, HandOverNews>): void {
    if (this.serves) void handOver(this.#retirement, successor, this.#options.info.pid)
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
    setTimeout(() => this.#roster.isEmpty && this.#lifetime.endUnlessStopping(), afterMs).unref()
  }

  /** The control socket's path is free for another supervisor. */
  hasLeft(): void {
    this.#lifetime.leave()
  }

  /** A host has come or gone. */
  #tellHosts(): void {
    this.#changed()
    if (this.holdsPlace) this.#options.onHosts?.(this.#roster.record())
  }

  #changed(): void {
    for (const listener of this.#watchers) listener()
  }
}
