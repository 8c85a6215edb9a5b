/** What became known while a connection was made, as lines for people. */
import type { NegotiatedAlgorithms } from 'ssh2'
import { list, printable } from '../base/text.js'
import { fingerprint, keyType } from './known-hosts/fingerprint.js'
import { judge } from './known-hosts/judge.js'
import type { KnownHost } from './known-hosts/read.js'
import type { Story } from './login/story.js'
import { address, where, type Hop, type Resolved } from './target.js'

/** Where the target turned out to be, and by which files it is reached. */
export const resolvedFacts = (resolved: Resolved): string[] => {
  const { alias, host, identityFiles, knownHostsFiles, onlyOpenssh } = resolved
  const means = alias.toLowerCase() === host ? '' : `${alias} means `
  return [
    `${means}${where(resolved)}${routeOf(resolved)}`,
    `known_hosts files: ${list(knownHostsFiles) || 'none'}`,
    `identity files: ${list(identityFiles) || 'none'}`,
    ...(onlyOpenssh === null ? [] : [`goes through the system's ssh: ${onlyOpenssh}`]),
  ].map(printable)
}

const routeOf = ({ route }: Resolved): string => {
  switch (route.kind) {
    case 'direct':
      return ''
    case 'jump':
      return ` through ${list(route.hops.map(nameOfHop))}`
    case 'command':
      return ` through the command ${route.words.join(' ')}`
    default:
      return route satisfies never
  }
}

const nameOfHop = ({ destination, user, port }: Hop): string =>
  `${user === null ? '' : `${user}@`}${port === null ? destination : address({ host: destination, port })}`

/** The key that a server showed, the line that it is known by, and the algorithms agreed on. */
export const hostKeyFacts = (
  known: KnownHost,
  shown: Buffer,
  { kex, cs: { cipher } }: Pick<NegotiatedAlgorithms, 'kex' | 'cs'>,
): string[] => {
  const verdict = judge(known, shown)
  const places = verdict.kind === 'known' ? verdict.lines.map(({ file, line }) => `${file}:${line}`) : []
  return [
    `${keyType(shown)} ${fingerprint(shown)}`,
    ...places.map((place) => `known by ${place}`),
    `key exchange ${kex}, cipher ${cipher}`,
  ].map(printable)
}

/** What the server took, each thing that was put before it, and what kept us from more. */
export const loginFacts = ({ accepts, tried, problems }: Story): string[] => [
  ...(accepts ? [`the server takes ${printable(list(accepts)) || 'nothing'}`] : []),
  ...tried.map(({ what, result }) => `${what}: ${RESULT[result]}`),
  ...problems.map(({ why }) => why),
]

const RESULT = {
  refused: 'refused',
  more: 'accepted, but the server wants more',
  'not admitted': 'known there, but not let in',
} as const
