import { asDproxyError, DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { sshUrl } from '../base/ssh-url.js'
import { checkLength } from '../base/unix-socket/path.js'
import { parseHostPort, parseSshUrl, type Destination } from './destination.js'
import { HOST_DEFAULTS, type Host } from './host.js'
import {
  absolutePath,
  DEFAULT_SOCKET,
  parsePath,
  parseRemoteSocket,
  parseTemplate,
  socketPath,
} from './local-path.js'
import { userNameProblem } from '../base/openssh-names.js'
import { bad, good, type Parsed } from './parsed.js'
import { parseSeconds } from './span.js'

/** The flags that describe a host which is in no file, as the command line gave them. */
export interface HostFlags {
  readonly sshHost?: string | undefined
  readonly sshUser?: string | undefined
  readonly sshKey?: string | undefined
  readonly localSocket?: string | undefined
  readonly remoteSocket?: string | undefined
  readonly timeout?: string | undefined
}

/**
 * The host that `dproxy up ssh://user@host:22` means; its name comes from its address.
 * @throws DproxyError USAGE; the URL is not repeated, since it may hold a password
 */
export const hostFromUrl = (url: string, env: Env): Host => {
  const destination = accept('the ssh:// address', parseSshUrl(url))
  const name = nameOf(destination)
  const typed = sshUrl(destination)
  return { ...HOST_DEFAULTS, ...destination, name, typed, socket: socketPath(DEFAULT_SOCKET, name, '/', env) }
}

/**
 * The host that `--ssh-host` and the flags beside it describe. Relative paths count from `cwd`.
 * @throws DproxyError USAGE naming the flag
 */
export const hostFromFlags = (flags: HostFlags, env: Env, cwd: string): Host => {
  const read = <T>(
    flag: string,
    text: string | undefined,
    parse: (text: string) => Parsed<T>,
  ): T | undefined => (text === undefined ? undefined : accept(flag, parse(text)))

  const place = read('--ssh-host', flags.sshHost, parseHostPort)
  if (place === undefined) {
    throw new DproxyError('USAGE', '--ssh-host is missing: the other flags describe that host', {
      hint: 'dproxy up --ssh-host HOST[:PORT] --ssh-user USER',
    })
  }
  const user = read('--ssh-user', flags.sshUser, parseUser) ?? null
  const key = read('--ssh-key', flags.sshKey, parsePath)
  const template = read('--local-socket', flags.localSocket, parseTemplate) ?? DEFAULT_SOCKET
  const remoteSocket = read('--remote-socket', flags.remoteSocket, parseRemoteSocket)
  const connectTimeoutMs = read('--timeout', flags.timeout, parseSeconds)
  const name = nameOf(place)
  const socket = socketPath(template, name, cwd, env)
  accept('--local-socket', fits(socket))
  return {
    ...HOST_DEFAULTS,
    ...place,
    name,
    typed: sshUrl({ ...place, user }),
    user,
    socket,
    identityFiles: key === undefined ? [] : [absolutePath(key, cwd, env)],
    remoteSocket: remoteSocket ?? HOST_DEFAULTS.remoteSocket,
    connectTimeoutMs: connectTimeoutMs ?? HOST_DEFAULTS.connectTimeoutMs,
  }
}

const accept = <T>(what: string, parsed: Parsed<T>): T => {
  if (parsed.ok) return parsed.value
  throw new DproxyError('USAGE', `${what} ${parsed.problem}`, { hint: 'see dproxy up --help' })
}

const parseUser = (text: string): Parsed<string> => {
  const problem = userNameProblem(text)
  return problem === undefined ? good(text) : bad(problem)
}

const fits = (socket: string): Parsed<string> => {
  try {
    checkLength(socket)
    return good(socket)
  } catch (failure) {
    return bad(`is too long: ${asDproxyError(failure).message}`)
  }
}

/** A name by the rule of names, lower-case since names ignore case; the port tells two of one address apart. */
const nameOf = ({ destination, port }: Pick<Destination, 'destination' | 'port'>): string => {
  const suffix = port === null || port === 22 ? '' : `-${port}`
  const word = destination
    .toLowerCase()
    .replaceAll(/[^a-z0-9_.-]+/gu, '-')
    .replace(/^[^a-z0-9]+/u, '')
    .slice(0, 63 - suffix.length)
  return (word || 'host') + suffix
}
