import type { HostStatus, UpReply, UpRequest } from '../../control/messages.js'
import { asDproxyError, DproxyError, exitCodeOf, isErrorCode, type ExitCode } from '../../base/errors.js'
import type { Host } from '../../registry/host.js'
import { Questioner } from '../questions.js'
import type { Words } from '../command.js'
import type { Io } from '../io.js'
import { loadSupervisor } from '../lazy.js'
import { logLine } from '../logs.js'
import { failureText, paintFor } from '../paint.js'

/** The part of a supervisor that is needed here. */
interface Starter {
  up(request: UpRequest): Promise<UpReply>
  status(): { hosts: HostStatus[] }
  /** The part of the status that costs next to nothing. */
  glance(): Pick<HostStatus, 'name' | 'state' | 'question'>[]
  onChange(listener: () => void): () => void
  answer(id: string, answers: readonly string[] | null): void
  shutdown(drainMs: number): Promise<void>
}

/**
 * Runs the supervisor in this very process: its log goes to stderr, Ctrl-C or SIGTERM drains and stops, a
 * second one stops at once. Ends by itself when every host has failed for good.
 */
export const upInForeground = async (
  hosts: readonly Host[],
  { lazy, quiet }: Words,
  io: Io,
): Promise<ExitCode> => {
  const { EventLog, runSupervisor } = await loadSupervisor()
  const log = EventLog.inMemory()
  const paint = paintFor(io.err)
  if (!quiet) log.subscribe((entry) => io.err.write(`${logLine(entry, paint)}\n`))
  let code: ExitCode = 0
  let wanted = hosts.length
  let stopping = false
  const { env, version, pid, onCrash } = io
  const onStop = (listener: () => void) =>
    io.onStop((signal) => {
      stopping = true
      code = signal === 'SIGINT' ? 130 : 0
      listener()
    })
  const onReady = async (supervisor: Starter) => {
    const endIfAllFailed = (seen: ReturnType<Starter['glance']>) => {
      if (seen.filter(({ state }) => state === 'failed').length < wanted || stopping) return
      stopping = true
      const failures = supervisor.status().hosts.filter(({ state }) => state === 'failed')
      const first = failures[0]?.lastError?.code
      if (first !== undefined && code === 0) code = isErrorCode(first) ? exitCodeOf(first) : 1
      for (const { name, lastError } of failures)
        if (lastError) io.err.write(failureText(lastError, paint, name))
      void supervisor.shutdown(0)
    }
    // The log flows on while a person types, as it does in any shell.
    const still = { pause: () => undefined, resume: () => undefined }
    const asker = new Questioner(io, (id, answers) => supervisor.answer(id, answers), still)
    const look = () => {
      const seen = supervisor.glance()
      endIfAllFailed(seen)
      void asker.see(seen)
    }
    supervisor.onChange(oncePerTurn(look))
    const refused = await start(supervisor, hosts, lazy === true, io)
    wanted -= refused.length
    if (code === 0) code = refused[0] ?? 0
    look()
  }
  try {
    await runSupervisor({ env, version, pid, log, onStop, onReady, onCrash, foreground: true })
  } catch (failure) {
    if (asDproxyError(failure).code !== 'SOCKET_BUSY') throw failure
    throw new DproxyError('SUPERVISOR_FAILED', 'a supervisor runs in the background already', {
      cause: failure,
      hint: 'leave out --foreground to use it, or stop it first: dproxy down --all',
    })
  }
  return code
}

/** Hosts come up in crowds, and each tells of every step: who looks at all of them looks once for what has come together. */
const oncePerTurn = (look: () => void): (() => void) => {
  let isDue = false
  return () => {
    if (isDue) return
    isDue = true
    setImmediate(() => {
      isDue = false
      look()
    })
  }
}

/** Starts the hosts; resolves with the exit codes of those that could not be. */
const start = async (
  supervisor: Starter,
  hosts: readonly Host[],
  lazy: boolean,
  io: Io,
): Promise<ExitCode[]> => {
  const agent = io.env.SSH_AUTH_SOCK || null
  const refused: ExitCode[] = []
  await Promise.all(
    hosts.map(async (definition) => {
      try {
        const person = !lazy && io.ask !== undefined
        await supervisor.up({ definition, agent, lazy, person, evenProtected: true })
      } catch (failure) {
        const error = asDproxyError(failure)
        io.err.write(failureText(error, paintFor(io.err), definition.name))
        refused.push(exitCodeOf(error.code))
      }
    }),
  )
  return refused
}
