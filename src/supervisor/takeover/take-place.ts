import { DproxyError } from '../../base/errors.js'
import { list } from '../../base/text.js'
import type { HostDefinition, RunningHost } from '../../control/messages.js'
import type { Host } from '../host/host.js'
import type { Predecessor } from './predecessor.js'

/** The supervisor that takes the place, as far as that needs it. */
export interface Successor {
  readonly hosts: readonly Host[]
  /** Stops a host that is not to be served after all. */
  readonly drop: (host: string) => Promise<unknown>
  /** Takes the control socket. */
  readonly publish: () => Promise<void>
}

/**
 * Takes the sockets of a frozen supervisor, the control socket last: until then it can serve on as if nothing
 * had been.
 * @throws DproxyError when a host is not ready here that is up there, or a socket cannot be taken
 */
export const takePlace = async (
  { running }: Predecessor,
  { hosts, drop, publish }: Successor,
): Promise<void> => {
  const mine = new Map(hosts.map((host) => [host.definition.name, host]))
  refuseUnlessReady(running.hosts, mine)
  const theirs = new Set(running.hosts.map(({ definition }) => definition.name))
  for (const name of mine.keys()) if (!theirs.has(name)) await drop(name)
  for (const { definition, cutLately } of running.hosts) {
    const host = mine.get(definition.name)
    if (cutLately) host?.holdDown('predecessor')
    await host?.listen({ takeOver: true })
  }
  await publish()
}

const refuseUnlessReady = (theirs: readonly RunningHost[], mine: ReadonlyMap<string, Host>): void => {
  const changed = theirs.filter(
    ({ definition }) => !sameDefinition(mine.get(definition.name)?.definition, definition),
  )
  if (changed.length > 0) {
    throw new DproxyError(
      'CONFIG_CHANGED',
      `${namesOf(changed)} ${changed.length === 1 ? 'was' : 'were'} started or changed by another command meanwhile`,
      { hint: 'try again' },
    )
  }
  const lost = theirs.filter(
    ({ definition, state }) => state === 'up' && mine.get(definition.name)?.running().state !== 'up',
  )
  if (lost.length === 0) return
  throw new DproxyError('LINK_DOWN', `the new link of ${namesOf(lost)} was lost again`, { hint: 'try again' })
}

const namesOf = (hosts: readonly RunningHost[]): string =>
  list(hosts.map(({ definition }) => definition.name))

export const sameDefinition = (a: HostDefinition | undefined, b: HostDefinition): boolean =>
  JSON.stringify(a) === JSON.stringify(b)
