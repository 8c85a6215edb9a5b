import type { ControlClient } from '../../control/client.js'
import type { TakeOverReply } from '../../control/messages.js'
import type { EventLog } from '../event-log.js'
import type { Lifetime } from '../lifetime.js'
import type { Roster } from '../roster.js'
import { Predecessor } from './predecessor.js'
import { takePlace } from './take-place.js'

/** How to come into the place of the supervisor that runs. */
export interface Succession {
  /** Leads to the supervisor that runs. */
  readonly control: ControlClient
  /** Takes the control socket from it. */
  readonly publish: () => Promise<void>
}

export interface TakeOverOptions extends Succession {
  /** How long its streams may go on. */
  readonly drainMs: number
  readonly roster: Roster
  readonly lifetime: Lifetime
  readonly log: EventLog
  /** Stops a host that is not to be served after all. */
  readonly drop: (host: string) => Promise<unknown>
  /** The place is ours. */
  readonly onPlace: () => void
  /** It came to nothing. */
  readonly leave: () => void
}

/**
 * Takes the place of the supervisor that runs, with every host it runs.
 * @throws DproxyError when that cannot be; it serves on then
 */
export const takeOver = async ({
  control,
  publish,
  drainMs,
  roster,
  lifetime,
  log,
  drop,
  onPlace,
  leave,
}: TakeOverOptions): Promise<TakeOverReply> => {
  lifetime.serve()
  let predecessor: Predecessor | undefined
  try {
    predecessor = await Predecessor.freeze(control, (host) => roster.holdDown(host))
    await takePlace(predecessor, { hosts: roster.all, drop, publish })
    lifetime.holdPlace()
    onPlace()
    roster.succeed(predecessor)
    const { pid } = predecessor
    const draining = await predecessor.retire(drainMs)
    log.info(null, `took the place of the supervisor with pid ${pid}`)
    return { pid, draining: draining.filter(({ streams }) => streams > 0) }
  } catch (failure) {
    predecessor?.leave()
    leave()
    throw failure
  }
}
