import type { DownReply, UpReply, UpRequest } from '../../control/messages.js'
import { DproxyError } from '../../base/errors.js'
import type { Host } from './host.js'
import type { Lifetime } from '../lifetime.js'
import type { Roster } from '../roster.js'
import { sameDefinition } from '../takeover/take-place.js'

/** Does with the hosts what it is told to, as long as the supervisor lives. */
export class HostOrders {
  readonly #roster: Roster
  readonly #lifetime: Lifetime

  constructor(roster: Roster, lifetime: Lifetime) {
    this.#roster = roster
    this.#lifetime = lifetime
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
      if (this.#lifetime.isStopping) await this.#lifetime.left
      throw failure
    }
  }

  /** @throws DproxyError HOST_UNKNOWN when no such host runs */
  down(name: string, drainMs: number): Promise<DownReply> {
    const draining = !this.#lifetime.isRetired && this.#roster.find(name)?.hasten(drainMs)
    return this.#roster.inTurn(name, async () => {
      // Stopped here, it would go on with whom we left it to.
      if (this.#lifetime.isRetired) this.#lifetime.refuseWhenStopping()
      // Whoever asked first has stopped it.
      if (draining && !this.#roster.find(name)) return { cut: 0 }
      return { cut: await this.#roster.stop(this.#roster.running(name), drainMs) }
    })
  }

  /** Stops and starts a host, by the definition it runs with. */
  restart(name: string, drainMs: number, person: boolean): Promise<DownReply> {
    return this.#roster.inTurn(name, async () => {
      this.#lifetime.refuseWhenStopping()
      const host = this.#roster.running(name)
      const cut = await this.#roster.stop(host, drainMs, true)
      this.#lifetime.refuseWhenStopping()
      await this.#roster.start(host.definition, host.agentSocket, { lazy: false, person })
      return { cut }
    })
  }

  /** Cuts one stream. @throws DproxyError STREAM_UNKNOWN */
  cut(id: string): void {
    const [name = '', stream = ''] = id.split(':')
    if (!this.#roster.find(name)?.cut(stream))
      throw new DproxyError('STREAM_UNKNOWN', `there is no stream ${id}`)
  }

  /**
   * Answers what a login waits for; null declines.
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

  /** Drains and stops every host, all at once, those included that are just being started. */
  async downAll(drainMs: number): Promise<void> {
    while (!this.#roster.isEmpty) {
      const names = this.#roster.all.map(({ definition }) => definition.name)
      await Promise.allSettled(names.map((name) => this.down(name, drainMs)))
      await this.#roster.changes.settled()
    }
  }

  async #up({ definition, agent, lazy, person, evenProtected }: UpRequest): Promise<UpReply> {
    this.#lifetime.refuseWhenStopping()
    const running = this.#roster.find(definition.name)
    if (running && sameDefinition(running.definition, definition)) {
      running.handOver(agent)
      const retried = !lazy && running.state !== 'up'
      if (retried) running.retry(person)
      return { action: retried ? 'retried' : 'unchanged' }
    }
    this.#roster.refuseSharedSocket(definition)
    if (running && !evenProtected) refuseProtected(running)
    if (running) await this.#roster.stop(running, 0, true)
    await this.#roster.start(definition, agent, { lazy, person })
    return { action: running ? 'restarted' : 'started' }
  }
}

const refuseProtected = (host: Host): void => {
  if (!host.definition.protected) return
  throw new DproxyError(
    'HOST_PROTECTED',
    `${host.definition.name} is protected, and its changed definition would restart it`,
    { hint: 'to restart it, add --yes' },
  )
}
