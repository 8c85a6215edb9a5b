import { serveControl } from '../control/server.js'
import { controlSocketPath, runtimeDir, type Env } from '../base/paths.js'
import { privateDir } from '../base/private-dir.js'
import type { EventLog } from './event-log.js'
import { Supervisor } from './supervisor.js'

export interface RunOptions {
  readonly env: Env
  readonly version: string
  readonly log: EventLog
  readonly pid: number
  /** Registers for the user's wish to stop (SIGTERM, SIGINT); called again at each repetition. */
  readonly onStop: (listener: () => void) => void
  /** Called once the control socket is served, with the supervisor. */
  readonly onReady?: (supervisor: Supervisor) => Promise<void> | void
}

// How long streams may go on after the first wish to stop; the second one cuts them.
const DRAIN_MS = 10_000
// A supervisor that nobody gives a host to was started by a command that died.
const UNUSED_MS = 15_000

/**
 * Runs a supervisor until its last host is gone or it is told to stop. Exactly one runs for each run
 * directory.
 * @throws DproxyError SOCKET_BUSY when another one serves already
 */
export const runSupervisor = async ({
  env,
  version,
  log,
  pid,
  onStop,
  onReady,
}: RunOptions): Promise<void> => {
  const control = controlSocketPath(env)
  const info = { pid, version, since: new Date().toISOString(), control }
  const supervisor = new Supervisor({ env, log, info })
  let stops = 0
  onStop(() => {
    stops += 1
    if (stops === 1) void supervisor.shutdown(DRAIN_MS)
    else supervisor.hurry()
  })
  await privateDir(runtimeDir(env))
  await using server = await serveControl(control, supervisor, version)
  log.info(null, `dproxy ${version} supervises at ${server.path}, pid ${pid}`)
  supervisor.leaveIfEmpty(UNUSED_MS)
  const emptied = new Promise<void>((resolve) => {
    if (supervisor.emptied.aborted) resolve()
    else supervisor.emptied.addEventListener('abort', () => resolve(), { once: true })
  })
  // Beside the wait: told to stop meanwhile, what `onReady` asks for is refused only once the place is free.
  const ready = supervisor.emptied.aborted ? undefined : onReady?.(supervisor)
  await Promise.race([emptied, Promise.resolve(ready).then(() => emptied)])
  log.info(null, 'the supervisor leaves: no host is left')
  await server.release()
  supervisor.hasLeft()
  await ready
}
