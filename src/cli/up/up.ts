import type { ControlClient } from '../../control/client.js'
import type { Status, UpRequest } from '../../control/messages.js'
import { asDproxyError, exitCodeOf, type DproxyError, type ExitCode } from '../../base/errors.js'
import { list } from '../../base/text.js'
import type { Host } from '../../registry/host.js'
import type { Command, Words } from '../command.js'
import { confirmed } from '../confirm.js'
import { noteVersion, statusNow } from '../hosts.js'
import type { Io } from '../io.js'
import { failureText, paintFor, widthOf } from '../paint.js'
import { statusTable } from '../status-view.js'
import { noteLastWords } from '../last-words.js'
import { controlClient, ensureSupervisor, untilGoneIfEmpty } from '../supervisor-process.js'
import { chooseHosts } from './hosts.js'
import { upInForeground } from './foreground.js'
import { Questioner } from '../questions.js'
import { showProgress } from './progress.js'
import { followUntilSettled, type Outcome } from './outcome.js'

export const up: Command = {
  usage: 'up [names..]',
  summary: 'Start hosts: one SSH link each, offered as a local Docker socket',
  positionals: { names: 'Names, @tags or ssh://user@host:port; none: the only host there is' },
  options: {
    all: { type: 'boolean', describe: 'Every host of the config' },
    foreground: { type: 'boolean', describe: 'Stay attached and log to stderr; Ctrl-C stops' },
    'no-wait': { type: 'boolean', describe: 'Return at once, connect in the background' },
    lazy: { type: 'boolean', describe: 'Listen now, connect when the first client comes' },
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask before restarting a protected host' },
    'ssh-host': { type: 'string', requiresArg: true, describe: 'A host that is in no file: HOST[:PORT]' },
    'ssh-user': { type: 'string', requiresArg: true, describe: 'Its login name' },
    'ssh-key': { type: 'string', requiresArg: true, describe: 'Its private key file' },
    'local-socket': { type: 'string', requiresArg: true, describe: 'The local socket to offer it as' },
    'remote-socket': { type: 'string', requiresArg: true, describe: "The Docker engine's socket there" },
    timeout: { type: 'string', requiresArg: true, describe: 'The limit of each stage of connecting: 10s' },
  },
  examples: [
    ['dproxy up prod staging', 'two hosts of the config, then docker -H unix:///tmp/docker-prod.sock ps'],
    ['dproxy up @eu --no-wait', 'every host tagged eu, in the background'],
    ['dproxy up ssh://deploy@10.0.0.9:2222', 'a host that is in no file'],
    [
      'dproxy up --ssh-host 10.0.0.9 --ssh-key ~/.ssh/lab --local-socket /tmp/lab.sock',
      'the same, every part named',
    ],
  ],
  run: async (words, io) => {
    const chosen = await chooseHosts(words, io)
    return words.foreground ? upInForeground(chosen, words, io) : bringUp(chosen, words, io)
  },
}

/** Brings hosts up and shows it; resolves with the exit code. */
export const bringUp = async (hosts: readonly Host[], words: Words, io: Io): Promise<ExitCode> => {
  const outcomes = new Map<string, Outcome>()
  await noteLastWords(await statusNow(controlClient(io)), words, io)
  const client = await ensureSupervisor(io)
  await askForAll(hosts, outcomes, client, words, io)
  if (waits(words)) await showTheWay(hosts, outcomes, client, words, io)
  const status = await statusNow(client)
  noteVersion(status, words, io)
  await leaveNothingHalfDone(client, outcomes, io)
  io.interrupted.throwIfAborted()
  report(status, outcomes, words, io)
  return exitCode([...outcomes.values()])
}

/** Whether the command waits for its hosts, so that its user can answer what they ask. */
const waits = (words: Words): boolean => words.lazy !== true && words['no-wait'] !== true

/** The outcome of a host that could not even be asked for. */
export const refused = (error: DproxyError): Outcome => ({
  action: 'refused',
  askedAtMs: Date.now(),
  error,
  final: true,
})

const askForAll = async (
  hosts: readonly Host[],
  outcomes: Map<string, Outcome>,
  client: ControlClient,
  words: Words,
  io: Io,
): Promise<void> => {
  const askForEach = (some: readonly Host[], evenProtected: boolean) =>
    Promise.all(
      some.map(async (host) => {
        const agent = io.env.SSH_AUTH_SOCK || null
        const person = waits(words) && io.ask !== undefined
        const request = { definition: host, agent, lazy: words.lazy === true, person, evenProtected }
        outcomes.set(host.name, await ask(request, client, io))
      }),
    )
  await askForEach(hosts, words.yes === true)
  const unsure = hosts.filter(({ name }) => outcomes.get(name)?.error?.code === 'HOST_PROTECTED')
  const names = unsure.map(({ name }) => name)
  await confirmed(names, 'restart', words, io, 'changed in the config')
  await askForEach(unsure, true)
}

/** Asks for one host; what goes wrong with it is its own outcome and stops no other. */
const ask = async (request: UpRequest, client: ControlClient, io: Io): Promise<Outcome> => {
  try {
    const { action } = await client.up(request, io.interrupted).catch(async (failure: unknown) => {
      // It was about to leave, its last host being gone: another one takes its place.
      if (asDproxyError(failure).code !== 'SUPERVISOR_DOWN') throw failure
      return (await ensureSupervisor(io)).up(request)
    })
    return { action, askedAtMs: Date.now() }
  } catch (failure) {
    return refused(asDproxyError(failure))
  }
}

/** Shows how hosts come up, until each has or has failed; fills in `outcomes`. */
export const showTheWay = async (
  hosts: readonly { readonly name: string }[],
  outcomes: Map<string, Outcome>,
  client: ControlClient,
  words: Words,
  io: Io,
): Promise<void> => {
  const done = new AbortController()
  const progress = showProgress(hosts, words, io)
  const asker = new Questioner(io, (id, answers) => client.answer(id, answers), progress)
  try {
    await followUntilSettled(
      client,
      outcomes,
      progress,
      asker,
      AbortSignal.any([io.interrupted, done.signal]),
    )
  } finally {
    done.abort()
    // What is still asked then is asked in vain: the host was stopped, or the supervisor is gone.
    await asker.see([])
    progress.end()
  }
}

/**
 * A host that this command started and that needs the user, or was not up yet when the user interrupted, is
 * taken back, and with it a supervisor that nothing is left for. A host that is tried again by itself stays,
 * and the user is told so.
 */
const leaveNothingHalfDone = async (
  client: ControlClient,
  outcomes: ReadonlyMap<string, Outcome>,
  io: Io,
): Promise<void> => {
  const { aborted } = io.interrupted
  const names = [...outcomes].filter(
    ([, { action, state }]) => action === 'started' && (state === 'failed' || (aborted && state !== 'up')),
  )
  await Promise.all(names.map(([name]) => client.down(name, 0).catch(() => undefined)))
  if (aborted || [...outcomes.values()].some(({ final }) => final)) await untilGoneIfEmpty(client)
}

/** Prints what became of the hosts of `outcomes`, and of no others: the table of those that are served, and every failure. */
export const report = (
  status: Status,
  outcomes: ReadonlyMap<string, Outcome>,
  words: Words,
  io: Io,
): void => {
  const hosts = status.hosts.filter(({ name }) => outcomes.has(name))
  const failed = [...outcomes].filter(([, { error }]) => error !== undefined)
  const failures = failed.map(([host, { error }]) => ({
    host,
    code: error?.code ?? 'INTERNAL',
    stage: error?.stage ?? null,
    message: error?.message ?? '',
    hint: error?.hint ?? null,
  }))
  if (words.json) return io.out.write(`${JSON.stringify({ ...status, hosts, failures })}\n`)
  const living = hosts.filter(({ name }) => !outcomes.get(name)?.final)
  const rows = { ...status, hosts: living.map((host) => ({ ...host, lastError: null })) }
  if (living.length > 0 && !words.quiet) io.out.write(statusTable(rows, paintFor(io.out), widthOf(io.out)))
  const paint = paintFor(io.err)
  for (const { host, ...failure } of failures) io.err.write(failureText(failure, paint, host))
  const retried = failed.filter(([, { state }]) => state === 'retrying').map(([name]) => name)
  if (retried.length > 0 && !words.quiet) {
    io.err.write(
      `${list(retried)} ${retried.length === 1 ? 'is' : 'are'} tried again in the background; to stop that: dproxy down ${retried.join(' ')}\n`,
    )
  }
  return undefined
}

/** 0 when all is well, 3 when some hosts failed and others did not, else what the failures have in common. */
export const exitCode = (outcomes: readonly Outcome[]): ExitCode => {
  const codes = outcomes.flatMap(({ error }) => (error ? [exitCodeOf(error.code)] : []))
  const [first] = codes
  if (first === undefined) return 0
  if (codes.length < outcomes.length) return 3
  return codes.every((code) => code === first) ? first : 1
}
