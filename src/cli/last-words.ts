import { readRunRecord, type RunRecord } from '../control/run-record.js'
import type { Status } from '../control/messages.js'
import { list, printable } from '../base/text.js'
import type { GlobalWords, Io } from './io.js'

/** Tells the user, where no supervisor runs, of one that ended with hosts still to serve, and how to get them back. */
export const noteLastWords = async (
  { supervisor }: Status,
  { quiet, json }: GlobalWords,
  { env, err }: Pick<Io, 'env' | 'err'>,
): Promise<void> => {
  if (supervisor || quiet || json) return
  const record = await readRunRecord(env)
  if (record && record.hosts.length > 0) err.write(`note: ${lastWords(record)}\n`)
}

// The pauses between crashes are shorter.
const IS_OVER_AFTER_MS = 30_000

const lastWords = ({ pid, hosts, crash, crashes, gaveUp }: RunRecord): string => {
  const why = crash === null ? '' : printable(crash)
  const isBeingRestarted = !gaveUp && Date.now() - (crashes.at(-1) ?? 0) < IS_OVER_AFTER_MS
  if (crash !== null && isBeingRestarted)
    return `the supervisor crashed (${why}) and is just being started again`
  const how = gaveUp
    ? `the supervisor gave up after ${crashes.length} crashes within a minute (${why})`
    : `the supervisor (pid ${pid}) was ended before it could stop`
  const names = list(hosts.map(({ definition }) => printable(definition.name)))
  const again = hosts.map(({ definition }) => printable(definition.typed)).join(' ')
  return `${how}; it ran ${names}; to start ${hosts.length === 1 ? 'it' : 'them'} again: dproxy up ${again}`
}
