import { printable } from '../../base/text.js'
import { hostPlaces, type HostPlace } from '../../registry/edit/places.js'
import { entryOfHost } from '../../registry/entry-of-host.js'
import { selectHosts } from '../../registry/select.js'
import { strings, type Command, type Words } from '../command.js'
import { whereOf } from './file.js'
import type { Io } from '../io.js'
import { paintFor, table } from '../paint.js'

export const hostShow: Command = {
  usage: 'show [names..]',
  aliases: ['ls'],
  summary: 'Show hosts with every default filled in, and the file and line each comes from',
  positionals: { names: 'Names or @tags; none: all' },
  examples: [
    ['dproxy host show prod', 'what dproxy makes of one host'],
    ['dproxy host show --json | jq -r .hosts[].name', 'for programs'],
  ],
  run: async (words, io) => {
    const places = await chosen(words, io)
    const shown = places.map(({ host, file, line }) => ({
      name: host.name,
      file,
      line,
      ...entryOfHost(host),
    }))
    if (words.json) io.out.write(`${JSON.stringify({ schemaVersion: 1, hosts: shown })}\n`)
    else io.out.write(places.map((place) => described(place, io)).join('\n'))
    return 0
  },
}

const chosen = async (words: Words, io: Io): Promise<HostPlace[]> => {
  const places = await hostPlaces(whereOf(words, io))
  const names = strings(words.names)
  const registry = { files: [], hosts: places.map(({ host }) => host) }
  const hosts = selectHosts(registry, names, { all: names.length === 0, env: io.env })
  return places.filter(({ host }) => hosts.includes(host))
}

/** One host, a line for each key that says something. */
const described = ({ host, file, line }: HostPlace, io: Io): string => {
  const paint = paintFor(io.out)
  const { keepAlive, ...entry } = entryOfHost(host)
  const rows = Object.entries({ ...entry, ...keepAliveRows(keepAlive) })
    .map(([key, value]) => [`  ${key}`, valueText(value)])
    .filter(([, value]) => value !== '')
  return `${paint.bold(host.name)}  ${paint.dim(`${printable(file)}:${line}`)}\n${table(rows)}`
}

const keepAliveRows = ({ interval, misses }: ReturnType<typeof entryOfHost>['keepAlive']) => ({
  'keepAlive.interval': interval,
  'keepAlive.misses': misses,
})

/** Nothing for what is off, empty, or left to ssh's own configuration. */
const valueText = (value: string | number | boolean | readonly string[] | null): string => {
  if (value === null || value === false) return ''
  return printable(typeof value === 'object' ? value.join(', ') : String(value))
}
