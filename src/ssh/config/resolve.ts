import { execa, ExecaError } from 'execa'
import { DproxyError, errnoOf } from '../base/errors.js'
import { expandHome, homeOf, ownUserName, type Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import type { Resolved, Target } from './target.js'

/**
 * Fills in a target's defaults from ssh's own configuration, by asking `ssh -G` where ssh is installed
 * (ssh(1); it prints the configuration and exits without connecting). What the target names itself wins.
 * @throws DproxyError RESOLVE_FAILED, or NOT_SUPPORTED for a proxy that this version cannot go through
 */
export const resolveTarget = async (target: Target, env: Env, signal: AbortSignal): Promise<Resolved> => {
  const config = await sshConfig(target, env, signal)
  refuseProxies(config, target.destination)
  refuseRevocationList(config, target.destination)
  const host = (one(config, 'hostname') ?? target.destination).replace(/^\[(.*)\]$/u, '$1').toLowerCase()
  const port = target.port ?? Number(one(config, 'port') ?? 22)
  const named = target.identityFiles.length > 0
  return {
    host,
    port,
    user: target.user ?? one(config, 'user') ?? ownUserName(),
    identityFiles: named ? target.identityFiles : files(config, 'identityfile', env, defaultIdentities),
    identitiesNamed: named,
    identitiesOnly: target.identitiesOnly || (!named && one(config, 'identitiesonly') === 'yes'),
    knownHostsFiles: target.knownHostsFiles ?? [
      ...files(config, 'userknownhostsfile', env, () => ['~/.ssh/known_hosts', '~/.ssh/known_hosts2']),
      ...files(config, 'globalknownhostsfile', env, () => ['/etc/ssh/ssh_known_hosts']),
    ],
    hostKeyName: one(config, 'hostkeyalias') ?? (port === 22 ? host : `[${host}]:${port}`),
  }
}

/** Keyword in lower case to its values, one for each line that ssh printed; empty where ssh is not there. */
type SshConfig = ReadonlyMap<string, readonly string[]>

const sshConfig = async (
  { destination, user, port, connectTimeoutMs }: Target,
  env: Env,
  signal: AbortSignal,
): Promise<SshConfig> => {
  // The registry has checked both names by OpenSSH's own rules, so neither can become an option; `--` and
  // separate words make sure of it once more (CVE-2017-1000117).
  // DPROXY_SSH_CONFIG stands in for ~/.ssh/config and /etc/ssh/ssh_config, as ssh's own -F does.
  const words = [
    ...(env.DPROXY_SSH_CONFIG ? ['-F', env.DPROXY_SSH_CONFIG] : []),
    ...(user === null ? [] : ['-l', user]),
    ...(port === null ? [] : ['-p', String(port)]),
  ]
  try {
    const { stdout } = await execa('ssh', ['-G', ...words, '--', destination], {
      stdin: 'ignore',
      cancelSignal: signal,
      timeout: connectTimeoutMs,
    })
    return parseConfig(stdout)
  } catch (failure) {
    if (errnoOf(failure) === 'ENOENT') return new Map()
    signal.throwIfAborted()
    const said = failure instanceof ExecaError ? failure.stderr || failure.shortMessage : String(failure)
    throw new DproxyError('RESOLVE_FAILED', `ssh could not read its configuration: ${complaint(said)}`, {
      stage: 'resolve',
      hint: `see what it says: ssh -G ${destination}`,
      cause: failure,
    })
  }
}

const parseConfig = (output: string): SshConfig => {
  const config = new Map<string, string[]>()
  for (const line of output.split('\n')) {
    const space = line.indexOf(' ')
    if (space < 1) continue
    const keyword = line.slice(0, space).toLowerCase()
    config.set(keyword, [...(config.get(keyword) ?? []), line.slice(space + 1)])
  }
  return config
}

const one = (config: SshConfig, keyword: string): string | undefined => config.get(keyword)?.[0]

const files = (config: SshConfig, keyword: string, env: Env, fallback: () => string[]): string[] => {
  const lines = config.get(keyword)
  // One line holds one IdentityFile, but a whole list of known_hosts files.
  const values = lines
    ? keyword === 'identityfile'
      ? lines
      : lines.flatMap((line) => line.split(' '))
    : fallback()
  return values
    .filter((file) => file !== 'none' && file !== '')
    .map((file) => expandHome(file.replace(/^%d(?=\/)/u, homeOf(env)).replaceAll('"', ''), env))
}

const defaultIdentities = (): string[] => ['~/.ssh/id_ed25519', '~/.ssh/id_ecdsa', '~/.ssh/id_rsa']

/** Connecting directly where ssh would go through a proxy could reach another machine of the same name. */
const refuseProxies = (config: SshConfig, destination: string): void => {
  for (const keyword of ['proxyjump', 'proxycommand']) {
    const value = one(config, keyword)
    if (value === undefined || value === 'none') continue
    throw new DproxyError(
      'NOT_SUPPORTED',
      `ssh's configuration reaches ${printable(destination)} through ${keyword === 'proxyjump' ? 'ProxyJump' : 'ProxyCommand'} ${printable(value)}, which this version of dproxy cannot do`,
      { stage: 'resolve', hint: 'name a host that is reached directly' },
    )
  }
}

/** The last thing said that names a cause: ssh ends with a mere count of its complaints. */
const complaint = (said: string): string => {
  const lines = said.trim().split('\n')
  return printable(lines.findLast((line) => !line.includes(': terminating, ')) ?? said)
}

/** A list that ssh obeys and we cannot read must not be passed over: it may revoke the very key that is shown. */
const refuseRevocationList = (config: SshConfig, destination: string): void => {
  const file = one(config, 'revokedhostkeys')
  if (file === undefined || file === 'none') return
  throw new DproxyError(
    'NOT_SUPPORTED',
    `ssh's configuration for ${printable(destination)} names RevokedHostKeys ${printable(file)}, which this version of dproxy cannot read`,
    { stage: 'resolve', hint: 'put the revoked keys into known_hosts, as @revoked lines' },
  )
}
