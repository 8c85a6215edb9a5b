import { isDeepStrictEqual } from 'node:util'
import { readRunRecord, type RunRecord } from '../control/run-record.js'
import type { HostDefinition, Status } from '../control/messages.js'
import type { Env } from '../base/paths.js'
import { list, printable, shellWord } from '../base/text.js'
import { hostFromUrl } from '../registry/adhoc.js'
import { sameNameKey } from '../registry/host.js'
import { registryOf } from './hosts.js'
import type { GlobalWords, Io } from './io.js'

/** Tells the user, where no supervisor runs, of one that ended with hosts still to serve, and how to get them back. */
export const noteLastWords = async ({ supervisor }: Status, words: GlobalWords, io: Io): Promise<void> => {
  if (supervisor || words.quiet || words.json) return
  const record = await readRunRecord(io.env)
  if (record && record.hosts.length > 0)
    io.err.write(
      `note: ${whatIsBeingDone(record) ?? `${howItEnded(record)}; ${await howToGoOn(record, words, io)}`}\n`,
    )
}

// The pauses between crashes are shorter.
const IS_OVER_AFTER_MS = 30_000

/** Of one that does not need the user; undefined for the others. */
const whatIsBeingDone = ({ crash, crashes, gaveUp }: RunRecord): string | undefined => {
  const isBeingRestarted = !gaveUp && Date.now() - (crashes.at(-1) ?? 0) < IS_OVER_AFTER_MS
  if (crash === null || !isBeingRestarted) return undefined
  return `the supervisor crashed (${printable(crash)}) and is just being started again`
}

const howItEnded = ({ pid, hosts, crash, crashes, gaveUp }: RunRecord): string => {
  const how = gaveUp
    ? `the supervisor gave up after ${crashes.length} crashes within a minute (${printable(crash ?? '')})`
    : `the supervisor (pid ${pid}) was ended before it could stop`
  return `${how}; it ran ${namesOf(hosts.map(({ definition }) => definition))}`
}

/** A command line that works when it is pasted, and what else there is to do. */
const howToGoOn = async ({ hosts }: RunRecord, words: GlobalWords, io: Io): Promise<string> => {
  const all = hosts.map(({ definition }) => definition)
  // A broken config is not what this is about.
  const registry = await registryOf(words, io).catch(() => ({ hosts: [] }))
  const names = new Set(registry.hosts.map(({ typed }) => sameNameKey(typed)))
  const known = all.filter((host) => names.has(sameNameKey(host.typed)) || isAllInUrl(host, io.env))
  const others = all.filter((host) => !known.includes(host))
  const itOrThem = all.length === 1 ? 'it' : 'them'
  if (known.length === 0) return `start ${itOrThem} again with the same options as before`
  const config = words.config === undefined ? [] : ['--config', words.config]
  const command = ['dproxy', 'up', ...config, ...known.map(({ typed }) => typed)].map(shellWord).join(' ')
  if (others.length === 0) return `to start ${itOrThem} again: ${command}`
  return `start ${namesOf(others)} again with the same options as before; to start ${namesOf(known)} again: ${command}`
}

/** Whether its address says all there is to say of a host: it was given no other options. */
const isAllInUrl = (host: HostDefinition, env: Env): boolean => {
  if (!host.typed.startsWith('ssh://')) return false
  try {
    return isDeepStrictEqual(JSON.parse(JSON.stringify(hostFromUrl(host.typed, env))), host)
  } catch {
    return false
  }
}

const namesOf = (hosts: readonly HostDefinition[]): string => list(hosts.map(({ name }) => printable(name)))
