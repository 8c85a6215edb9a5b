import { setMaxListeners } from 'node:events'
import type { DproxyError, Stage } from '../../src/base/errors.js'
import type { Scope } from '../../src/base/scope.js'
import type { Lane } from '../../src/ssh/lane.js'
import { openLane, type LaneOptions } from '../../src/ssh/open-lane.js'
import type { Target } from '../../src/ssh/target.js'
import type { Sshd } from '../testbed/sshd.js'

/** How the testbed's sshd is reached with its own key, differing in what `changes` say. */
export const targetOf = (sshd: Sshd, changes: Partial<Target> = {}): Target => ({
  destination: sshd.host,
  user: sshd.user,
  port: sshd.port,
  identityFiles: [sshd.keyFile],
  identitiesOnly: true,
  knownHostsFiles: [sshd.knownHostsFile],
  connectTimeoutMs: 5000,
  ...changes,
})

export const optionsOf = (changes: Partial<LaneOptions> = {}): LaneOptions => ({
  agentSocket: null,
  // Nothing of the machine's own configuration counts.
  env: { DPROXY_SSH_CONFIG: 'none' },
  onStage: () => undefined,
  onResolved: () => undefined,
  throttle: (_, login) => login(),
  signal: new AbortController().signal,
  ...changes,
})

/** A lane that is closed with its scope. */
export const laneTo = async (
  scope: Scope,
  target: Target,
  options: Partial<LaneOptions> = {},
): Promise<Lane> => scope.add(await openLane(target, optionsOf(options)), (lane) => lane.close())

/** Why no lane could be opened, and how far it got. */
export const failureOf = async (
  target: Target,
  options: Partial<LaneOptions> = {},
): Promise<DproxyError & { readonly stages: Stage[] }> => {
  const stages: Stage[] = []
  try {
    const lane = await openLane(target, optionsOf({ onStage: (stage) => stages.push(stage), ...options }))
    lane.close()
  } catch (failure) {
    return Object.assign(failure as DproxyError, { stages })
  }
  throw new Error('it was let in')
}

export const never = new AbortController().signal
setMaxListeners(0, never) // one for each stream being opened under it
