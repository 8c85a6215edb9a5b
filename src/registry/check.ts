import { dirname } from 'node:path'
import { asDproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { checkLength } from '../base/unix-socket/path.js'
import { readDocument, type ConfigDocument } from './document.js'
import { hostOf } from './host-of-entry.js'
import { HOST_DEFAULTS, NAME, NAME_RULE, sameNameKey, type Host } from './host.js'
import { isLegacy, legacyHost } from './legacy.js'
import { DEFAULT_SOCKET, parseTemplate } from './local-path.js'
import { commandProblems, type Origin } from './project-file.js'
import { problemsOf, type Path, type Problem } from './problems.js'
import { ConfigFile, Defaults, HostEntry } from './schema.js'

/** A host and where its file speaks of it. */
export interface PlacedHost {
  readonly host: Host
  readonly line: number
  /** The line of what set its socket. */
  readonly socketLine: number
  readonly path: Path
}

/** One config file, checked by itself. */
export interface CheckedFile {
  readonly file: string
  readonly origin: Origin
  /** The hosts without problems of their own, in the order of the file. */
  readonly hosts: readonly PlacedHost[]
  /** Every name the file gives to a host, faulty hosts included, with its line. */
  readonly names: ReadonlyMap<string, number>
  readonly problems: readonly Problem[]
}

/** Checks the text of one config file. Relative paths in it count from its own directory. */
export const checkFile = (file: string, text: string, origin: Origin, env: Env): CheckedFile =>
  checkDocument(file, readDocument(text), origin, env)

/** The same, of a text that was read already. */
export const checkDocument = (
  file: string,
  document: ConfigDocument,
  origin: Origin,
  env: Env,
): CheckedFile => {
  const nothing = { file, origin, hosts: [], names: new Map<string, number>() }
  if (document.value === undefined) return { ...nothing, problems: document.problems }
  if (document.value === null) {
    const sentence = 'is empty: it must have at least hosts'
    return { ...nothing, problems: [{ line: 1, path: [], sentence }] }
  }
  const found = isLegacy(document.value)
    ? checkLegacy(document.value, document, dirname(file), env)
    : checkHosts(document, origin, dirname(file), env)
  const problems = [...document.problems, ...found.problems, ...socketProblems(found.hosts)]
  return { file, origin, ...found, problems }
}

type Found = Pick<CheckedFile, 'hosts' | 'names' | 'problems'>

const checkLegacy = (
  value: Record<string, unknown>,
  { lineOf }: ConfigDocument,
  dir: string,
  env: Env,
): Found => {
  const { host, problems } = legacyHost(value, { dir, env, lineOf })
  const line = lineOf(['ssh_host'])
  const names = new Map([['default', line]])
  if (host === undefined) return { hosts: [], names, problems }
  const socketLine = lineOf(['local_socket'])
  return { hosts: [{ host, line, socketLine, path: ['local_socket'] }], names, problems }
}

const checkHosts = ({ value, lineOf }: ConfigDocument, origin: Origin, dir: string, env: Env): Found => {
  const checked = ConfigFile.safeParse(value, { reportInput: true })
  const problems = problemsOf(checked.error?.issues ?? [], lineOf)
  const file = asRecord(value)
  const entries = Object.entries(asRecord(file.hosts))
  problems.push(
    ...nameProblems(entries, lineOf),
    ...commandProblems(file, origin, lineOf),
    ...twoWays(file, lineOf),
  )

  // Hosts that are right by themselves are looked at together even when others are not.
  const defaults = Defaults.safeParse(file.defaults ?? {}).data ?? {}
  const template = typeof file.socket === 'string' ? parseTemplate(file.socket) : undefined
  const secretStore = file.secretStore === 'file' ? 'file' : HOST_DEFAULTS.secretStore
  const common = template?.ok ? template.value : DEFAULT_SOCKET
  const hosts = entries.flatMap(([name, raw]): PlacedHost[] => {
    const entry = HostEntry.safeParse(raw).data
    if (entry === undefined || !NAME.test(name)) return []
    const path = ['hosts', name]
    const own = entry.socket === undefined ? ['socket'] : [...path, 'socket']
    const socketLine = entry.socket === undefined && file.socket === undefined ? lineOf(path) : lineOf(own)
    const host = hostOf(name, entry, { defaults, template: common, secretStore, dir, env })
    return [{ host, line: lineOf(path), socketLine, path }]
  })
  const names = new Map(entries.map(([name]) => [name, lineOf(['hosts', name])]))
  return { hosts, names, problems }
}

/** ProxyJump and ProxyCommand of one entry exclude each other: ssh_config(5) would take the first in silence. */
const twoWays = (file: Record<string, unknown>, lineOf: (path: Path) => number): Problem[] => {
  const entries = Object.entries(asRecord(file.hosts)).map(([name, entry]) => ({
    path: ['hosts', name],
    entry: asRecord(entry),
  }))
  return [{ path: ['defaults'], entry: asRecord(file.defaults) }, ...entries]
    .filter(({ entry }) => Object.hasOwn(entry, 'proxyJump') && Object.hasOwn(entry, 'proxyCommand'))
    .map(({ path }) => {
      const place = [...path, 'proxyCommand']
      return {
        line: lineOf(place),
        path: place,
        sentence: 'must not stand beside proxyJump; keep one of them',
      }
    })
}

const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : Object.create(null)

const nameProblems = (entries: readonly [string, unknown][], lineOf: (path: Path) => number): Problem[] => {
  const seen = new Map<string, string>()
  return entries.flatMap(([name]): Problem[] => {
    const path = ['hosts', name]
    const line = lineOf(path)
    if (name === '') return [{ line, path: ['hosts'], sentence: 'must not have an empty name' }]
    if (!NAME.test(name)) return [{ line, path, sentence: `the name of a host ${NAME_RULE}` }]
    const twin = seen.get(sameNameKey(name))
    seen.set(sameNameKey(name), twin ?? name)
    if (twin === undefined) return []
    const where = `"${twin}" on line ${lineOf(['hosts', twin])}`
    return [{ line, path, sentence: `is the same name as ${where}: letter case does not count` }]
  })
}

const socketProblems = (hosts: readonly PlacedHost[]): Problem[] => {
  const owners = new Map<string, Host>()
  return hosts.flatMap(({ host, path, socketLine: line }): Problem[] => {
    const owner = owners.get(host.socket)
    if (owner !== undefined) {
      const sentence = `has the same local socket as "${owner.name}": ${host.socket}`
      return [{ line, path, sentence }]
    }
    owners.set(host.socket, host)
    try {
      checkLength(host.socket)
      return []
    } catch (failure) {
      return [{ line, path, sentence: asDproxyError(failure).message }]
    }
  })
}
