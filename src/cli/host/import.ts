import { DproxyError } from '../../base/errors.js'
import { count, printable } from '../../base/text.js'
import { addHosts, convertSingleHost, type EditOptions } from '../../registry/edit/edit.js'
import type { NewHost } from '../../registry/edit/entry.js'
import { hostPlaces, type HostPlace } from '../../registry/edit/places.js'
import type { Found } from '../../registry/import/candidate.js'
import { picked, planImport, type Plan } from '../../registry/import/plan.js'
import { text, type Command, type Words } from '../command.js'
import { say } from '../down.js'
import { editing, makePlace, whereOf } from './file.js'
import { nothingFound, sourceOf, type Source } from './import-source.js'
import type { Io, Output } from '../io.js'
import { cell, table } from '../paint.js'

export const hostImport: Command = {
  usage: 'import [words..]',
  summary: 'Add hosts of ssh, Docker or a file: shows them and asks once; patterns pick',
  positionals: {
    words:
      'Patterns such as prod-*; before them the file to read, if another one is meant (write it with a "/")',
  },
  options: {
    'ssh-config': {
      type: 'boolean',
      describe: "From ~/.ssh/config; or name a file first: --ssh-config ./file 'prod-*'",
    },
    'docker-contexts': { type: 'boolean', describe: 'From the Docker contexts with an ssh:// address' },
    name: { type: 'string', requiresArg: true, describe: 'What to call the host of a single-host file' },
    prefix: { type: 'string', requiresArg: true, describe: 'Put this before every name' },
    all: { type: 'boolean', describe: 'All of them, without being asked' },
    'dry-run': { type: 'boolean', describe: 'Show what would be added, and change nothing' },
  },
  examples: [
    ["dproxy host import --ssh-config 'prod-*'", 'the aliases of ~/.ssh/config that match'],
    [
      "dproxy host import --ssh-config ./team 'eu-*'",
      'those of another file; the "/" tells it from a pattern',
    ],
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
    const isAsked = plan.added.length > 0 && !isDry && !isChosen(source, words)
    // Whoever is asked must see what about; data is for the one document then.
    if (!words.json) report(plan, source.found, words, io, io.out)
    else if (isAsked && io.ask) report(plan, source.found, words, io, io.err)
    if (plan.added.length > 0 && !isDry) {
      if (isAsked) await agreed(plan, io)
      await write(file, plan.added, source, options, io)
    }
    summarise(plan, source.found, file, isDry, words, io)
    return plan.added.length > 0 || plan.skipped.every(({ known }) => known) ? 0 : 1
  },
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

const report = ({ added, skipped }: Plan, { notes }: Found, words: Words, io: Io, out: Output): void => {
  const rows = added.map(({ name, entry }) => [name, cell(entry.ssh), cell(entry.remoteSocket)])
  if (rows.length > 0) out.write(table([['HOST', 'SSH', 'REMOTE SOCKET'], ...rows]))
  for (const note of notes) io.err.write(`note: ${printable(note)}\n`)
  if (words.quiet) return
  for (const { name, reason } of skipped) io.err.write(`skipped ${name}: ${reason}\n`)
}

/** Who names patterns, one file or --all has chosen already. */
const isChosen = ({ isSingle, patterns }: Source, { all }: Words): boolean =>
  isSingle || patterns.length > 0 || all === true

const agreed = async ({ added }: Plan, io: Io): Promise<void> => {
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
    hint: "to pick some, name patterns: dproxy host import --ssh-config 'prod-*'",
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

const summarise = (
  { added, skipped }: Plan,
  found: Found,
  file: string,
  isDry: boolean,
  words: Words,
  io: Io,
): void => {
  if (words.json) {
    const hosts = added.map(({ name, entry }) => ({ name, ...entry }))
    const notes = found.notes.map(printable)
    io.out.write(
      `${JSON.stringify({ schemaVersion: 1, file, dryRun: isDry, added: hosts, skipped, notes })}\n`,
    )
    return
  }
  const what = isDry
    ? `${count(added.length, 'host')} would be added to`
    : `${count(added.length, 'host')} added to`
  say(io, words, `${what} ${printable(file)}${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`)
}
