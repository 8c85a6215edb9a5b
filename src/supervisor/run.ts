import { ControlClient } from '../control/client.js'
import { serveControl, type ControlServer } from '../control/server.js'
import type { DproxyError } from '../base/errors.js'
import { deferred } from '../base/deferred.js'
import { controlSocketPath, runtimeDir, successorSocketPath, type Env } from '../base/paths.js'
import { privateDir } from '../base/private-dir.js'
import { Scope } from '../base/scope.js'
import { readRunRecord, type RunRecord } from '../control/run-record.js'
import { Keeper } from './crash/keeper.js'
import { untilServedOrGone } from './crash/other-supervisor.js'
import { survivor } from './crash/survive.js'
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
  /** Whether somebody waits for the end of this very process, so that none may take its place. */
  readonly foreground?: boolean
  /**
   * Set to take the place of the supervisor that runs, once told so: resolves when whoever would tell is gone.
   */
  readonly teller?: Promise<unknown>
  /** Registers for exceptions that nobody caught; the process ends when the listener resolves with false. */
  readonly onCrash?: (listener: (failure: unknown) => Promise<boolean>) => void
  /** Starts another supervisor in place of this one, which has crashed. */
  readonly revive?: () => Promise<void>
}

// How long streams may go on after the first wish to stop; the second one cuts them.
const DRAIN_MS = 10_000
// A supervisor that nobody gives a host to was started by a command that died.
const UNUSED_MS = 15_000

/**
 * Runs a supervisor until its last host is gone or it is told to stop. Exactly one runs for each run directory,
 * and while another one gets ready to take its place, two.
 * @throws DproxyError SOCKET_BUSY when another one serves already, or gets ready already
 */
export const runSupervisor = async ({
  env,
  version,
  log,
  pid,
  onStop,
  onReady,
  foreground = false,
  teller,
  onCrash,
  revive,
}: RunOptions): Promise<void> => {
  const control = controlSocketPath(env)
  const info = { pid, version, since: new Date().toISOString(), control }
  await using scope = new Scope()
  const over = scope.add(deferred<void>(), ({ resolve }) => resolve())
  const onChange = (lost: DproxyError | undefined) => {
    if (lost) log.error(null, lost.message)
    else log.warn(null, 'somebody had deleted the control socket: it is there again')
    // It may have been deleted with its directory, and what we keep beside it, too.
    if (!lost && supervisor.holdsPlace) keeper.saveAgain()
  }
  let server: ControlServer
  const publish = async () => {
    const beside = server
    server = scope.use(await serveControl(control, supervisor, version, { takeOver: true, onChange }))
    await beside.release()
  }
  const keeper = new Keeper(env, { pid, version, log })
  const onHosts = (hosts: RunRecord['hosts']) => keeper.keep(hosts)
  const succession = { control: new ControlClient(control, { version }), publish }
  const supervisor = new Supervisor({
    env,
    log,
    info,
    foreground,
    onHosts,
    ...(teller ? { succession } : {}),
  })
  let stops = 0
  const isStopping = () => stops > 0
  onCrash?.(survivor({ supervisor, keeper, log, isStopping, over: over.promise, revive }))
  onStop(() => {
    stops += 1
    if (stops === 1) void supervisor.shutdown(DRAIN_MS)
    else supervisor.hurry()
  })
  await privateDir(runtimeDir(env))
  if (!teller) {
    const other = (await readRunRecord(env))?.pid
    if (other !== undefined && other !== pid) await untilServedOrGone(other, control, supervisor.emptied)
  }
  await keeper.read()
  const path = teller ? successorSocketPath(env) : control
  server = scope.use(await serveControl(path, supervisor, version, { onChange }))
  log.info(null, `dproxy ${version} supervises at ${server.path}, pid ${pid}`)
  void teller?.then(() => (supervisor.serves ? undefined : supervisor.shutdown(0)))
  // Whoever is still connected is to find our successor.
  supervisor.retired.addEventListener('abort', () => void server[Symbol.asyncDispose](), { once: true })
  if (!teller) await supervisor.restore(keeper.begin())
  keeper.begun()
  supervisor.leaveIfEmpty(UNUSED_MS)
  const emptied = new Promise<void>((resolve) => {
    if (supervisor.emptied.aborted) resolve()
    else supervisor.emptied.addEventListener('abort', () => resolve(), { once: true })
  })
  // Beside the wait: told to stop meanwhile, what `onReady` asks for is refused only once the place is free.
  const ready = supervisor.emptied.aborted ? undefined : onReady?.(supervisor)
  await Promise.race([emptied, Promise.resolve(ready).then(() => emptied)])
  log.info(
    null,
    `the supervisor leaves: ${supervisor.retired.aborted ? 'its last stream is over' : 'no host is left'}`,
  )
  if (supervisor.holdsPlace) await keeper.forget()
  await server.release()
  supervisor.hasLeft()
  await ready
}
