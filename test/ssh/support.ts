import { setMaxListeners } from 'node:events'
import type { DproxyError, Stage } from '../../src/base/errors.js'
import type { Scope } from '../../src/base/scope.js'
import { Lane } from '../../src/ssh/lane.js'
import type { LaneOptions } from '../../src/ssh/lane-options.js'
import { UnlockedKeys } from '../../src/ssh/login/unlocked-keys.js'
import { openLane } from '../../src/ssh/open-lane.js'
import type { Target } from '../../src/ssh/target.js'
import type { Sshd } from '../testbed/sshd.js'
import { NO_SECRETS } from './no-secrets.js'

/** A target on loopback that says nothing of its own. */
export const ANY_TARGET: Target = {
  typed: 'prod',
  destination: '127.0.0.1',
  user: null,
  port: null,
  identityFiles: [],
  identitiesOnly: true,
  knownHostsFiles: null,
  proxyJump: null,
  proxyCommand: null,
  transport: 'ssh2',
  connectTimeoutMs: 5000,
  keepAlive: { intervalMs: null, misses: null },
}

/** How the testbed's sshd is reached with its own key, differing in what `changes` say. */
export const targetOf = (sshd: Sshd, changes: Partial<Target> = {}): Target => ({
  ...ANY_TARGET,
  destination: sshd.host,
  user: sshd.user,
  port: sshd.port,
  identityFiles: [sshd.keyFile],
  knownHostsFiles: [sshd.knownHostsFile],
  ...changes,
})

export const optionsOf = (changes: Partial<LaneOptions> = {}): LaneOptions => ({
  agentSocket: null,
  // Nothing of the machine's own configuration counts.
  env: { DPROXY_SSH_CONFIG: 'none' },
  runDir: '/nonexistent',
  ask: null,
  secretsOf: () => NO_SECRETS,
  unlocked: new UnlockedKeys(),
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
): Promise<Lane> => {
  const lane = scope.add(await openLane(target, optionsOf(options)), (opened) => opened.close())
  if (lane instanceof Lane) return lane
  throw new Error('it went through the system ssh')
}

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
