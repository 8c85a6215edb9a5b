import { extname, resolve } from 'node:path'
import { DproxyError } from '../../base/errors.js'
import { expandHome, userConfigPath, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { readDocument, type ConfigDocument } from '../document.js'
import { isLegacy } from '../legacy.js'
import type { WhereToLook } from '../load.js'
import { changeConfigFile, changedMeanwhile } from './change-file.js'
import { readConfigFile } from '../read-file.js'
import { editCommand } from './edit-command.js'
import { refuseFaulty, type NewHost } from './entry.js'
import { proven, withHosts, withoutHosts, type Changed } from './hosts-text.js'
import type { HostPlace } from './places.js'
import { editable, namesAsIn, refuseTaken, refuseUnloadable } from './refuse.js'

/** The file that edits change: the one that is named, else the user's own; never a project's by itself. */
export const fileToEdit = ({ env, cwd, configFile }: WhereToLook): string => {
  const named = configFile ?? (env.DPROXY_CONFIG || undefined)
  if (named === '') throw new DproxyError('USAGE', '--config names no file', { hint: 'give it a path' })
  return named === undefined ? userConfigPath(env) : resolve(cwd, expandHome(named, env))
}

export interface EditOptions {
  readonly env: Env
  /** Hosts of other files that are read together with this one: their names and sockets are taken. */
  readonly others: readonly HostPlace[]
  /** Where an editor finds the schema of the file, for one that is made anew: a path or URL. */
  readonly schema: string
}

/**
 * Adds hosts to a config file, all of them or none; the file is made when there is none.
 * @returns the path of the file that was changed
 * @throws DproxyError USAGE for a name that is taken or a value that is wrong; CONFIG_INVALID when the file
 * would not load; NOT_SUPPORTED when it is written in a way that keeps us from changing it; and what
 * {@link changeConfigFile} throws. Nothing was written then
 */
export const addHosts = (file: string, added: readonly NewHost[], options: EditOptions): Promise<string> => {
  for (const host of added) refuseFaulty(host)
  return changeConfigFile(file, (before) => {
    const text = before ?? newFile(file, options.schema)
    const document = editable(file, text, options.env)
    refuseTaken(added, file, document, options)
    return loadable(file, () => withHosts(text, added), document, options)
  })
}

/** What is to be removed from a config file. */
export interface Removal {
  /** The file's text as it was looked at. */
  readonly before: string
  /** The hosts, as the file spells them. */
  readonly names: readonly string[]
}

/**
 * Looks at hosts that are to be removed, and changes nothing.
 * @throws DproxyError HOST_UNKNOWN for a name that is not in the file, CONFIG_MISSING without a file,
 * CONFIG_INVALID for one that cannot be read
 */
export const removalOf = async (file: string, names: readonly string[], env: Env): Promise<Removal> => {
  const before = await readConfigFile(file)
  if (before === undefined) {
    throw new DproxyError('CONFIG_MISSING', `there is no config file ${printable(file)}`, {
      hint: 'nothing was removed; dproxy host show tells which file each host is in',
    })
  }
  return { before, names: namesAsIn(file, editable(file, before, env), names) }
}

/**
 * Removes hosts from a config file, all of them or none.
 * @param seen the text that a person has agreed to remove them from
 * @returns as {@link addHosts}
 * @throws DproxyError CONFIG_CHANGED when the file is no longer as it was seen, HOST_UNKNOWN for a name that is
 * not in it; else as {@link addHosts}
 */
export const removeHosts = (
  file: string,
  names: readonly string[],
  { env, seen }: { readonly env: Env; readonly seen?: string | undefined },
): Promise<string> =>
  changeConfigFile(file, (before = '') => {
    if (seen !== undefined && before !== seen) throw changedMeanwhile(file)
    const document = editable(file, before, env)
    const own = namesAsIn(file, document, names)
    return loadable(file, () => withoutHosts(before, own), document, { env, others: [] })
  })

/**
 * Replaces the text of a config file by one that a person has edited.
 * @throws DproxyError CONFIG_CHANGED when the file is no longer as `before`; else as {@link addHosts}
 */
export const replaceText = (
  file: string,
  before: string | undefined,
  after: string,
  env: Env,
): Promise<string> =>
  changeConfigFile(file, (now) => {
    if (now !== before) throw changedMeanwhile(file)
    refuseUnloadable(file, readDocument(after), undefined, { env, others: [] })
    return after
  })

/**
 * Turns a single-host file into a file of hosts, in its place; what it said stays in it as comments.
 * @throws DproxyError as {@link addHosts}
 */
export const convertSingleHost = (
  file: string,
  added: readonly NewHost[],
  options: EditOptions,
): Promise<string> => {
  for (const host of added) refuseFaulty(host)
  return changeConfigFile(file, (before = '') => {
    if (!isLegacy(readDocument(before).value)) throw changedMeanwhile(file)
    const empty = newFile(file, options.schema)
    const old = before
      .trimEnd()
      .split(/\r?\n/u)
      .map((line) => `# ${line}`.trimEnd())
      .join('\n')
    const text = extname(file) === '.json' ? empty : `${empty}\n# Before:\n${old}\n`
    return loadable(file, () => withHosts(text, added), undefined, options)
  })
}

/** What a new config file begins with. */
export const newFile = (file: string, schema: string): string =>
  extname(file) === '.json'
    ? '{\n  "hosts": {}\n}\n'
    : `# yaml-language-server: $schema=${schema}\n# The hosts of dproxy. An editor that knows the line above lists every key.\nhosts: {}\n`

/** The changed text, when a config file may hold it. Read once: under the lock, others wait. */
const loadable = (
  file: string,
  change: () => Changed,
  before: ConfigDocument | undefined,
  options: Pick<EditOptions, 'env' | 'others'>,
): string => {
  const { text, after } = possible(file, change, options.env)
  refuseUnloadable(file, after, before, options)
  return text
}

/** A change that is {@link proven}; where it is not possible, with the command for this very file. */
const possible = (file: string, change: () => Changed, env: Env): { text: string; after: ConfigDocument } => {
  try {
    const changed = change()
    const after = readDocument(changed.text)
    return { text: proven(changed, after), after }
  } catch (failure) {
    if (!(failure instanceof DproxyError) || failure.code !== 'NOT_SUPPORTED') throw failure
    throw new DproxyError('NOT_SUPPORTED', failure.message, {
      hint: `change it by hand: ${editCommand(file, env)}`,
      cause: failure,
    })
  }
}
