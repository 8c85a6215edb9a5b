import { DproxyError, type ExitCode } from '../../base/errors.js'
import { list, printable, shellWord } from '../../base/text.js'
import type { Registry } from '../../registry/load.js'
import { text, type Words } from '../command.js'
import { registryOf } from '../hosts.js'
import type { Io } from '../io.js'
import { loadLockedKeys } from '../lazy.js'
import { placeOf, refuseUnknown, storesFor, storesUsedBy, type Place } from './place.js'

type LockedKey = Awaited<ReturnType<Awaited<ReturnType<typeof loadLockedKeys>>['lockedKeysOf']>>[number]

export const setSecret = async (words: Words, io: Io): Promise<ExitCode> => {
  const registry = await registryOf(words, io)
  const place = placeOf(words, registry)
  refuseUnknown(place, words, registry)
  const value = await (place.kind === 'passphrase'
    ? passphrase(place, words, io)
    : password(place, words, io))
  const store = (await storesFor(io))[place.store]
  await store.set(place, value, io.interrupted)
  if (words.json) {
    const { name, kind } = place
    io.out.write(`${JSON.stringify({ schemaVersion: 1, name, kind, store: place.store })}\n`)
  } else if (!words.quiet) {
    io.err.write(
      `stored the ${place.kind} of ${place.name} in ${store.describe()}\n${remark(place, registry)}`,
    )
  }
  return 0
}

const password = async ({ name }: Place, words: Words, io: Io): Promise<string> => {
  if (words.stdin === true) return usable(await piped(io), 'password')
  const ask = asker(words, io)
  const first = usable(await ask(`Password of ${name}: `), 'password')
  if (first === (await ask('The same again: '))) return first
  throw new DproxyError('USAGE', 'the two passwords differ; nothing was stored', { hint: 'try again' })
}

const passphrase = async ({ name, host }: Place, words: Words, io: Io): Promise<string> => {
  const { lockedKeysOf, targetOfAlias } = await loadLockedKeys()
  const keys = await lockedKeysOf(host ?? targetOfAlias(name), io.env, io.interrupted)
  const files = list(keys.map(({ file }) => printable(file)))
  const given = words.stdin === true ? await piped(io) : await asker(words, io)(`Passphrase of ${files}: `)
  const value = usable(given, 'passphrase')
  if (await opensOne(keys, value, io.interrupted)) return value
  throw new DproxyError('LOGIN_PASSPHRASE', `the passphrase does not open ${files}; nothing was stored`, {
    hint: `try again; ssh-keygen -y -f ${printable(keys[0]?.file ?? '')} asks for it, too`,
  })
}

const opensOne = async (keys: readonly LockedKey[], value: string, signal: AbortSignal): Promise<boolean> => {
  for (const key of keys) if (await key.opens(value, signal)) return true
  return false
}

const asker = (words: Words, { askSecret }: Io): ((question: string) => Promise<string>) => {
  if (askSecret) return (question) => askSecret(question)
  const name = shellWord(String(words.name))
  const flags = ['passphrase', 'alias'].filter((flag) => words[flag] === true).map((flag) => ` --${flag}`)
  const store = text(words.store) === undefined ? '' : ` --store ${text(words.store)}`
  throw new DproxyError('USAGE', 'there is no terminal to ask at', {
    hint: `pipe it in: pass show ${name} | dproxy secret set ${name}${flags.join('')}${store} --stdin`,
  })
}

// More than any server takes; what is longer is a file that was named by mistake.
const LONGEST_SECRET = 4096

/** All of standard input, without the newline that most programs print last. */
const piped = async ({ readStdin }: Io): Promise<string> => (await readStdin()).replace(/\r?\n$/u, '')

const usable = (value: string, what: string): string => {
  const why =
    value === ''
      ? `an empty ${what} is none`
      : /[\n\r]/u.test(value)
        ? `a ${what} is one line, and there are more`
        : value.includes('\0')
          ? `a ${what} must not have a NUL character`
          : value.length > LONGEST_SECRET
            ? `a ${what} of more than ${LONGEST_SECRET} characters is none`
            : undefined
  if (why === undefined) return value
  throw new DproxyError('USAGE', `${why}; nothing was stored`, { hint: `give the ${what} and nothing else` })
}

/** Why `up` may not use what was stored. */
const remark = ({ host, kind, name, store }: Place, { hosts }: Registry): string => {
  if (host?.[`${kind}Command`])
    return `note: it is not used while the config names a ${kind}Command for ${name}\n`
  // Any host may jump through an alias.
  if (storesUsedBy(host ? [host] : hosts).includes(store)) return ''
  return `note: \`up\` looks there only with \`secretStore: ${store}\` in the config\n`
}
