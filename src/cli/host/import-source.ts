/** Where `dproxy host import` takes hosts from. */
import { isAbsolute, resolve } from 'node:path'
import { DproxyError } from '../../base/errors.js'
import { expandHome } from '../../base/paths.js'
import { list, printable } from '../../base/text.js'
import type { Found } from '../../registry/import/candidate.js'
import { singleFileHost } from '../../registry/import/single-host.js'
import { sshConfigHosts, userSshConfig } from '../../registry/import/ssh-config.js'
import { listSome } from '../../registry/list-some.js'
import { strings, text, type Words } from '../command.js'
import type { Io } from '../io.js'
import { loadDockerContexts } from '../lazy.js'

export interface Source {
  readonly found: Found
  readonly patterns: readonly string[]
  /** How to name it in a sentence. */
  readonly called: string
  /** The file it is read from, where there is one. */
  readonly file: string | undefined
  /** Whether it can only hold what the user meant. */
  readonly isSingle: boolean
}

/**
 * Reads the hosts that the words of a command line mean to import.
 * @throws DproxyError USAGE, CONFIG_MISSING, CONFIG_INVALID
 */
export const sourceOf = async (words: Words, io: Io): Promise<Source> => {
  const given = strings(words.words)
  const fromSsh = words['ssh-config'] === true
  const fromDocker = words['docker-contexts'] === true
  if (fromSsh && fromDocker) throw usage('--ssh-config and --docker-contexts are two imports')
  const name = text(words.name)
  if (name !== undefined && (fromSsh || fromDocker))
    throw usage('--name is for a single-host file; use --prefix')
  if (fromDocker) {
    const { dockerContextHosts } = await loadDockerContexts()
    const found = await dockerContextHosts(io.env)
    return { found, patterns: given, called: 'the Docker contexts', file: undefined, isSingle: false }
  }
  if (fromSsh) {
    const [first = '', ...rest] = given
    const file = first.includes('/') ? pathOf(first, io) : undefined
    const found = await sshHosts(file, io)
    const patterns = file === undefined ? given : rest
    const called = printable(file ?? userSshConfig(io.env))
    return { found, patterns, called, file: undefined, isSingle: false }
  }
  const [word, more] = given
  if (word === undefined) throw usage('import from where?')
  if (more !== undefined) throw usage('one single-host file at a time')
  const file = pathOf(word, io)
  const host = await singleFileHost(file, name ?? 'default', io.env)
  return { found: { hosts: [host], notes: [] }, patterns: [], called: printable(file), file, isSingle: true }
}

/** The aliases of ssh's own configuration, or of a file that ssh may not read by itself. */
const sshHosts = async (file: string | undefined, { env }: Io): Promise<Found> => {
  const own = userSshConfig(env)
  if (file === undefined) return sshConfigHosts(own, env)
  const { hosts, notes } = await sshConfigHosts(file, env)
  const known = await sshConfigHosts(own, env).then(
    (all) => all.hosts.map(({ name }) => name),
    (): string[] => [],
  )
  if (hosts.every(({ name }) => known.includes(name))) return { hosts, notes }
  const note = `ssh knows these hosts only once ${own} says: Include ${file}`
  return { hosts, notes: [...notes, note] }
}

const usage = (what: string): DproxyError =>
  new DproxyError('USAGE', what, {
    hint: 'dproxy host import --ssh-config, --docker-contexts, or FILE.yaml; see dproxy host import --help',
  })

const pathOf = (word: string, { cwd, env }: Io): string =>
  isAbsolute(word) ? word : resolve(cwd, expandHome(word, env))

/** Why there is nothing to import, and what there is instead. */
export const nothingFound = ({ found, patterns, called }: Source): DproxyError => {
  if (found.hosts.length === 0) {
    return new DproxyError(
      'HOST_UNKNOWN',
      `${called} ${called.startsWith('the ') ? 'name' : 'names'} no host to import`,
      {
        hint: found.notes[0] ?? 'add one by hand: dproxy host add NAME ssh://user@host',
      },
    )
  }
  const names = found.hosts.map(({ name }) => printable(name))
  return new DproxyError('HOST_UNKNOWN', `no host of ${called} matches ${printable(list(patterns))}`, {
    hint: `there are ${listSome(names)}`,
  })
}
