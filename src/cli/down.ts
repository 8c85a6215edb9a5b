import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlClient } from '../control/client.js'
import type { HostStatus, Status } from '../control/messages.js'
import { forgetRunRecord } from '../control/run-record.js'
import { parseDuration, formatDuration } from '../base/duration.js'
import { asDproxyError, DproxyError, exitCodeOf } from '../base/errors.js'
import { count, printable } from '../base/text.js'
import { listSome } from '../registry/list-some.js'
import { strings, text, type Command, type Words } from './command.js'
import { confirmed } from './confirm.js'
import { pick, registryOf, statusNow, withStopped } from './hosts.js'
import type { Io } from './io.js'
import { failureText, paintFor } from './paint.js'
import { controlClient, untilGoneIfEmpty } from './supervisor-process.js'

/** The options of what stops hosts. */
export const STOP_OPTIONS = {
  all: { type: 'boolean', describe: 'Every host that runs, also what no file names' },
  drain: {
    type: 'string',
    requiresArg: true,
    default: '5s',
    describe: 'How long open streams may go on before they are cut; 0s cuts at once',
  },
  yes: { type: 'boolean', alias: 'y', describe: 'Do not ask, not even for protected hosts' },
} as const

export const down: Command = {
  usage: 'down [names..]',
  summary: 'Stop hosts: let their streams end, then remove their sockets',
  positionals: { names: 'Names or @tags; none: the only host that runs' },
  options: STOP_OPTIONS,
  examples: [
    ['dproxy down staging', 'open streams get five seconds to end'],
    ['dproxy down --all --drain 0s', 'everything, at once; the supervisor leaves too'],
  ],
  run: async (words, io) => {
    const drainMs = drainOf(words)
    const client = controlClient(io)
    const now = await runningNow(client, words)
    // What a supervisor that is gone has left behind is not to be brought back any more.
    if (!now.supervisor && words.all === true) await forgetRunRecord(io.env)
    const hosts = await meantHosts(now, words, io)
    const running = hosts.filter(({ state }) => state !== 'stopped')
    for (const { name } of hosts.filter((host) => !running.includes(host)))
      say(io, words, `${printable(name)} is not running`)
    const names = running.filter((host) => host.protected).map(({ name }) => name)
    await confirmed(names, 'stop', words, io)
    const failed = (
      await Promise.all(running.map((host) => stopOne(host, drainMs, client, words, io)))
    ).flat()
    await untilGoneIfEmpty(client)
    if (words.json)
      io.out.write(`${JSON.stringify({ ...(await statusNow(client)), failures: failed })}
`)
    io.interrupted.throwIfAborted()
    if (failed.length === 0) return 0
    return failed.length < running.length ? 3 : exitCodeOf(failed[0]?.code ?? 'INTERNAL')
  },
}

/** @throws DproxyError USAGE */
export const drainOf = ({ drain }: Words, otherwise = '5s'): number => {
  const said = text(drain) ?? otherwise
  const ms = parseDuration(said)
  if (ms !== undefined && ms <= 3_600_000) return ms
  throw new DproxyError('USAGE', `--drain takes a duration up to 1h, not "${printable(said)}"`, {
    hint: 'for example: --drain 30s',
  })
}

/** `down --all` ends a supervisor of any version: it is the way out that its error message names. */
const runningNow = async (client: ControlClient, { all }: Words): Promise<Status> => {
  try {
    return await statusNow(client)
  } catch (failure) {
    if (asDproxyError(failure).code !== 'SUPERVISOR_SKEW' || all !== true) throw failure
    await client.shutdown(0)
    return onceGone(client)
  }
}

/** The status once a supervisor that speaks another protocol has left its place. */
const onceGone = async (client: ControlClient): Promise<Status> => {
  for (let left = 40; ; left -= 1) {
    try {
      return await statusNow(client)
    } catch (failure) {
      if (asDproxyError(failure).code !== 'SUPERVISOR_SKEW' || left === 0) throw failure
      await sleep(50)
    }
  }
}

/** The hosts that the words of a command line mean, stopped ones of the registry included. */
export const meantHosts = async (status: Status, words: Words, io: Io): Promise<HostStatus[]> => {
  const names = strings(words.names)
  if (words.all === true) {
    if (names.length > 0)
      throw new DproxyError('USAGE', '--all takes no names beside it', { hint: 'write one or the other' })
    if (status.hosts.length === 0) say(io, words, 'nothing is running')
    return [...status.hosts]
  }
  // A broken config must not keep anybody from stopping what runs.
  if (names.length > 0)
    return pick(withStopped(status, await registryOf(words, io).catch(() => NO_REGISTRY)), names).hosts
  if (status.hosts.length > 1) {
    const running = listSome(status.hosts.map(({ name }) => name))
    throw new DproxyError('USAGE', `which host? There are ${running}`, {
      hint: 'name one or more, or all of them with --all',
    })
  }
  if (status.hosts.length === 0) say(io, words, 'nothing is running')
  return [...status.hosts]
}

const NO_REGISTRY = { hosts: [] }

const stopOne = async (
  { name, streams }: HostStatus,
  drainMs: number,
  client: ControlClient,
  words: Words,
  io: Io,
) => {
  if (streams.open > 0 && drainMs > 0) {
    say(
      io,
      words,
      `${name}: ${count(streams.open, 'stream')} open, waiting for up to ${formatDuration(drainMs)}`,
    )
  }
  try {
    const { cut } = await client.down(name, drainMs, io.interrupted)
    say(io, words, `${name} stopped${cut > 0 ? `, ${count(cut, 'stream')} cut` : ''}`)
    return []
  } catch (failure) {
    const error = asDproxyError(failure)
    if (!words.json && !io.interrupted.aborted) io.err.write(failureText(error, paintFor(io.err), name))
    return [
      {
        host: name,
        code: error.code,
        stage: error.stage ?? null,
        message: error.message,
        hint: error.hint ?? null,
      },
    ]
  }
}

export const say = (io: Io, { quiet, json }: Words, line: string): void => {
  if (!quiet && !json) io.err.write(`${line}\n`)
}
