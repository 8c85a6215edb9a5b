import { DproxyError } from '../base/errors.js'
import { printable, shellWord } from '../base/text.js'
import type { Host } from '../registry/host.js'
import { listSome } from '../registry/list-some.js'
import { text, type Command, type Words } from './command.js'
import { askOnTerminal } from './ask-on-terminal.js'
import type { Io } from './io.js'
import { loadTrust } from './lazy.js'
import { paintFor, table } from './paint.js'
import { chooseHosts } from './up/hosts.js'

type Look = Awaited<ReturnType<Awaited<ReturnType<typeof loadTrust>>['lookForTrust']>>

export const trust: Command = {
  usage: 'trust <name>',
  summary: "Show a server's host key, and store it once you accept it",
  positionals: { name: 'The host: a name of the config or ssh://user@host:port' },
  options: {
    fingerprint: {
      type: 'string',
      requiresArg: true,
      describe: 'Accept the key without being asked if this is its fingerprint: SHA256:…',
    },
  },
  examples: [
    ['dproxy trust prod', 'compare the fingerprint, then say yes'],
    ['dproxy trust prod --fingerprint SHA256:vHG2…', 'for scripts: accept this key and no other'],
  ],
  run: async (words, io) => {
    const host = await theHost(words, io)
    const { lookForTrust } = await loadTrust()
    const look = await lookForTrust(host, {
      env: io.env,
      agentSocket: io.env.SSH_AUTH_SOCK || null,
      ask: askOnTerminal(io, host.name),
      signal: io.interrupted,
    })
    const isKnown = look.verdict === 'known'
    const isAsked = !isKnown && !look.refusal && words.fingerprint === undefined && io.ask !== undefined
    // Whoever is asked must see what about.
    if (isAsked || !(words.json || words.quiet)) show(host.name, look, io)
    if (look.refusal) throw look.refusal
    refuseOther(look, words)
    if (isKnown) return told(host.name, look, null, words, io)
    await accepted(host.typed, look, words, io)
    return told(host.name, look, await look.accept(), words, io)
  },
}

/** @throws DproxyError USAGE for a tag of several hosts: each key is compared by itself */
const theHost = async (words: Words, io: Io): Promise<Host> => {
  const word = text(words.name) ?? ''
  const [host, ...more] = await chooseHosts({ ...words, names: [word] }, io)
  if (host && more.length === 0) return host
  const names = [host, ...more].flatMap((each) => each?.name ?? [])
  throw new DproxyError('USAGE', `${printable(word)} means ${listSome(names)}, and each has its own key`, {
    hint: `name one of them: dproxy trust ${names[0]}`,
  })
}

/** What the server showed beside what the files hold, column under column. */
const show = (name: string, { address, shown, lines }: Look, io: Io): void => {
  const paint = paintFor(io.err)
  const row = (what: string, key: { type: string; fingerprint: string }, place = '') => [
    what,
    key.type,
    key.fingerprint,
    paint.dim(place),
  ]
  io.err.write(`${name}: the host key of ${address}\n`)
  io.err.write(
    table([
      row('  shown', shown),
      ...lines.map((line) => row('  stored', line, `${printable(line.file)}:${line.line}`)),
    ]),
  )
}

/** @throws DproxyError HOST_KEY_UNKNOWN when a fingerprint was given, and it is that of another key */
const refuseOther = ({ shown }: Look, { fingerprint }: Words): void => {
  if (typeof fingerprint !== 'string' || fingerprint === shown.fingerprint) return
  throw new DproxyError(
    'HOST_KEY_UNKNOWN',
    `the server showed ${shown.fingerprint}, not ${printable(fingerprint)}; nothing was stored`,
    { stage: 'host key', hint: 'ask whoever runs the server for its fingerprint (there: ssh-keygen -lf)' },
  )
}

/** Returns when the person, or the fingerprint given, says that this is the key. */
const accepted = async (typed: string, { shown }: Look, { fingerprint }: Words, io: Io): Promise<void> => {
  if (typeof fingerprint === 'string') return
  if (!io.ask) {
    throw new DproxyError(
      'HOST_KEY_UNKNOWN',
      `the host key is not known (${shown.type} ${shown.fingerprint}), and there is no terminal to ask at`,
      {
        stage: 'host key',
        hint: `compare it with the server's own, then: dproxy trust ${shellWord(typed)} --fingerprint ${shown.fingerprint}`,
      },
    )
  }
  io.err.write("Compare it with the server's own (there: ssh-keygen -lf, or ask whoever runs it).\n")
  const answer = (await io.ask('Trust this key? [yes, no, or the fingerprint] ')).trim()
  if (/^yes$/iu.test(answer) || answer === shown.fingerprint) return
  throw new DproxyError('HOST_KEY_UNKNOWN', 'the host key was not accepted; nothing was stored', {
    stage: 'host key',
  })
}

const told = (
  name: string,
  { address, shown, verdict, lines }: Look,
  stored: { file: string; line: number } | null,
  { json, quiet }: Words,
  io: Io,
): number => {
  if (json) {
    const document = { schemaVersion: 1, host: name, address, verdict, key: shown, known: lines, stored }
    io.out.write(`${JSON.stringify(document)}\n`)
  } else if (!quiet) {
    const where = stored ? `stored in ${printable(stored.file)}:${stored.line}` : 'known already'
    io.err.write(`${name}: ${where}\n`)
  }
  return 0
}
