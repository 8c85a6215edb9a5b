import { isIPv6 } from 'node:net'
import { hostNameProblem, userNameProblem } from '../../base/openssh-names.js'
import { count, printable } from '../../base/text.js'
import type { Hop, Target } from '../target.js'
import { notObeyed } from './not-obeyed.js'
import { expandTokens, type Tokens } from './tokens.js'

/**
 * The jump hosts that a ProxyJump of ssh_config names: `[user@]host[:port]` or an ssh:// URI each, separated by
 * commas, in the order they are gone through.
 * @throws DproxyError CONFIG_INVALID
 */
export const parseHops = (text: string, tokens: Tokens): readonly Hop[] =>
  text.split(',').map((word) => parseHop(word, tokens))

/** A jump host as a target, and whose way it lies on. */
export interface HopTarget extends Target {
  /** The target that was asked for, and those of its jump hosts that are behind this one. */
  readonly cameFrom: readonly Hop[]
}

/**
 * A jump host as a target of its own: ssh's own configuration says how to log in there, as for `ssh -J`.
 * @param isThroughAnother it is reached through the hop before it, whatever its own configuration says
 */
export const targetOfHop = (hop: Hop, from: Target | HopTarget, isThroughAnother = false): HopTarget => ({
  typed: from.typed,
  destination: hop.destination,
  user: hop.user,
  port: hop.port,
  identityFiles: [],
  identitiesOnly: false,
  knownHostsFiles: null,
  proxyJump: isThroughAnother ? [] : null,
  proxyCommand: null,
  transport: 'ssh2',
  connectTimeoutMs: from.connectTimeoutMs,
  keepAlive: { intervalMs: null, misses: null },
  cameFrom: [...cameFromOf(from), from],
})

/**
 * Refuses a jump host that lies on its own way: ssh would start itself over and over.
 * @throws DproxyError CONFIG_INVALID
 */
export const refuseCircle = (target: Target | HopTarget): void => {
  const cameFrom = cameFromOf(target)
  if (!cameFrom.some((hop) => isSame(hop, target))) return
  const name = nameOf(target)
  const circle = `the jump hosts lead round in a circle: ${[...cameFrom, target].map(nameOf).join(' → ')}`
  const [first, ...others] = cameFrom
  if (others.length === 0 && first && 'proxyJump' in first && first.proxyJump !== null) {
    throw notObeyed(circle, `take ${name} out of its own \`proxyJump:\`, or name it there by another address`)
  }
  throw notObeyed(
    circle,
    `let ${name} be reached directly: put "ProxyJump none" under "Host ${printable(target.destination)}", above the other`,
  )
}

/** @throws DproxyError CONFIG_INVALID when `hops` and those already known are too many */
export const refuseTooMany = (target: Target | HopTarget, hops: readonly Hop[]): void => {
  if (cameFromOf(target).length + hops.length <= MOST_HOPS) return
  throw notObeyed(
    `${nameOf(target)} is behind more than ${count(MOST_HOPS, 'jump host')}`,
    `see where ssh's configuration leads: ssh -G ${nameOf(target)}`,
  )
}

// More than anybody needs; a longer chain is a mistake, or a configuration that makes up names without end.
const MOST_HOPS = 8

const cameFromOf = (target: Target | HopTarget): readonly Hop[] =>
  'cameFrom' in target ? target.cameFrom : []

const isSame = (one: Hop, other: Hop): boolean =>
  one.destination === other.destination && one.user === other.user && one.port === other.port

const nameOf = ({ destination, user, port }: Hop): string => {
  const host = port !== null && destination.includes(':') ? `[${destination}]` : destination
  return printable(`${user === null ? '' : `${user}@`}${host}${port === null ? '' : `:${port}`}`)
}

const parseHop = (word: string, tokens: Tokens): Hop => {
  const uri = /^ssh:\/\/([^/]*)\/?$/iu.exec(word)?.[1]
  const text = uri ?? word
  const at = text.lastIndexOf('@')
  const place = text.slice(at + 1)
  const [, bracketed, plain, portText] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/u.exec(isIPv6(place) ? `[${place}]` : place) ?? []
  const destination = expand(bracketed ?? plain ?? '', tokens)
  const user = at === -1 ? null : userOf(text.slice(0, at), tokens, uri !== undefined)
  const port = portText === undefined ? null : Number(portText)
  const problem =
    hostNameProblem(destination) ??
    (user === null ? undefined : userNameProblem(user)) ??
    (port === null || (port > 0 && port < 65_536) ? undefined : 'must have a port from 1 to 65535')
  if (problem === undefined) return { destination, user, port }
  throw notObeyed(
    `the jump host "${printable(word)}" of ssh's configuration ${problem}`,
    'write it as user@host:port: man ssh_config, ProxyJump',
  )
}

const userOf = (text: string, tokens: Tokens, encoded: boolean): string => {
  if (!encoded) return expand(text, tokens)
  try {
    return decodeURIComponent(text)
  } catch {
    return expand(text, tokens)
  }
}

const expand = (text: string, tokens: Tokens): string => expandTokens(text, tokens, 'ProxyJump')
