import { isAbsolute, resolve } from 'node:path'
import { DproxyError } from '../base/errors.js'
import { expandHome } from '../base/paths.js'
import { count, list, printable } from '../base/text.js'
import { addHosts, convertSingleHost, type EditOptions } from '../registry/edit/edit.js'
import type { NewHost } from '../registry/edit/entry.js'
import { hostPlaces, type HostPlace } from '../registry/edit/places.js'
import type { Found } from '../registry/import/candidate.js'
import { dockerContextHosts } from '../registry/import/docker-contexts.js'
import { picked, planImport, type Plan } from '../registry/import/plan.js'
import { singleFileHost } from '../registry/import/single-host.js'
import { sshConfigHosts, userSshConfig } from '../registry/import/ssh-config.js'
import { strings, text, type Command, type Words } from './command.js'
import { say } from './down.js'
import { editing, makePlace, whereOf } from './host-file.js'
import type { Io } from './io.js'
import { cell, table } from './paint.js'

export const hostImport: Command = {
  usage: 'import [words..]',
  summary: 'Add hosts that ssh, Docker or a single-host file know already',
  positionals: {
    words:
      'Patterns such as prod-*; before them the file to read, if another one is meant (write it with a "/")',
  },
  options: {
    'ssh-config': { type: 'boolean', describe: 'From ~/.ssh/config, or the file that is named' },
    'docker-contexts': { type: 'boolean', describe: 'From the Docker contexts with an ssh:// address' },
    name: { type: 'string', requiresArg: true, describe: 'What to call the host of a single-host file' },
    prefix: { type: 'string', requiresArg: true, describe: 'Put this before every name' },
    all: { type: 'boolean', describe: 'All of them, without being asked' },
    'dry-run': { type: 'boolean', describe: 'Show what would be added, and change nothing' },
  },
  examples: [
    ["dproxy host import --ssh-config 'prod-*'", 'the aliases of ~/.ssh/config that match'],
    ['dproxy host import --docker-contexts --all', 'every ssh:// context'],
    ['dproxy host import ./old.yaml --name prod', 'a single-host file, as the host prod'],
  ],
  run: async (words, io) => {
    const source = await sourceOf(words, io)
    const { file, ...options } = await editing(words, io)
    const chosen = picked(source.found.hosts, source.patterns)
    if (chosen.length === 0) throw nothingFound(source)
    const plan = planImport(chosen, text(words.prefix) ?? '', await present(file, source, words, io, options))
    const isDry = words['dry-run'] === true
    report(plan, source.found, words, io)
    if (plan.added.length > 0 && !isDry) {
      await agreed(plan, source, words, io)
      await write(file, plan.added, source, options, io)
    }
    summarise(plan, file, isDry, words, io)
    return plan.added.length > 0 || plan.skipped.every(({ known }) => known) ? 0 : 1
  },
}

interface Source {
  readonly found: Found
  readonly patterns: readonly string[]
  /** How to name it in a sentence. */
  readonly called: string
  /** The file it is read from, where there is one. */
  readonly file: string | undefined
  /** Whether it can only hold what the user meant. */
  readonly isSingle: boolean
}

const sourceOf = async (words: Words, io: Io): Promise<Source> => {
  const given = strings(words.words)
  const fromSsh = words['ssh-config'] === true
  const fromDocker = words['docker-contexts'] === true
  if (fromSsh && fromDocker) throw usage('--ssh-config and --docker-contexts are two imports')
  const name = text(words.name)
  if (name !== undefined && (fromSsh || fromDocker))
    throw usage('--name is for a single-host file; use --prefix')
  if (fromDocker) {
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
  const own = sshConfigHosts(userSshConfig(env), env)
  if (file === undefined) return own
  const { hosts, notes } = await sshConfigHosts(file, env)
  const known = await own.then(
    (all) => all.hosts.map(({ name }) => name),
    (): string[] => [],
  )
  if (hosts.every(({ name }) => known.includes(name))) return { hosts, notes }
  const note = `ssh knows these hosts only once ${userSshConfig(env)} says: Include ${file}`
  return { hosts, notes: [...notes, note] }
}

const usage = (what: string): DproxyError =>
  new DproxyError('USAGE', what, {
    hint: 'dproxy host import --ssh-config, --docker-contexts, or FILE.yaml; see dproxy host import --help',
  })

const pathOf = (word: string, { cwd, env }: Io): string =>
  isAbsolute(word) ? word : resolve(cwd, expandHome(word, env))

const nothingFound = ({ found, patterns, called }: Source): DproxyError => {
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
    hint: `there are ${list(names.length > 20 ? [...names.slice(0, 20), `${names.length - 20} more`] : names)}`,
  })
}

/** The hosts whose names are taken; a single-host file that is turned into a file of hosts holds none any more. */
const present = async (
  file: string,
  source: Source,
  words: Words,
  io: Io,
  { others }: Pick<EditOptions, 'others'>,
): Promise<HostPlace[]> => {
  if (source.file === file) return [...others]
  const own = await hostPlaces({ ...whereOf(words, io), configFile: file }).catch((failure: unknown) => {
    if (failure instanceof DproxyError && failure.code === 'CONFIG_MISSING') return []
    throw failure
  })
  return [...own, ...others]
}

const report = ({ added, skipped }: Plan, { notes }: Found, words: Words, io: Io): void => {
  if (words.json) return
  const rows = added.map(({ name, entry }) => [name, cell(entry.ssh), cell(entry.remoteSocket)])
  if (rows.length > 0) io.out.write(table([['HOST', 'SSH', 'REMOTE SOCKET'], ...rows]))
  for (const note of notes) io.err.write(`note: ${printable(note)}\n`)
  if (words.quiet) return
  for (const { name, reason } of skipped) io.err.write(`skipped ${name}: ${reason}\n`)
}

/** Who names patterns, one file or --all has chosen already. */
const agreed = async ({ added }: Plan, source: Source, words: Words, io: Io): Promise<void> => {
  if (source.isSingle || source.patterns.length > 0 || words.all === true) return
  if (!io.ask) {
    throw new DproxyError(
      'USAGE',
      `which of ${count(added.length, 'host')}? There is no terminal to ask at`,
      {
        hint: "name patterns, such as 'prod-*', or all of them with --all",
      },
    )
  }
  const answer = await io.ask(
    `Add ${added.length === 1 ? 'this host' : `these ${added.length} hosts`}? [y/N] `,
  )
  if (/^y(es)?$/iu.test(answer.trim())) return
  throw new DproxyError('STOPPED', 'nothing was changed: the import was not confirmed', {
    hint: "to choose, name patterns: dproxy host import --ssh-config 'prod-*'",
  })
}

const write = async (
  file: string,
  added: readonly NewHost[],
  source: Source,
  options: EditOptions,
  io: Io,
): Promise<void> => {
  await makePlace(file, io)
  if (source.file === file) await convertSingleHost(file, added, options)
  else await addHosts(file, added, options)
}

const summarise = ({ added, skipped }: Plan, file: string, isDry: boolean, words: Words, io: Io): void => {
  if (words.json) {
    const hosts = added.map(({ name, entry }) => ({ name, ...entry }))
    io.out.write(`${JSON.stringify({ schemaVersion: 1, file, dryRun: isDry, added: hosts, skipped })}\n`)
    return
  }
  const what = isDry
    ? `${count(added.length, 'host')} would be added to`
    : `${count(added.length, 'host')} added to`
  say(io, words, `${what} ${printable(file)}${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`)
}
