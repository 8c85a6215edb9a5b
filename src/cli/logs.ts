import { readFile } from 'node:fs/promises'
import { LogEntry } from '../control/messages.js'
import { asDproxyError, DproxyError } from '../base/errors.js'
import { logPath } from '../base/paths.js'
import { strings, type Command, type Words } from './command.js'
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
    ['dproxy logs -f', 'everything, as it happens'],
  ],
  run: async (words, io) => {
    const names = strings(words.names)
    if (names.length > 1)
      throw new DproxyError('USAGE', 'one host at a time', { hint: 'or all of them, without a name' })
    const [name] = names
    try {
      const entries = controlClient(io).logs(name, words.follow === true, io.interrupted)
      for await (const entry of entries) print(entry, words, io)
    } catch (failure) {
      if (asDproxyError(failure).code !== 'SUPERVISOR_DOWN' || words.follow === true) throw failure
      for (const entry of await fromFile(io, name)) print(entry, words, io)
    }
    return 0
  },
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

/** What the last supervisor wrote, when none runs to ask. */
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
