import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { DproxyError, type Stage } from '../../../src/base/errors.js'
import type { Env } from '../../../src/base/paths.js'
import type { Scope } from '../../../src/base/scope.js'
import { resolveTarget } from '../../../src/ssh/config/resolve.js'
import { openOpensshLane, type OpensshOptions } from '../../../src/ssh/openssh/open-openssh-lane.js'
import type { OpensshLane } from '../../../src/ssh/openssh/openssh-lane.js'
import type { Target } from '../../../src/ssh/target.js'
import { TempDir } from '../../testbed/temp-dir.js'
import type { Sshd } from '../../testbed/sshd.js'
import { startEngine, type Serve } from '../../proxy/support.js'
import { never, targetOf } from '../support.js'

/** Nothing of the account's own configuration and keys counts. */
export const PLAIN_ENV: Env = {
  PATH: process.env.PATH,
  HOME: '/nonexistent',
  SHELL: '/bin/sh',
  DPROXY_SSH_CONFIG: 'none',
}

/** A run directory of our own; gone with its scope. */
export const runDirIn = async (scope: Scope): Promise<string> => {
  const path = join(scope.use(await TempDir.create()).path, 'run')
  await mkdir(path, { mode: 0o700 })
  return path
}

export const openAt = async (
  runDir: string,
  target: Target,
  changes: Partial<OpensshOptions> = {},
): Promise<OpensshLane> => {
  const options = { why: null, env: PLAIN_ENV, runDir, signal: never, onStage: () => undefined, ...changes }
  return openOpensshLane(await resolveTarget(target, options.env, never), target, options)
}

/** A lane that is closed with its scope, and no trace of it left. */
export const opensshLaneTo = async (
  scope: Scope,
  target: Target,
  changes: Partial<OpensshOptions> = {},
): Promise<OpensshLane> =>
  scope.add(await openAt(changes.runDir ?? (await runDirIn(scope)), target, changes), async (lane) => {
    lane.close()
    await lane.gone
  })

/** Why no lane could be opened, and how far it got. */
export const opensshFailure = async (
  scope: Scope,
  target: Target,
  changes: Partial<OpensshOptions> = {},
): Promise<DproxyError & { readonly stages: Stage[] }> => {
  const stages: Stage[] = []
  try {
    await opensshLaneTo(scope, target, { onStage: (stage) => stages.push(stage), ...changes })
  } catch (failure) {
    if (failure instanceof DproxyError) return Object.assign(failure, { stages })
    throw failure
  }
  throw new Error('it was let in')
}

/** A lane to `sshd`, and an engine behind it on a socket of its own. */
export const laneToEngine = async (scope: Scope, sshd: Sshd, serve: Serve) => {
  const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
  const { clients } = await startEngine(scope, path, serve)
  const lane = await opensshLaneTo(scope, targetOf(sshd))
  return { lane, path, engines: clients, open: () => lane.openStream(path, never) }
}
