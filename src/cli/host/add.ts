import { printable } from '../../base/text.js'
import { addHosts } from '../../registry/edit/edit.js'
import type { NewHost } from '../../registry/edit/entry.js'
import { strings, text, type Command, type Words } from '../command.js'
import { say } from '../down.js'
import { editing, makePlace, pathForFile } from './file.js'
import type { Io } from '../io.js'

const ONCE = { type: 'string', requiresArg: true } as const
const OFTEN = { ...ONCE, array: true } as const

export const hostAdd: Command = {
  usage: 'add <name> <ssh>',
  summary: 'Add a host to your config file; it is made when there is none',
  positionals: {
    name: 'What to call it',
    ssh: 'Where to log in: ssh://[user@]host[:port], or any alias that ssh itself understands',
  },
  options: {
    'identity-file': { ...OFTEN, describe: 'A private key to log in with; may be given several times' },
    jump: { ...ONCE, describe: 'Hosts to jump through, comma-separated' },
    'known-hosts': { ...OFTEN, describe: 'A known_hosts file; may be given several times' },
    socket: { ...ONCE, describe: 'The local socket; default: /tmp/docker-NAME.sock' },
    'remote-socket': { ...ONCE, describe: "The engine's socket over there; default: auto" },
    tag: {
      ...OFTEN,
      describe: 'A word to choose hosts by, as in `dproxy up @eu`; may be given several times',
    },
    description: { ...ONCE, describe: 'A line about the host, for people' },
    protected: { type: 'boolean', describe: 'Ask before anything that stops the host or cuts its streams' },
  },
  examples: [
    ['dproxy host add prod ssh://deploy@prod.example.com:22 --tag live --protected', 'by its address'],
    ['dproxy host add lab lab-fra', 'by an alias of ~/.ssh/config, which keeps all the rest'],
    ['dproxy host add inner me@10.0.0.9 --jump bastion', 'through another host'],
  ],
  run: async (words, io) => {
    const added = newHost(words, io)
    const { file, ...options } = await editing(words, io)
    await makePlace(file, io)
    const changed = await addHosts(file, [added], options)
    if (words.json) {
      io.out.write(`${JSON.stringify({ schemaVersion: 1, file: changed, added: [added.name] })}\n`)
      return 0
    }
    const from = words.config === undefined ? '' : ` --config ${printable(words.config)}`
    say(io, words, `added ${added.name} to ${printable(changed)}; start it: dproxy up ${added.name}${from}`)
    return 0
  },
}

const newHost = (words: Words, io: Io): NewHost => {
  const path = (key: string): string | undefined => {
    const given = text(words[key])
    return given === undefined ? undefined : pathForFile(given, io)
  }
  const paths = (key: string): string | string[] | undefined => {
    const given = strings(words[key]).map((each) => pathForFile(each, io))
    return given.length > 1 ? given : given[0]
  }
  const tags = strings(words.tag)
  const entry = {
    ssh: text(words.ssh) ?? '',
    description: text(words.description),
    tags: tags.length > 0 ? tags : undefined,
    protected: words.protected === true ? true : undefined,
    identityFile: paths('identity-file'),
    knownHostsFile: paths('known-hosts'),
    proxyJump: text(words.jump),
    remoteSocket: text(words['remote-socket']),
    socket: path('socket'),
  }
  const given = Object.entries(entry).filter(([, value]) => value !== undefined)
  return { name: text(words.name) ?? '', entry: { ssh: entry.ssh, ...Object.fromEntries(given) } }
}
