import { runtimeDir, type Env } from '../base/paths.js'
import type { HostDefinition } from '../control/messages.js'
import type { LaneOptions } from '../ssh/lane-options.js'
import { UnlockedKeys } from '../ssh/login/unlocked-keys.js'
import type { Ask } from '../ssh/person.js'
import { storedSecretsOf } from './stored-secrets.js'

/** What a command connects with that does so itself, once, without a supervisor. */
export interface FromHere {
  readonly env: Env
  readonly agentSocket: string | null
  readonly ask: Ask | null
  readonly signal: AbortSignal
}

/** The options of a connection to `definition` that is made once and by nobody else's leave. */
export const optionsFromHere = (
  definition: HostDefinition,
  { env, agentSocket, ask, signal }: FromHere,
): LaneOptions => ({
  env,
  agentSocket,
  ask,
  signal,
  runDir: runtimeDir(env),
  secretsOf: (hop) => storedSecretsOf(definition, hop, { env, ask }),
  unlocked: new UnlockedKeys(),
  onStage: () => undefined,
  onResolved: () => undefined,
  throttle: (_, login) => login(),
})
