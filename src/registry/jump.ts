import { parseHostPort, parseSshUrl, type Destination } from './destination.js'
import { userNameProblem } from '../base/openssh-names.js'
import { bad, good, type Parsed } from './parsed.js'

// As many as anybody needs; a longer chain is a mistake.
const MOST_HOPS = 8

/** Reads `proxyJump`: `none`, or `[user@]host[:port]` or `ssh://…`, comma-separated, as ssh -J takes them. */
export const parseJumps = (text: string): Parsed<Destination[]> => {
  if (text === 'none') return good([])
  const hops: Destination[] = []
  for (const word of text.split(',')) {
    const hop = parseHop(word.trim())
    if (!hop.ok) return bad(hop.problem)
    hops.push(hop.value)
  }
  return hops.length > MOST_HOPS ? bad(`must not name more than ${MOST_HOPS} jump hosts`) : good(hops)
}

const parseHop = (word: string): Parsed<Destination> => {
  if (word === '') return bad('must be none, or aliases or user@host:port, comma-separated')
  if (word.startsWith('ssh://')) return parseSshUrl(word)
  const at = word.lastIndexOf('@')
  const user = at === -1 ? null : word.slice(0, at)
  if (user?.includes(':')) return bad('must not have a password: others could read it here')
  const problem = user === null ? undefined : userNameProblem(user)
  if (problem !== undefined) return bad(problem)
  const place = parseHostPort(word.slice(at + 1))
  return place.ok ? good({ ...place.value, user }) : place
}
