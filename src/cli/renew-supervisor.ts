import type { ControlClient } from '../control/client.js'
import type { RunningHost, TakeOverReply } from '../control/messages.js'
import { formatDuration } from '../base/duration.js'
import { asDproxyError, DproxyError, type ExitCode } from '../base/errors.js'
import { count } from '../base/text.js'
import { strings, type Words } from './command.js'
import { confirmed } from './confirm.js'
import { drainOf, say } from './down.js'
import { statusNow } from './hosts.js'
import type { Io } from './io.js'
import { controlClient, startSuccessor, type SuccessorProcess } from './supervisor-process.js'
import { exitCode, refused, report, showTheWay } from './up/up.js'
import type { Outcome } from './up/outcome.js'

// A build or a pull that is under way is to end by itself.
const DRAIN = '60s'

/**
 * Starts a supervisor of this version, brings up in it what the running one runs, and has it take the running
 * one's place: the old one serves until then, and its streams may go on for the drain. When a host that is up
 * does not come up in the new one, nothing is changed.
 */
export const renewSupervisor = async (words: Words, io: Io): Promise<ExitCode> => {
  if (words.all === true || strings(words.names).length > 0) {
    throw new DproxyError('USAGE', '--supervisor takes no names and no --all beside it', {
      hint: 'it renews the process that serves every host',
    })
  }
  const drainMs = drainOf(words, DRAIN)
  const old = controlClient(io)
  const running = await old.running()
  if (running.foreground) throw inForeground()
  const names = running.hosts.filter(({ definition }) => definition.protected)
  await confirmed(
    names.map(({ definition }) => definition.name),
    'restart',
    words,
    io,
  )
  const successor = await startSuccessor(io)
  let serves = false
  try {
    const outcomes = await bringUpBeside(running.hosts, successor, words, io)
    const { down, rest } = judge(running.hosts, outcomes)
    if (down.size > 0) {
      report(await statusNow(old), down, words, io)
      say(io, words, 'nothing was changed: the running supervisor serves all its hosts as before')
      return exitCode([...outcomes.values()])
    }
    // From here on it is done, or not, in a moment; an interrupt would only leave open which.
    const taken = await takeOver(successor, drainMs)
    serves = true
    tell(taken, successor, drainMs, words, io)
    report(await statusNow(old), rest, words, io)
    return 0
  } finally {
    await successor.letGo(serves)
  }
}

const bringUpBeside = async (
  hosts: readonly RunningHost[],
  { client }: SuccessorProcess,
  words: Words,
  io: Io,
): Promise<Map<string, Outcome>> => {
  const outcomes = new Map<string, Outcome>()
  await Promise.all(
    hosts.map(async (host) => outcomes.set(host.definition.name, await ask(host, client, io))),
  )
  const dialling = hosts.filter(({ state }) => state !== 'idle').map(({ definition }) => definition)
  const followed = new Map([...outcomes].filter(([name]) => dialling.some((host) => host.name === name)))
  await showTheWay(dialling, followed, client, words, io).catch((failure: unknown) => {
    throw asDproxyError(failure).code === 'SUPERVISOR_DOWN' ? diedEarly(failure) : failure
  })
  io.interrupted.throwIfAborted()
  for (const [name, outcome] of followed) outcomes.set(name, outcome)
  return outcomes
}

const ask = async (
  { definition, agent, state }: RunningHost,
  client: ControlClient,
  io: Io,
): Promise<Outcome> => {
  const lazy = state === 'idle'
  const request = {
    definition,
    agent: io.env.SSH_AUTH_SOCK || agent,
    lazy,
    person: !lazy && io.ask !== undefined,
    evenProtected: true,
  }
  try {
    const { action } = await client.up(request, io.interrupted)
    return { action, askedAtMs: Date.now() }
  } catch (failure) {
    return refused(asDproxyError(failure))
  }
}

/** `down`: those that are up in the old supervisor and not in the new one; they keep it from taking over. */
const judge = (hosts: readonly RunningHost[], outcomes: ReadonlyMap<string, Outcome>) => {
  const wasUp = new Set(hosts.filter(({ state }) => state === 'up').map(({ definition }) => definition.name))
  const entries = [...outcomes]
  const isDown = ([name, { error, action }]: [string, Outcome]) =>
    error !== undefined && (wasUp.has(name) || action === 'refused')
  const down = entries.filter(isDown).map(([name, outcome]) => [name, asFinal(outcome)] as const)
  return { down: new Map(down), rest: new Map(entries.filter((entry) => !isDown(entry))) }
}

/** The new supervisor does not try again: it leaves. */
const asFinal = ({ action, askedAtMs, error }: Outcome): Outcome => ({
  action,
  askedAtMs,
  final: true,
  ...(error ? { error } : {}),
})

const takeOver = async ({ client }: SuccessorProcess, drainMs: number): Promise<TakeOverReply> => {
  try {
    return await client.takeOver(drainMs)
  } catch (failure) {
    const { code, message, hint } = asDproxyError(failure)
    if (code === 'SUPERVISOR_DOWN') throw diedEarly(failure)
    throw new DproxyError(code, `the new supervisor did not take over: ${message}`, { hint, cause: failure })
  }
}

const tell = (
  { pid, draining }: TakeOverReply,
  successor: SuccessorProcess,
  drainMs: number,
  words: Words,
  io: Io,
): void => {
  say(io, words, `a new supervisor (pid ${successor.pid}) has taken over from the old one (pid ${pid})`)
  for (const { host, streams } of draining) {
    say(
      io,
      words,
      `${host}: ${count(streams, 'stream')} still open there, for up to ${formatDuration(drainMs)}`,
    )
  }
}

const inForeground = (): DproxyError =>
  new DproxyError(
    'NOT_SUPPORTED',
    'the running supervisor was started with --foreground: somebody waits for its end',
    {
      hint: 'end it where it runs, and start it there again',
    },
  )

const diedEarly = (cause: unknown): DproxyError =>
  new DproxyError('SUPERVISOR_FAILED', 'the new supervisor ended before it had taken over', {
    hint: 'see what became of the hosts: dproxy status; and why: dproxy logs',
    cause,
  })
