import { setTimeout as sleep } from 'node:timers/promises'
import type { RunRecord } from '../../control/run-record.js'
import { asDproxyError, DproxyError } from '../../base/errors.js'
import type { EventLog } from '../event-log.js'
import type { Host } from '../host/host.js'
import type { Roster } from '../roster.js'
import { hostAtFault } from './at-fault.js'
import { Crashes, MOST_CRASHES, sentenceOf, stackOf } from './crashes.js'

// Nobody knows which streams a crash has cut.
const RESTORED = { person: false, cutBefore: 1 }

// What is broken may not even stop.
const STOPS_WITHIN_MS = 2000

export interface ContainmentOptions {
  readonly roster: Roster
  readonly log: EventLog
  /** Whether hosts may still be started. */
  readonly goesOn: () => boolean
}

/** Keeps what goes wrong in the code of one host to that host, and brings back what ran before a crash. */
export class Containment {
  readonly #options: ContainmentOptions
  /** When the code of a host has thrown what nobody caught, by its name. */
  readonly #crashes = new Map<string, Crashes>()
  readonly #broken = new WeakSet<Host>()

  constructor(options: ContainmentOptions) {
    this.#options = options
  }

  /**
   * Deals with an exception that nobody caught: the host on whose behalf its code ran is stopped and started again,
   * and after too many it waits for the user. Where hosts are only being ended, its streams are cut, and no other
   * host's. False when there is no such host.
   */
  contain(failure: unknown): boolean {
    const { roster, log, goesOn } = this.#options
    const name = hostAtFault()
    const host = name === undefined ? undefined : roster.find(name)
    if (!host) return false
    // One that is broken may throw a hundred times before it is stopped.
    if (!goesOn()) host.hasten(0)
    else if (!this.#broken.has(host)) this.#replace(host, failure)
    this.#broken.add(host)
    log.error(host.definition.name, `an internal error: ${stackOf(failure)}`)
    return true
  }

  /** Runs again what a supervisor ran that has crashed, and holds down the clients of what it cut. */
  async restore(hosts: RunRecord['hosts']): Promise<void> {
    const { roster, log, goesOn } = this.#options
    const restoreOne = ({ definition, agent, lazy }: RunRecord['hosts'][number]) =>
      roster.inTurn(definition.name, async () => {
        if (!roster.find(definition.name) && goesOn())
          await roster.start(definition, agent, { ...RESTORED, lazy })
      })
    await Promise.all(
      hosts.map((host) =>
        restoreOne(host).catch((failure: unknown) =>
          log.error(host.definition.name, asDproxyError(failure).message),
        ),
      ),
    )
  }

  #replace(host: Host, failure: unknown): void {
    const { roster, log, goesOn } = this.#options
    const { name } = host.definition
    const crashes = this.#crashes.get(name) ?? new Crashes()
    this.#crashes.set(name, crashes)
    crashes.add()
    const beforeFirstTry = async (signal: AbortSignal) => {
      if (crashes.areTooMany) throw tooOften(name, failure)
      await sleep(crashes.pauseMs, undefined, { signal })
    }
    const replace = async () => {
      if (roster.find(name) !== host || !goesOn()) return
      await stopBroken(host, roster)
      if (goesOn())
        await roster.start(host.definition, host.agentSocket, { ...RESTORED, lazy: false, beforeFirstTry })
    }
    roster.inTurn(name, replace).catch((again: unknown) => log.error(name, stackOf(again)))
  }
}

const stopBroken = async (host: Host, roster: Roster): Promise<void> => {
  const enough = new AbortController()
  const late = sleep(STOPS_WITHIN_MS, undefined, { signal: enough.signal }).catch(() => undefined)
  await Promise.race([roster.stop(host, 0, true).catch(() => undefined), late])
  enough.abort()
  roster.drop(host)
}

const tooOften = (name: string, failure: unknown): DproxyError =>
  new DproxyError(
    'HOST_CRASHED',
    `dproxy itself failed ${MOST_CRASHES} times within a minute over this host: ${sentenceOf(failure)}`,
    { hint: `see: dproxy logs ${name}; to try again: dproxy up ${name}` },
  )
