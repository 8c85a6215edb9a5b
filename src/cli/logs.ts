import { readFile } from 'node:fs/promises'
import { LogEntry } from '../control/messages.js'
import { asDproxyError, DproxyError } from '../base/errors.js'
import { logPath } from '../base/paths.js'
import { strings, type Command, type Words } from './command.js'
import { pick, registryOf, statusNow, withStopped } from './hosts.js'
import type { Io } from './io.js'
import { cell, paintFor, type Paint } from './paint.js'
import { controlClient } from './supervisor-process.js'

export const logs: Command = {
  usage: 'logs [names..]',
  summary: 'Show what the supervisor did',
  positionals: { names: 'One host; none: everything' },
  options: { follow: { type: 'boolean', alias: 'f', describe: 'Keep showing what comes' } },
  examples: [
    ['dproxy logs prod', 'why prod went down last night'],
    ['dproxy logs -f', 'everything, as it happens; with --json one entry a line'],
  ],
  run: async (words, io) => {
    const names = strings(words.names)
    if (names.length > 1)
      throw new DproxyError('USAGE', 'one host at a time', { hint: 'or all of them, without a name' })
    const [name] = names
    const follow = words.follow === true
    if (follow) await refuseUnknown(names, words, io)
    let shown = 0
    for await (const entry of entriesOf(name, follow, io)) {
      print(entry, words, io)
      shown += 1
    }
    io.interrupted.throwIfAborted()
    // A host that is gone may have left traces; silence about one that never was would look like peace.
    if (shown === 0) await refuseUnknown(names, words, io)
    return 0
  },
}

/** What earlier supervisors wrote, then what the one that runs has to say. */
async function* entriesOf(name: string | undefined, follow: boolean, io: Io): AsyncGenerator<LogEntry> {
  let earlier = await fromFile(io, name)
  try {
    for await (const entry of controlClient(io).logs(name, follow, io.interrupted)) {
      yield* earlier.filter(({ time }) => time < entry.time)
      earlier = []
      yield entry
    }
  } catch (failure) {
    if (asDproxyError(failure).code !== 'SUPERVISOR_DOWN' || follow) throw failure
  }
  yield* earlier
}

const refuseUnknown = async (names: readonly string[], words: Words, io: Io): Promise<void> => {
  if (names.length > 0)
    pick(withStopped(await statusNow(controlClient(io)), await registryOf(words, io)), names)
}

const print = (entry: LogEntry, { json }: Words, { out }: Io): void =>
  out.write(json ? `${JSON.stringify(entry)}\n` : `${logLine(entry, paintFor(out))}\n`)

/** One entry for people. */
export const logLine = ({ time, level, host, message }: LogEntry, paint: Paint): string => {
  const mark = {
    debug: paint.dim('debug'),
    info: paint.dim('info '),
    warn: paint.yellow('warn '),
    error: paint.red('error'),
  }[level]
  return `${paint.dim(time)} ${mark} ${host === null ? '' : `${paint.bold(cell(host))} `}${cell(message)}`
}

const fromFile = async ({ env }: Io, name: string | undefined): Promise<LogEntry[]> => {
  const lines = (await readFile(logPath(env), 'utf8').catch(() => '')).split('\n')
  return lines.slice(-1000).flatMap((line) => {
    const entry = LogEntry.safeParse(parsed(line))
    return entry.success && (name === undefined || entry.data.host?.toLowerCase() === name.toLowerCase())
      ? [entry.data]
      : []
  })
}

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
