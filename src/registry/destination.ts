import { isIPv6 } from 'node:net'
import { hostNameProblem, userNameProblem } from '../base/openssh-names.js'
import { bad, good, type Parsed } from './parsed.js'

/** Where to log in. null means: what ssh's own configuration says. */
export interface Destination {
  readonly destination: string
  readonly user: string | null
  readonly port: number | null
}

const BRACKETS = 'must have an IPv6 address in brackets: [::1]:22'

/**
 * Reads what `ssh:` may hold: `ssh://[user@]host[:port]` (RFC 3986 authority, as ssh(1) takes it) or, as on
 * ssh's command line, an alias or host with an optional `user@`. Problems never repeat the text: it may hold a
 * password.
 */
export const parseDestination = (text: string): Parsed<Destination> => {
  if (text === '') return bad('must be an alias of ssh, or ssh://user@host:port')
  if (text.startsWith('ssh://')) return parseSshUrl(text)
  if (/^[a-z][a-z0-9+.-]*:\/\//iu.test(text)) return bad('must start with ssh:// or be an alias of ssh')
  return parseWord(text)
}

/** Reads `ssh://[user@]host[:port]`; a final `/` is allowed, nothing else behind it. */
export const parseSshUrl = (url: string): Parsed<Destination> => {
  const [, authority = '', rest = ''] = /^ssh:\/\/([^/?#]*)(.*)$/su.exec(url) ?? []
  if (!url.startsWith('ssh://')) return bad('must start with ssh://')
  const at = authority.lastIndexOf('@')
  const user = at === -1 ? good(null) : parseUrlUser(authority.slice(0, at))
  if (!user.ok) return user
  if (rest.startsWith('?')) return bad('must not have a query ("?…")')
  if (rest.startsWith('#')) return bad('must not have a fragment ("#…")')
  if (rest !== '' && rest !== '/') {
    return bad("must not have a path; the engine's socket belongs in remoteSocket")
  }
  const hostPort = authority.slice(at + 1)
  if (isIPv6(hostPort)) return bad(BRACKETS)
  const place = parseHostPort(hostPort)
  return place.ok ? good({ ...place.value, user: user.value }) : place
}

/** Reads `host`, `host:port`, an IPv6 address, or `[address]:port`. */
export const parseHostPort = (text: string): Parsed<Omit<Destination, 'user'>> => {
  if (isIPv6(text)) return good({ destination: text, port: null })
  const [, bracketed, plain = '', portText] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/su.exec(text) ?? []
  // RFC 6874 writes the "%" before a zone as "%25".
  const host = bracketed?.replace('%25', '%') ?? plain
  if (bracketed !== undefined && !isIPv6(host)) return bad('must have an IPv6 address between "[" and "]"')
  if (host === '' && /^[^[]*:.*:/su.test(text)) return bad(BRACKETS)
  if (host === '' && text.includes('[')) return bad('must have an IPv6 address between "[" and "]"')
  if (bracketed === undefined && host.includes('%')) return bad('must not have % in the host name')
  const problem = host.includes('@')
    ? 'must be a host alone; its user is named beside it'
    : hostNameProblem(host)
  if (problem !== undefined) return bad(problem)
  if (portText === undefined) return good({ destination: host, port: null })
  const port = /^\d{1,5}$/u.test(portText) ? Number(portText) : 0
  if (port < 1 || port > 65_535) return bad('must have a port from 1 to 65535 behind the ":"')
  return good({ destination: host, port })
}

const parseUrlUser = (text: string): Parsed<string> => {
  if (text.includes(':')) return bad('must not have a password: others could read it here')
  try {
    const user = decodeURIComponent(text)
    const problem = userNameProblem(user)
    return problem === undefined ? good(user) : bad(problem)
  } catch {
    return bad('must have two hexadecimal digits of UTF-8 behind every "%"')
  }
}

const parseWord = (text: string): Parsed<Destination> => {
  const at = text.lastIndexOf('@')
  const user = at === -1 ? null : text.slice(0, at)
  if (user?.includes(':')) return bad('must not have a password: others could read it here')
  const host = text.slice(at + 1)
  if (host.includes(':') && !isIPv6(host)) return bad('must be ssh://user@host:port when it names a port')
  const problem = (user === null ? undefined : userNameProblem(user)) ?? hostNameProblem(host)
  return problem === undefined ? good({ destination: host, user, port: null }) : bad(problem)
}
