import { DproxyError } from '../../base/errors.js'
import { list, printable, printableLines, shellWord } from '../../base/text.js'
import { fileToEdit, removalOf, removeHosts, type Removal } from '../../registry/edit/edit.js'
import { linesOfHost } from '../../registry/edit/hosts-text.js'
import { hostPlaces, type HostPlace } from '../../registry/edit/places.js'
import { sameNameKey } from '../../registry/host.js'
import { strings, type Command, type Words } from '../command.js'
import { say } from '../down.js'
import { whereOf } from './file.js'
import { statusNow } from '../hosts.js'
import type { Io } from '../io.js'
import { controlClient } from '../supervisor-process.js'

export const hostRm: Command = {
  usage: 'rm [names..]',
  aliases: ['remove'],
  summary: 'Remove hosts from your config file, with the comments directly above them',
  positionals: { names: 'Names of hosts' },
  options: { yes: { type: 'boolean', alias: 'y', describe: 'Do not ask' } },
  examples: [
    ['dproxy host rm lab', 'shows what goes, and asks'],
    ['dproxy host rm lab staging --yes', 'without asking'],
  ],
  run: async (words, io) => {
    const given = [...new Map(strings(words.names).map((name) => [sameNameKey(name), name])).values()]
    if (given.length === 0) {
      throw new DproxyError('USAGE', 'which host is to be removed?', { hint: 'name it: dproxy host rm NAME' })
    }
    const file = fileToEdit(whereOf(words, io))
    await refuseElsewhere(given, file, words, io)
    const removal = await removalOf(file, given, io.env)
    const { names, before } = removal
    const running = await runningAmong(names, io)
    if (words.yes !== true) await agreed(removal, file, running, words, io)
    const seen = words.yes === true ? undefined : before
    const changed = await removeHosts(file, names, { env: io.env, seen })
    if (words.json)
      io.out.write(`${JSON.stringify({ schemaVersion: 1, file: changed, removed: names, running })}\n`)
    say(io, words, `removed ${printable(list(names))} from ${printable(changed)}`)
    for (const name of running) say(io, words, `${name} still runs; to stop it: dproxy down ${name}`)
    return 0
  },
}

/** A host that a project's file describes is not removed from the user's own: it must be said where it is. */
const refuseElsewhere = async (
  names: readonly string[],
  file: string,
  words: Words,
  io: Io,
): Promise<void> => {
  const places = await hostPlaces(whereOf(words, io)).catch((): HostPlace[] => [])
  const other = places.find((place) => place.file !== file && names.some((name) => isNamed(place, name)))
  if (!other) return
  const { host, line } = other
  const where = printable(other.file)
  throw new DproxyError(
    'USAGE',
    `"${host.name}" is described in ${where}, line ${line}, not in ${printable(file)}`,
    {
      hint: `dproxy host rm ${host.name} --config ${shellWord(other.file)}`,
    },
  )
}

const isNamed = ({ host }: HostPlace, name: string): boolean => sameNameKey(host.name) === sameNameKey(name)

const agreed = async (
  { before, names }: Removal,
  file: string,
  running: readonly string[],
  words: Words,
  io: Io,
): Promise<void> => {
  const places = await hostPlaces({ ...whereOf(words, io), configFile: file }).catch((): HostPlace[] => [])
  const guarded = places.filter((place) => place.host.protected && names.some((name) => isNamed(place, name)))
  const notes = [
    ...guarded.map(({ host }) => `${host.name} is protected`),
    ...running.map((name) => `${name} is running, and goes on until: dproxy down ${name}`),
  ]
  if (!io.ask) {
    const why = notes.length > 0 ? ` (${notes.join('; ')})` : ''
    throw new DproxyError(
      'USAGE',
      `${printable(list(names))} would be removed${why}, and there is no terminal to ask at`,
      {
        hint: 'to remove without being asked, add --yes',
      },
    )
  }
  const lines = names.flatMap((name) => linesOfHost(before, name) ?? [])
  if (lines.length > 0)
    io.err.write(`these lines of ${printable(file)} go:\n${printableLines(lines.join('')).trimEnd()}\n`)
  for (const note of notes) io.err.write(`${note}\n`)
  const answer = await io.ask(`Remove ${printable(list(names))}? [y/N] `)
  if (/^y(es)?$/iu.test(answer.trim())) return
  throw new DproxyError('STOPPED', 'nothing was changed: the removal was not confirmed')
}

const runningAmong = async (names: readonly string[], io: Io): Promise<string[]> => {
  // The file can be changed whatever the supervisor says.
  const { hosts } = await statusNow(controlClient(io)).catch(() => ({ hosts: [] }))
  return hosts
    .filter(
      ({ name, state }) =>
        state !== 'stopped' && names.some((each) => sameNameKey(each) === sameNameKey(name)),
    )
    .map(({ name }) => name)
}
