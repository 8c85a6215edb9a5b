import { parseHostPort } from './destination.js'
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
import { unknownKey, type Path, type Problem } from './problems.js'
import type { Env } from '../base/paths.js'
import { parseSeconds } from './span.js'

/** The keys of the single-host file. */
const KEYS = ['local_socket', 'ssh_user', 'ssh_host', 'ssh_key_path', 'remote_socket', 'timeout']

/** The name of the one host such a file describes. */
const NAME = 'default'

/** True for a mapping with keys of the single-host file and without `hosts`. */
export const isLegacy = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !Object.hasOwn(value, 'hosts') &&
  KEYS.some((key) => Object.hasOwn(value, key))

/**
 * The host of a single-host file. `ssh_host` is `host` or `host:port`; `timeout` a duration or a number of
 * seconds; relative paths count from `dir`. There is a host when there are no problems.
 */
export const legacyHost = (
  file: Record<string, unknown>,
  { dir, env, lineOf }: { dir: string; env: Env; lineOf: (path: Path) => number },
): { host?: Host; problems: Problem[] } => {
  const problems: Problem[] = []
  const report = (path: Path, sentence: string, line = lineOf(path)) =>
    problems.push({ line, path, sentence })

  for (const key of Object.keys(file)) {
    if (!KEYS.includes(key)) report([], unknownKey(key, KEYS), lineOf([key]))
  }

  const read = <T>(key: string, parse: (text: string) => Parsed<T>): T | undefined => {
    const given = file[key]
    if (given === undefined || given === null) return undefined
    const parsed = isText(given) ? parse(String(given)) : bad('must be text')
    if (parsed.ok) return parsed.value
    report([key], parsed.problem)
    return undefined
  }

  if (file.ssh_host === undefined) report(['ssh_host'], 'is missing')
  if (file.ssh_host === null) report(['ssh_host'], 'is empty; it must be a host or host:port')
  const place = read('ssh_host', parseHostPort)
  const user = read('ssh_user', parseUser)
  const key = read('ssh_key_path', parsePath)
  const socket = read('local_socket', parseTemplate)
  const remoteSocket = read('remote_socket', parseRemoteSocket)
  const connectTimeoutMs = read('timeout', parseSeconds)
  if (place === undefined || problems.length > 0) return { problems }

  const host: Host = {
    ...HOST_DEFAULTS,
    ...place,
    name: NAME,
    typed: NAME,
    user: user ?? null,
    identityFiles: key === undefined ? [] : [absolutePath(key, dir, env)],
    remoteSocket: remoteSocket ?? HOST_DEFAULTS.remoteSocket,
    socket: socketPath(socket ?? DEFAULT_SOCKET, NAME, dir, env),
    connectTimeoutMs: connectTimeoutMs ?? HOST_DEFAULTS.connectTimeoutMs,
  }
  return { host, problems }
}

// `ssh_user: 1000` is a number to YAML and a name to its author.
const isText = (given: unknown): given is string | number =>
  typeof given === 'string' || typeof given === 'number'

const parseUser = (text: string): Parsed<string> => {
  const problem = userNameProblem(text)
  return problem === undefined ? good(text) : bad(problem)
}
