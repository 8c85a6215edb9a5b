import { DproxyError } from '../base/errors.js'
import { userConfigPath, type Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import { sameNameKey, type Host } from './host.js'
import { listSome } from './list-some.js'
import type { Registry } from './load.js'
import { nearest } from './nearest.js'

export interface Selection {
  readonly all: boolean
  /** For the place of the config in a hint. */
  readonly env?: Env
}

/**
 * The hosts that the words of a command line mean: names, and `@tag` for a group, both in any letter case;
 * each host once, in the order it was first meant. Without words: the only host there is.
 * @throws DproxyError CONFIG_MISSING without any host, HOST_UNKNOWN, or USAGE when words are missing
 */
export const selectHosts = (
  { files, hosts }: Registry,
  words: readonly string[],
  { all, env = process.env }: Selection,
): Host[] => {
  if (hosts.length === 0) throw noHosts(files.at(-1) ?? userConfigPath(env))
  if (all && words.length > 0) {
    throw new DproxyError('USAGE', '--all means every host: it takes no names beside it', {
      hint: 'leave out either --all or the names',
    })
  }
  if (all) return [...hosts]
  if (words.length > 0) return [...new Set(words.flatMap((word) => meantBy(word, hosts)))]
  if (hosts.length === 1) return [...hosts]
  throw new DproxyError('USAGE', `which host? There are ${listSome(hosts.map(({ name }) => name))}`, {
    hint: 'name one or more, or all of them with --all',
  })
}

const noHosts = (file: string): DproxyError =>
  new DproxyError('CONFIG_MISSING', 'no host is configured', {
    hint: `write ${printable(file)}, for example:
hosts:
  prod:
    ssh: ssh://user@prod.example.com:22`,
  })

const meantBy = (word: string, hosts: readonly Host[]): Host[] => {
  if (word.startsWith('@')) return tagged(word.slice(1), hosts)
  const found = hosts.find(({ name }) => sameNameKey(name) === sameNameKey(word))
  if (found !== undefined) return [found]
  const names = hosts.map(({ name }) => name)
  throw unknown(
    `no host is named "${printable(word)}"`,
    nearest(word, names),
    `the hosts are ${listSome(names)}`,
  )
}

const tagged = (tag: string, hosts: readonly Host[]): Host[] => {
  const found = hosts.filter(({ tags }) => tags.some((own) => sameNameKey(own) === sameNameKey(tag)))
  if (found.length > 0) return found
  const tags = [...new Set(hosts.flatMap((host) => host.tags))].map((own) => `@${own}`)
  const known = tags.length === 0 ? 'no host has a tag' : `the tags are ${listSome(tags)}`
  throw unknown(`no host has the tag "@${printable(tag)}"`, nearest(`@${tag}`, tags), known)
}

const unknown = (what: string, near: string | undefined, hint: string): DproxyError =>
  new DproxyError('HOST_UNKNOWN', near === undefined ? what : `${what}; did you mean "${near}"?`, { hint })
