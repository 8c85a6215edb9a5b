import { setTimeout as sleep } from 'node:timers/promises'
import type { EventLog } from '../event-log.js'
import type { Supervisor } from '../supervisor.js'
import { stackOf } from './crashes.js'
import type { Keeper } from './keeper.js'

// What has crashed may not be able to stop: sockets are removed and clients let go of as far as it goes.
const STOPS_WITHIN_MS = 2000

export interface Crashing {
  readonly supervisor: Supervisor
  readonly keeper: Keeper
  readonly log: EventLog
  /** Whether it was told to stop. */
  readonly isStopping: () => boolean
  /** Resolves when nothing of it is left. */
  readonly over: Promise<void>
  /** Starts another supervisor in place of this one. */
  readonly revive: (() => Promise<void>) | undefined
}

/**
 * Deals with exceptions that nobody caught. One in the code of a host costs that host its link; any other ends the
 * supervisor, and another one is started that runs the same hosts. Resolves with whether this one goes on.
 */
export const survivor = ({ supervisor, keeper, log, isStopping, over, revive }: Crashing) => {
  let isEnding = false
  return async (failure: unknown): Promise<boolean> => {
    // What goes wrong while it ends must not keep it from ending.
    if (isEnding) return true
    if (supervisor.contain(failure)) return true
    isEnding = true
    log.error(null, `the supervisor crashed: ${stackOf(failure)}`)
    // One that has handed its hosts over, or was to stop them, leaves nobody behind.
    const isMissed = revive !== undefined && supervisor.holdsPlace && !isStopping()
    const goesOn = isMissed && (await keeper.crashed(failure))
    supervisor.hurry()
    void supervisor.shutdown(0).catch(() => undefined)
    await Promise.race([over, sleep(STOPS_WITHIN_MS)])
    if (goesOn) await revive().catch((again: unknown) => log.error(null, stackOf(again)))
    await Promise.race([log.close(), sleep(STOPS_WITHIN_MS)])
    return false
  }
}
