import { DproxyError } from '../../base/errors.js'
import type { Env } from '../../base/paths.js'
import { printable, shellWord } from '../../base/text.js'
import { checkDocument } from '../check.js'
import { readDocument, type ConfigDocument } from '../document.js'
import { sameNameKey } from '../host.js'
import { isLegacy } from '../legacy.js'
import { listSome } from '../list-some.js'
import { nearest } from '../nearest.js'
import { configInvalid, type Problem } from '../problems.js'
import { editCommand } from './edit-command.js'
import type { NewHost } from './entry.js'
import type { HostPlace } from './places.js'

/** What is beside a file that is changed: hosts of other files whose names and sockets are taken. */
interface Surroundings {
  readonly env: Env
  readonly others: readonly HostPlace[]
}

/**
 * A config file's text, read for an edit.
 * @throws DproxyError CONFIG_INVALID when it cannot be read, or describes a single host
 */
export const editable = (file: string, text: string, env: Env): ConfigDocument => {
  const document = readDocument(text)
  if (document.problems.length > 0) throw broken(file, document.problems, env)
  if (!isLegacy(document.value)) return document
  const word = shellWord(file)
  const what = `${printable(file)} describes a single host, and has no place for names`
  throw new DproxyError('CONFIG_INVALID', what, {
    hint: `turn it into a file of hosts first: dproxy host import ${word} --config ${word}`,
  })
}

/** The names that a file gives to hosts. */
export const namesIn = ({ value }: ConfigDocument): string[] => {
  const { hosts } = (value ?? {}) as { hosts?: unknown }
  return typeof hosts === 'object' && hosts !== null && !Array.isArray(hosts) ? Object.keys(hosts) : []
}

/** @throws DproxyError USAGE when a new host has the name of another one, whatever the letter case */
export const refuseTaken = (
  added: readonly NewHost[],
  file: string,
  document: ConfigDocument,
  { env, others }: Surroundings,
): void => {
  const taken = new Map(
    others.map((other) => [sameNameKey(other.host.name), [other.host.name, other.file, other.line] as const]),
  )
  for (const name of namesIn(document))
    taken.set(sameNameKey(name), [name, file, document.lineOf(['hosts', name])])
  const seen = new Set<string>()
  for (const { name } of added) {
    const owner = taken.get(sameNameKey(name))
    if (owner) throw isTaken(name, owner, env)
    if (seen.has(sameNameKey(name)))
      throw new DproxyError('USAGE', `the name "${printable(name)}" is given to two hosts at once`, {
        hint: 'letter case does not tell names apart; choose another one',
      })
    seen.add(sameNameKey(name))
  }
}

const isTaken = (
  name: string,
  [owner, file, line]: readonly [string, string, number],
  env: Env,
): DproxyError => {
  const where = `line ${line} of ${printable(file)}`
  return new DproxyError(
    'USAGE',
    `the name "${printable(name)}" is taken by "${printable(owner)}" on ${where}`,
    {
      hint: `choose another name, or change that host: ${editCommand(file, env, owner)}`,
    },
  )
}

/**
 * Names as the file spells them.
 * @throws DproxyError HOST_UNKNOWN for the first one that is not in the file
 */
export const namesAsIn = (file: string, document: ConfigDocument, names: readonly string[]): string[] => {
  const known = namesIn(document)
  return names.map((name) => {
    const own = known.includes(name) ? name : known.find((each) => sameNameKey(each) === sameNameKey(name))
    if (own !== undefined) return own
    const near = nearest(name, known)
    const what = `no host of ${printable(file)} is named "${printable(name)}"`
    throw new DproxyError('HOST_UNKNOWN', near === undefined ? what : `${what}; did you mean "${near}"?`, {
      hint: known.length === 0 ? 'it has no hosts' : `its hosts are ${printable(listSome(known))}`,
    })
  })
}

/**
 * @throws DproxyError CONFIG_INVALID when a file with this text would not load beside the `others`; what was
 * wrong `before` is told first
 */
export const refuseUnloadable = (
  file: string,
  after: ConfigDocument,
  before: ConfigDocument | undefined,
  { env, others }: Surroundings,
): void => {
  const { hosts, problems } = checkDocument(file, after, 'user', env)
  const owners = new Map(others.map((other) => [other.host.socket, other]))
  const clashes = hosts.flatMap(({ host, path, socketLine: line }): Problem[] => {
    const owner = owners.get(host.socket)
    if (!owner) return []
    return [{ line, path, sentence: `has the same local socket as "${owner.host.name}" of ${owner.file}` }]
  })
  const all = [...problems, ...clashes]
  if (all.length === 0) return
  const old = before === undefined ? [] : checkDocument(file, before, 'user', env).problems
  if (old.length > 0) throw broken(file, old, env)
  const what = `the file would not load:\n${configInvalid([{ file, problems: all }]).message}`
  throw new DproxyError('CONFIG_INVALID', what, { hint: 'nothing was written' })
}

const broken = (file: string, problems: readonly Problem[], env: Env): DproxyError =>
  new DproxyError('CONFIG_INVALID', configInvalid([{ file, problems }]).message, {
    hint: `nothing was written; correct it first: ${editCommand(file, env)}`,
  })
