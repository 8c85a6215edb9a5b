import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { ControlClient } from '../control/client.js'
import { DproxyError, errnoOf } from '../base/errors.js'
import { controlSocketPath, logPath, stateDir, successorSocketPath } from '../base/paths.js'
import { makeDirs } from '../base/private-dir.js'
import { printable } from '../base/text.js'
import type { Io } from './io.js'

// Starting takes a fraction of a second; a machine under load may need more.
const STARTS_WITHIN_MS = 15_000
const LEAVES_WITHIN_MS = 2000
// One that is told to leave before it serves anybody has only its links to close.
const GIVES_UP_WITHIN_MS = 5000

/** The client of this user's control socket, whether or not anybody serves it. */
export const controlClient = ({ env, version }: Pick<Io, 'env' | 'version'>): ControlClient =>
  new ControlClient(controlSocketPath(env), { version })

/**
 * Makes sure that a supervisor runs: one that does already, or a new one in the background.
 * @throws DproxyError SUPERVISOR_FAILED when it cannot start, SUPERVISOR_SKEW when another version runs
 */
export const ensureSupervisor = async (io: Io): Promise<ControlClient> => {
  const client = controlClient(io)
  if ((await answers(client)) !== undefined) return client
  const deadline = Date.now() + STARTS_WITHIN_MS
  let started: Started | undefined
  while (Date.now() < deadline) {
    // Ends with 0 when another one had the place; should that one leave before it answers us, ours tries again.
    started = await startDetached(io)
    if ((await answersUnlessEnded(client, started, deadline, io)) !== undefined) return client
  }
  throw await couldNotStart(io, 'it did not answer', started)
}

/** The pid of the supervisor that answers, whoever started it; undefined when ours ended, or none answers in time. */
const answersUnlessEnded = async (
  client: ControlClient,
  started: Started,
  deadline: number,
  io: Io,
): Promise<number | undefined> => {
  let code: number | undefined
  for (let waitMs = 10; code === undefined && Date.now() < deadline; waitMs = Math.min(waitMs * 1.5, 100)) {
    code = await Promise.race([started.ended, sleep(waitMs, undefined)])
    const pid = await answers(client)
    if (pid !== undefined) return pid
  }
  if (code !== undefined && code !== 0) throw await couldNotStart(io, `it ended with code ${code}`, started)
  return undefined
}

/**
 * Waits for a supervisor without hosts to leave: it does so by itself in a moment, and whoever stopped its last
 * host may count on it being gone.
 */
export const untilGoneIfEmpty = async (client: ControlClient): Promise<void> => {
  for (const deadline = Date.now() + LEAVES_WITHIN_MS; Date.now() < deadline; await sleep(50)) {
    const status = await client.status().catch(() => undefined)
    if (status === undefined || status.hosts.length > 0) return
  }
}

/** The pid of the supervisor that a client reaches, 0 when it does not say; undefined when there is none. */
const answers = async (client: ControlClient): Promise<number | undefined> => {
  try {
    return (await client.status()).supervisor?.pid ?? 0
  } catch (failure) {
    if (failure instanceof DproxyError && failure.code === 'SUPERVISOR_DOWN') return undefined
    throw failure
  }
}

/** A supervisor that gets ready beside the one that runs. */
export interface SuccessorProcess {
  readonly client: ControlClient
  readonly pid: number
  /** Lets go of it; unless it serves, having taken the other one's place, it is gone then. */
  letGo(serves?: boolean): Promise<void>
}

/**
 * Starts a supervisor that takes the place of the running one once it is told to. It leaves by itself when this
 * process ends before, however that ends.
 * @throws DproxyError SUPERVISOR_FAILED
 */
export const startSuccessor = async (io: Io): Promise<SuccessorProcess> => {
  const client = new ControlClient(successorSocketPath(io.env), { version: io.version })
  if ((await answers(client)) !== undefined) throw justRenewing()
  const started = await startDetached(io, ['--take-over'], 'pipe')
  const { child, ended } = started
  const letGo = async (serves = false) => {
    child.stdin?.destroy()
    if (serves) return
    const enough = new AbortController()
    const late = sleep(GIVES_UP_WITHIN_MS, undefined, { signal: enough.signal }).catch(() => undefined)
    const code = await Promise.race([ended, late])
    enough.abort()
    if (code === undefined && !(await mayServe(child, io))) child.kill('SIGKILL')
  }
  try {
    const pid = await answersUnlessEnded(client, started, Date.now() + STARTS_WITHIN_MS, io)
    if (pid !== undefined && pid === child.pid) return { client, pid, letGo }
    if (pid === undefined) throw await couldNotStart(io, 'it did not answer', started)
    // Two commands at once: only one supervisor gets the place, and only its own command may tell it to take over.
    throw justRenewing()
  } catch (failure) {
    await letGo()
    throw failure
  }
}

/** Whether `child` serves everybody by now, or nobody can tell: then it must not be killed. */
const mayServe = ({ pid }: ChildProcess, io: Io): Promise<boolean> =>
  answers(controlClient(io)).then(
    (serving) => serving === pid,
    () => true,
  )

const justRenewing = (): DproxyError =>
  new DproxyError('SUPERVISOR_FAILED', 'another command is just renewing the supervisor', {
    hint: 'wait until it is done; see: dproxy status',
  })

/** Starts a supervisor that begins once this process, which is one, is gone: it has crashed. */
export const startAfterCrash = async (io: Io): Promise<void> => {
  await startDetached(io, ['--after-crash'], 'pipe')
}

interface Started {
  readonly child: ChildProcess
  /** Resolves with its exit code. */
  readonly ended: Promise<number>
  /** How long the log was before, bytes: what others had said stands there. */
  readonly logged: number
}

/** Starts it in a session of its own, so that it survives this terminal. */
const startDetached = async (
  { self, env }: Io,
  words: readonly string[] = [],
  stdin: 'ignore' | 'pipe' = 'ignore',
): Promise<Started> => {
  const log = await openLog(env)
  const logged = fstatSync(log).size
  const child = spawn(self[0], [self[1], '__supervise', ...words], {
    detached: true,
    cwd: '/',
    // Names are looked up in libuv's thread pool: four hosts whose names do not resolve would fill it.
    env: { ...env, UV_THREADPOOL_SIZE: '32' },
    stdio: [stdin, log, log],
  })
  closeSync(log)
  child.stdin?.on('error', () => undefined)
  child.unref()
  const ended = new Promise<number>((resolve) => {
    child.once('error', () => resolve(1))
    child.once('exit', (code) => resolve(code ?? 1))
  })
  return { child, ended, logged }
}

const openLog = async (env: Io['env']): Promise<number> => {
  try {
    await makeDirs(stateDir(env))
    return openSync(logPath(env), 'a', 0o600)
  } catch (failure) {
    throw new DproxyError(
      'SUPERVISOR_FAILED',
      `cannot write the log ${logPath(env)}: ${errnoOf(failure) ?? String(failure)}`,
      { cause: failure, hint: 'free the disk or the directory, or set XDG_STATE_HOME to another one' },
    )
  }
}

const couldNotStart = async ({ env }: Io, why: string, started?: Started): Promise<DproxyError> => {
  const log = await readFile(logPath(env)).catch(() => Buffer.alloc(0))
  // A shorter one was begun anew meanwhile.
  const from = started && started.logged <= log.length ? started.logged : 0
  const last = log.toString('utf8', from).trim().split('\n').at(-1) ?? ''
  return new DproxyError(
    'SUPERVISOR_FAILED',
    `the supervisor could not start: ${why}${last ? `: ${printable(messageIn(last))}` : ''}`,
    { hint: `its log is ${logPath(env)}` },
  )
}

const messageIn = (line: string): string => {
  try {
    return String((JSON.parse(line) as { message?: unknown }).message)
  } catch {
    // A line that is not ours (Node's own words about a crash) is shown as it is.
    return line
  }
}
