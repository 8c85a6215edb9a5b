import type { HostDefinition } from '../control/messages.js'
import type { RunRecord } from '../control/run-record.js'
import { DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { UnlockedKeys } from '../ssh/login/unlocked-keys.js'
import { AddressGate } from './address-gate.js'
import { Changes } from './changes.js'
import type { EventLog } from './event-log.js'
import { Host } from './host/host.js'
import { CUT_COUNTS_MS } from './host/cuts.js'
import type { HostOptions, HowToStart } from './host/options.js'
import type { Predecessor } from './takeover/predecessor.js'

export interface RosterOptions {
  readonly env: Env
  readonly log: EventLog
  /** Whether hosts listen as soon as they are started. */
  readonly listens: () => boolean
  /** Ends every drain. */
  readonly hurry: AbortSignal
  /** Hears that a host has come or gone, or begins to go. */
  readonly onHosts: () => void
  /** Hears that a host tells something else of itself. */
  readonly onChange: () => void
  /** Hears of the end of every change that was asked for. */
  readonly onChanged: () => void
}

/** The hosts that run, by their names; changes to the same host wait for each other. */
export class Roster {
  readonly changes: Changes
  readonly #options: RosterOptions
  readonly #hosts = new Map<string, Host>()
  readonly #gate = new AddressGate()
  /** Kept as long as we run, as an agent keeps them: no reconnect and no second host asks for them again. */
  readonly #unlocked = new UnlockedKeys()
  /** Stopped only to be started again. */
  readonly #comingBack = new WeakSet<Host>()
  /** Streams that were cut by stopping a host, and when. */
  readonly #cuts = new Map<string, { readonly cut: number; readonly atMs: number }>()
  /** The supervisor whose place we took, as long as streams of these hosts may be there. */
  #predecessor: Predecessor | undefined

  constructor(options: RosterOptions) {
    this.#options = options
    this.changes = new Changes(options.onChanged)
  }

  /** As they are now; whoever changes them meanwhile changes another list. */
  get all(): Host[] {
    return [...this.#hosts.values()]
  }

  get isEmpty(): boolean {
    return this.#hosts.size === 0 && this.changes.isIdle
  }

  find(name: string): Host | undefined {
    return this.#hosts.get(key(name))
  }

  /** What another supervisor would have to start if this one crashed: nothing that is being stopped. */
  record(): RunRecord['hosts'] {
    return this.all
      .filter((host) => this.#comingBack.has(host) || host.running().state !== 'draining')
      .map((host) => host.running())
      .map(({ definition, agent, state }) => ({ definition, agent, lazy: state === 'idle' }))
  }

  /** @throws DproxyError HOST_UNKNOWN */
  running(name: string): Host {
    const host = this.find(name)
    if (host) return host
    throw new DproxyError('HOST_UNKNOWN', `${name} is not running`, {
      hint: `start it: dproxy up ${name}`,
    })
  }

  inTurn<T>(name: string, change: () => Promise<T>): Promise<T> {
    return this.changes.inTurn(key(name), change)
  }

  /** @throws DproxyError SOCKET_*; the host does not run then */
  async start(
    definition: HostDefinition,
    agentSocket: string | null,
    how: Omit<HowToStart, 'listen'> & Partial<Pick<HostOptions, 'cutBefore' | 'beforeFirstTry'>>,
  ): Promise<void> {
    this.refuseSharedSocket(definition)
    const { env, log, onChange, onHosts, listens } = this.#options
    const host = await Host.start({
      definition,
      agentSocket,
      env,
      log,
      gate: this.#gate,
      unlocked: this.#unlocked,
      cutBefore: this.#cutLately(definition.name),
      onChange,
      listen: listens(),
      ...how,
    })
    host.onCut('predecessor', () => this.#predecessor?.holdDown(definition.name))
    this.#hosts.set(key(definition.name), host)
    onHosts()
  }

  /**
   * Drains and stops a host, with what it has in the supervisor before us; `comesBack`: to start it again. Resolves
   * with how many streams were cut.
   */
  async stop(host: Host, drainMs: number, comesBack = false): Promise<number> {
    const { name } = host.definition
    if (comesBack) this.#comingBack.add(host)
    const elsewhere = this.#predecessor?.end(name, drainMs)
    try {
      const stopped = host.stop(drainMs, this.#options.hurry)
      this.#options.onHosts()
      const cut = await stopped
      await elsewhere
      // A link that was lost during the drain has cut streams before we could.
      if (cut > 0 || host.running().cutLately) this.#noteCut(name, Math.max(cut, 1))
      return cut
    } finally {
      this.drop(host)
    }
  }

  /** It does not run any more, stopped or not. */
  drop(host: Host): void {
    const { name } = host.definition
    if (this.find(name) === host) this.#hosts.delete(key(name))
    this.#options.onHosts()
  }

  /** From now on these hosts have streams in the supervisor whose place we took. */
  succeed(predecessor: Predecessor): void {
    this.#predecessor = predecessor
    // Cut since our sockets are there, and nobody was told of it yet.
    for (const host of this.all) if (host.running().cutLately) predecessor.holdDown(host.definition.name)
  }

  /** Streams of a host that another supervisor has may last no longer than so. */
  hastenElsewhere(name: string, drainMs: number): void {
    void this.#predecessor?.end(name, drainMs)
  }

  /** Resolves when no other supervisor has streams of a host. */
  async drainedElsewhere(name: string): Promise<void> {
    await this.#predecessor?.drained(name)
  }

  /** Streams that another supervisor had are cut: their clients must be held down here. */
  holdDown(name: string): void {
    const host = this.find(name)
    if (host) host.holdDown('predecessor')
    else this.#noteCut(name, 1)
  }

  #noteCut(name: string, cut: number): void {
    this.#cuts.set(key(name), { cut, atMs: performance.now() })
  }

  /** How many streams of a host were cut a moment ago: whoever starts it again must hold clients down. */
  #cutLately(name: string): number {
    const { cut = 0, atMs = 0 } = this.#cuts.get(key(name)) ?? {}
    this.#cuts.delete(key(name))
    return performance.now() - atMs < CUT_COUNTS_MS ? cut : 0
  }

  /** @throws DproxyError SOCKET_BUSY when another host is served at the same socket */
  refuseSharedSocket({ name, socket }: HostDefinition): void {
    const other = this.all.find(
      ({ definition }) => definition.socket === socket && key(definition.name) !== key(name),
    )
    if (!other) return
    throw new DproxyError('SOCKET_BUSY', `${socket} is taken: ${other.definition.name} is served there`, {
      stage: 'socket',
      hint: 'give each host its own `socket:`',
    })
  }
}

// Names differ only in case nowhere: two sockets whose names do would be one file on macOS.
const key = (name: string): string => name.toLowerCase()
