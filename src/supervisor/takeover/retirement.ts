import type { Running, TakeOverReply } from '../../control/messages.js'
import { asDproxyError, DproxyError } from '../../base/errors.js'
import type { EventLog } from '../event-log.js'
import type { Host } from '../host/host.js'
import type { Roster } from '../roster.js'
import type { Retiring } from './hand-over.js'

// Starting a host takes milliseconds; whoever drains one for long is not waited for.
const STILL_WITHIN_MS = 2000

export interface RetirementOptions {
  readonly roster: Roster
  readonly log: EventLog
  readonly hurry: AbortSignal
  readonly running: () => Running
  /** @throws DproxyError when there is no place to hand over, or no time to */
  readonly refuseWhenLeaving: () => void
  /** The place is another supervisor's from now on. */
  readonly onRetired: () => void
  /** The last stream is over. */
  readonly onFinished: () => void
}

/** How a supervisor leaves its place to another one, step by step. */
export class Retirement implements Retiring {
  readonly #options: RetirementOptions

  constructor(options: RetirementOptions) {
    this.#options = options
  }

  async freeze(onCut: (host: string) => void): Promise<Running> {
    const { roster, running, refuseWhenLeaving } = this.#options
    refuseWhenLeaving()
    if (roster.changes.isFrozen)
      throw new DproxyError('STOPPED', 'another command is just renewing the supervisor', {
        hint: 'see: dproxy status',
      })
    for (const host of roster.all) host.onCut('successor', () => onCut(host.definition.name))
    if (await roster.changes.freeze(STILL_WITHIN_MS)) return running()
    throw new DproxyError('STOPPED', 'hosts are just being started or stopped', {
      hint: 'try again when that is done; see: dproxy status',
    })
  }

  thaw(): void {
    this.#options.roster.changes.thaw()
  }

  async retire(): Promise<TakeOverReply['draining']> {
    const { roster, log, refuseWhenLeaving, onRetired } = this.#options
    refuseWhenLeaving()
    onRetired()
    this.thaw()
    log.info(null, 'another supervisor has taken the place of this one')
    return Promise.all(
      roster.all.map(async (host) => ({ host: host.definition.name, streams: await this.#retire(host) })),
    )
  }

  async finish(drainMs: number, onDrained: (host: string) => void): Promise<void> {
    const { roster, log, hurry, onFinished } = this.#options
    await Promise.allSettled(
      roster.all.map(async (host) => {
        const { name } = host.definition
        const finished = host.finish(drainMs, hurry)
        finished.catch((failure: unknown) => log.error(name, String(failure)))
        await Promise.allSettled([finished, roster.drainedElsewhere(name)])
        roster.drop(host)
        onDrained(name)
      }),
    )
    onFinished()
  }

  hasten(name: string, drainMs: number): void {
    const { roster } = this.#options
    roster.find(name)?.hasten(drainMs)
    roster.hastenElsewhere(name, drainMs)
  }

  holdDown(name: string): void {
    this.#options.roster.find(name)?.holdDown('successor')
  }

  /** That a socket could not be removed keeps no host from its leave: the place is another supervisor's already. */
  async #retire(host: Host): Promise<number> {
    try {
      return await host.retire()
    } catch (failure) {
      this.#options.log.error(host.definition.name, asDproxyError(failure).message)
      return host.streams().length
    }
  }
}
