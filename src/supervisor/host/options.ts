import type { EventLog } from '../event-log.js'
import type { LaneOpenerOptions } from './lane-opener.js'

/** All that a host is made of. */
export interface HostOptions extends Omit<LaneOpenerOptions, 'ask' | 'onChange'> {
  readonly log: EventLog
  /** How many streams were cut when the host that this one takes the place of was stopped. */
  readonly cutBefore: number
  readonly onChange: () => void
}

export interface HowToStart {
  /** Dial only when the first client comes. */
  readonly lazy: boolean
  /** Somebody waits who can answer what the login asks. */
  readonly person: boolean
  /** False: another supervisor still serves the socket, and `listen` comes later. */
  readonly listen: boolean
}
