import type { ControlClient } from '../control/client.js'
import type { Status } from '../control/messages.js'
import { asDproxyError, DproxyError, exitCodeOf, type ExitCode } from '../base/errors.js'
import { list } from '../base/text.js'
import { hostFromFlags, hostFromUrl } from '../registry/adhoc.js'
import type { Host } from '../registry/host.js'
import { selectHosts } from '../registry/select.js'
import { strings, text, type Command, type Words } from './command.js'
import { confirmed } from './confirm.js'
import { registryOf, statusNow } from './hosts.js'
import type { Io } from './io.js'
import { failureText, paintFor } from './paint.js'
import { statusTable } from './status-view.js'
import { ensureSupervisor } from './supervisor-process.js'
import { upInForeground } from './up-foreground.js'
import { showProgress } from './up-progress.js'
import { followUntilSettled, type Outcome } from './up-outcome.js'

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
    const hosts = await chosen(words, io)
    if (words.foreground) return upInForeground(hosts, words, io)
    await askBeforeRestarting(hosts, words, io)
    return bringUp(hosts, words, io)
  },
}

const FLAGS = ['ssh-host', 'ssh-user', 'ssh-key', 'local-socket', 'remote-socket', 'timeout'] as const

const chosen = async (words: Words, io: Io): Promise<Host[]> => {
  const names = strings(words.names)
  if (FLAGS.some((flag) => words[flag] !== undefined)) {
    if (names.length > 0 || words.all) {
      throw new DproxyError(
        'USAGE',
        `--${FLAGS.find((flag) => words[flag] !== undefined)} describes a host that is in no file; it takes no names beside it`,
        {
          hint: 'write either names, or --ssh-host with its companions',
        },
      )
    }
    return [
      hostFromFlags(
        {
          sshHost: text(words['ssh-host']),
          sshUser: text(words['ssh-user']),
          sshKey: text(words['ssh-key']),
          localSocket: text(words['local-socket']),
          remoteSocket: text(words['remote-socket']),
          timeout: text(words.timeout),
        },
        io.env,
        io.cwd,
      ),
    ]
  }
  const urls = names.filter((name) => name.startsWith('ssh://'))
  const adHoc = urls.map((url) => hostFromUrl(url, io.env))
  const known = names.filter((name) => !name.startsWith('ssh://'))
  if (adHoc.length > 0 && known.length === 0 && !words.all) return adHoc
  return [
    ...selectHosts(await registryOf(words, io), known, { all: words.all === true, env: io.env }),
    ...adHoc,
  ]
}

/** A changed definition restarts a host, and that cuts its streams. */
const askBeforeRestarting = async (hosts: readonly Host[], words: Words, io: Io): Promise<void> => {
  if (!hosts.some((host) => host.protected)) return
  const { hosts: running } = await statusNow(await ensureSupervisor(io))
  const cut = running.filter(
    (now) =>
      now.protected &&
      now.streams.open > 0 &&
      hosts.some(({ name, socket }) => name === now.name && socket !== now.socket),
  )
  await confirmed(
    cut.map(({ name }) => name),
    'restart',
    words,
    io,
  )
}

const bringUp = async (hosts: readonly Host[], words: Words, io: Io): Promise<ExitCode> => {
  const stop = new AbortController()
  const signal = AbortSignal.any([io.interrupted, stop.signal])
  const client = await ensureSupervisor(io)
  const lazy = words.lazy === true
  const wait = !lazy && words['no-wait'] !== true
  const outcomes = new Map<string, Outcome>()
  await Promise.all(hosts.map(async (host) => outcomes.set(host.name, await ask(host, client, lazy, io))))
  const progress = showProgress(hosts, words, io)
  try {
    if (wait) await followUntilSettled(client, outcomes, progress, signal)
  } finally {
    stop.abort()
    progress.end()
  }
  const status = onlyThese(await statusNow(client), hosts)
  await leaveNothingHalfDone(client, outcomes, io)
  io.interrupted.throwIfAborted()
  report(status, outcomes, words, io)
  return exitCode([...outcomes.values()])
}

/** Asks for one host; what goes wrong with it is its own outcome and stops no other. */
const ask = async (host: Host, client: ControlClient, lazy: boolean, io: Io): Promise<Outcome> => {
  const request = { definition: host, agent: io.env.SSH_AUTH_SOCK || null, lazy }
  try {
    const { action } = await client.up(request).catch(async (failure: unknown) => {
      // It was about to leave, its last host being gone: another one takes its place.
      if (asDproxyError(failure).code !== 'SUPERVISOR_DOWN') throw failure
      return (await ensureSupervisor(io)).up(request)
    })
    return { action, askedAtMs: Date.now() }
  } catch (failure) {
    return { action: 'refused', askedAtMs: Date.now(), error: asDproxyError(failure), final: true }
  }
}

const onlyThese = (status: Status, hosts: readonly Host[]): Status => {
  const names = new Set(hosts.map(({ name }) => name))
  return { ...status, hosts: status.hosts.filter(({ name }) => names.has(name)) }
}

/**
 * A host that this command started and that needs the user, or was not up yet when the user interrupted, is
 * taken back; one that the supervisor tries again by itself stays, and the user is told so.
 */
const leaveNothingHalfDone = async (
  client: ControlClient,
  outcomes: ReadonlyMap<string, Outcome>,
  io: Io,
): Promise<void> => {
  const names = [...outcomes].filter(
    ([, { action, state }]) =>
      action === 'started' && (state === 'failed' || (io.interrupted.aborted && state !== 'up')),
  )
  await Promise.all(names.map(([name]) => client.down(name, 0).catch(() => undefined)))
}

const report = (status: Status, outcomes: ReadonlyMap<string, Outcome>, words: Words, io: Io): void => {
  const failed = [...outcomes].filter(([, { error }]) => error !== undefined)
  const failures = failed.map(([host, { error }]) => ({
    host,
    code: error?.code ?? 'INTERNAL',
    stage: error?.stage ?? null,
    message: error?.message ?? '',
    hint: error?.hint ?? null,
  }))
  if (words.json) return io.out.write(`${JSON.stringify({ ...status, failures })}\n`)
  const living = status.hosts.filter(({ name }) => !outcomes.get(name)?.final)
  const rows = { ...status, hosts: living.map((host) => ({ ...host, lastError: null })) }
  if (living.length > 0 && !words.quiet) io.out.write(statusTable(rows, paintFor(io.out)))
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
const exitCode = (outcomes: readonly Outcome[]): ExitCode => {
  const codes = outcomes.flatMap(({ error }) => (error ? [exitCodeOf(error.code)] : []))
  const [first] = codes
  if (first === undefined) return 0
  if (codes.length < outcomes.length) return 3
  return codes.every((code) => code === first) ? first : 1
}
