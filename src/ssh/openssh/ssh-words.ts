import { resolve } from 'node:path'
import { DproxyError } from '../../base/errors.js'
import { hostNameProblem, userNameProblem } from '../../base/openssh-names.js'
import type { Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import type { Hop, Resolved, Target } from '../target.js'
import { CONTROL_SOCKET } from './lane-dir.js'

/**
 * The words that make `ssh` log in, take no forwarding, session or command of anybody's, and wait at its
 * control socket in the present directory. What the user's configuration says about reaching the host, its key
 * and the login stays in force, but for what the target names itself; ssh takes the first value it meets
 * (ssh_config(5)), and the command line comes first. `version`: OpenSSH's, as 9.2.
 * @throws DproxyError CONFIG_INVALID for what must not become a word
 */
export const sshWords = (target: Target, resolved: Resolved, env: Env, version: number): string[] => [
  ...fileWords(env),
  '-N',
  '-T',
  ...OURS,
  ...(version >= 8.7 ? ['-o', 'ForkAfterAuthentication=no'] : []),
  ...options({
    ServerAliveInterval: seconds(resolved.keepAlive.intervalMs),
    ServerAliveCountMax: String(resolved.keepAlive.misses),
    ConnectTimeout: seconds(resolved.connectTimeoutMs),
    ...(target.knownHostsFiles && { UserKnownHostsFile: target.knownHostsFiles.map(asPath).join(' ') }),
    ...(target.identitiesOnly || target.identityFiles.length > 0 ? { IdentitiesOnly: 'yes' } : {}),
    ...proxyOptions(target, resolved),
  }),
  ...target.identityFiles.flatMap((file) => ['-o', `IdentityFile=${asPath(file)}`]),
  ...destinationWords(target, resolved),
]

/** The words that name the same login to `ssh`, for a command that the user can type. */
export const typedWords = (target: Target, resolved: Resolved, env: Env): string =>
  [
    ...fileWords(env),
    ...target.identityFiles.flatMap((file) => ['-i', file]),
    ...(target.knownHostsFiles
      ? ['-o', `UserKnownHostsFile=${target.knownHostsFiles.map(asPath).join(' ')}`]
      : []),
    ...destinationWords(target, resolved).filter((word) => word !== '--'),
  ]
    .map((word) =>
      /^[\w@%+=:,./-]+$/u.test(word) ? word : `'${printable(word).replaceAll("'", String.raw`'\''`)}'`,
    )
    .join(' ')

/** What makes the proxy command's own words reach it, whatever is in them. */
export const sshEnvironment = (
  target: Target,
  resolved: Resolved,
  env: Env,
): Record<string, string | undefined> => ({
  ...env,
  // What ssh says is read, so it must be in its own words.
  LC_ALL: 'C',
  // Nobody is there to answer a window.
  SSH_ASKPASS_REQUIRE: 'never',
  ...Object.fromEntries(proxyCommandOf(target, resolved).map((word, at) => [`${PROXY_WORD}${at}`, word])),
})

const options = (values: Record<string, string>): string[] =>
  Object.entries(values).flatMap(([keyword, value]) => ['-o', `${keyword}=${value}`])

const OURS = options({
  BatchMode: 'yes',
  // A control socket of our own: never the user's connection, and never theirs through ours.
  ControlMaster: 'yes',
  ControlPath: CONTROL_SOCKET,
  ControlPersist: 'no',
  // Nothing of what the user has configured for a session there.
  ClearAllForwardings: 'yes',
  ForwardAgent: 'no',
  ForwardX11: 'no',
  Tunnel: 'no',
  PermitLocalCommand: 'no',
  RemoteCommand: 'none',
  EscapeChar: 'none',
  // Promise 4: a key that is not known is refused, also where ssh was told to accept it (`no`, `accept-new`).
  StrictHostKeyChecking: 'yes',
  NoHostAuthenticationForLocalhost: 'no',
  // Nothing is stored that nobody was asked about.
  UpdateHostKeys: 'no',
  VisualHostKey: 'no',
  ConnectionAttempts: '1',
  // Names the stages as they pass, and the key that was shown.
  LogLevel: 'DEBUG1',
})

const fileWords = ({ DPROXY_SSH_CONFIG: file }: Env): string[] =>
  file ? ['-F', file === 'none' ? file : resolve(file)] : []

const destinationWords = (target: Target, { alias }: Resolved): string[] => {
  check(hostNameProblem(alias), alias)
  if (target.user !== null) check(userNameProblem(target.user), target.user)
  return [
    ...(target.user === null ? [] : ['-l', target.user]),
    ...(target.port === null ? [] : ['-p', String(target.port)]),
    ...(target.proxyJump && target.proxyJump.length > 0
      ? ['-J', target.proxyJump.map(hopWord).join(',')]
      : []),
    '--',
    alias,
  ]
}

const hopWord = ({ destination, user, port }: Hop): string => {
  check(hostNameProblem(destination), destination)
  if (user !== null) check(userNameProblem(user), user)
  const host = destination.includes(':') ? `[${destination}]` : destination
  return `${user === null ? '' : `${user}@`}${host}${port === null ? '' : `:${port}`}`
}

const proxyOptions = (target: Target, resolved: Resolved): Record<string, string> => {
  const words = proxyCommandOf(target, resolved)
  // ssh hands the command to a shell, so the words themselves stay out of it (promise 10); every login shell in
  // use reads this alike.
  if (words.length > 0) {
    return { ProxyCommand: words.map((_, at) => `"$${PROXY_WORD}${at}"`).join(' '), ProxyUseFdpass: 'no' }
  }
  return target.proxyJump?.length === 0 ? { ProxyJump: 'none' } : {}
}

const PROXY_WORD = 'DPROXY_PROXY_WORD_'

const proxyCommandOf = (target: Target, { route }: Resolved): readonly string[] =>
  target.proxyCommand !== null && route.kind === 'command' ? route.words : []

/** A path as one word of an option's value: quoted, and no `%` or `${` in it expanded. */
const asPath = (path: string): string => {
  // eslint-disable-next-line no-control-regex
  const [bad] = /[\u0000-\u001f"\\]|\$\{/u.exec(path) ?? []
  if (bad !== undefined) check(`must not have ${printable(bad)} in it for the openssh transport`, path)
  return `"${path.replaceAll('%', '%%')}"`
}

const check = (problem: string | undefined, text: string): void => {
  if (problem === undefined) return
  throw new DproxyError('CONFIG_INVALID', `${printable(text)} ${problem}`, { stage: 'resolve' })
}

const seconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1000)))
