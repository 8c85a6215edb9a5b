import { hostNameProblem, userNameProblem } from '../../base/openssh-names.js'
import { ownUserName, type Env } from '../../base/paths.js'
import { printable } from '../../base/text.js'
import { DEFAULT_CONNECT_TIMEOUT_MS, DEFAULT_KEEP_ALIVE, type Resolved, type Target } from '../target.js'
import { algorithmsOf } from './algorithms.js'
import { agentOf, certificateFilesOf, identityFilesOf, knownHostsFilesOf } from './files.js'
import { refuseCircle, refuseTooMany, type HopTarget } from './hops.js'
import { methodsOf } from './methods.js'
import { reasonForOpenssh } from './only-openssh.js'
import { readSshConfig } from './read-ssh-config.js'
import { notObeyed } from './not-obeyed.js'
import { revokedHostKeysOf } from './revoked.js'
import { routeOf } from './route.js'
import type { SshConfig } from './ssh-config.js'
import { pathTokens, type Facts } from './tokens.js'

export { targetOfHop } from './hops.js'

/**
 * Fills in a target's defaults from ssh's own configuration, where ssh is installed. What the target says
 * itself wins. Of its jump hosts only the names are here: each is resolved as a target ({@link targetOfHop}).
 * @throws DproxyError CONFIG_INVALID
 */
export const resolveTarget = async (
  target: Target | HopTarget,
  env: Env,
  signal: AbortSignal,
): Promise<Resolved> => {
  checkNames(target)
  refuseCircle(target)
  const configs = await readSshConfig(target, env, signal)
  const { config } = configs
  const facts = factsOf(target, config)
  const tokens = pathTokens(facts)
  const named = target.identityFiles.length > 0
  const identityFiles = identityFilesOf(target, config, tokens, env)
  const certificateFiles = certificateFilesOf(config, identityFiles, tokens, env)
  const route = routeOf(target, config, facts, env)
  if (route.kind === 'jump') refuseTooMany(target, route.hops)
  const { algorithms, lacking } = algorithmsOf(configs)
  return {
    typed: target.typed,
    alias: target.destination,
    host: facts.host,
    port: facts.port,
    user: facts.user,
    route,
    identityFiles,
    identitiesNamed: named,
    // The IdentitiesOnly of ssh's configuration is about its own identity files.
    identitiesOnly: target.identitiesOnly || (!named && config.says('identitiesonly')),
    agent: agentOf(config, env),
    methods: methodsOf(config),
    knownHostsFiles: knownHostsFilesOf(target, config),
    revokedHostKeysFile: revokedHostKeysOf(config),
    neverAskHostKey: config.says('stricthostkeychecking'),
    hostKeyName: { host: facts.host, port: facts.port, alias: facts.hostKeyAlias ?? null },
    algorithms,
    connectTimeoutMs:
      target.connectTimeoutMs ?? milliseconds(config, 'connecttimeout') ?? DEFAULT_CONNECT_TIMEOUT_MS,
    keepAlive: keepAliveOf(target, config),
    onlyOpenssh: await reasonForOpenssh({
      target,
      configs,
      env,
      route,
      identityFiles,
      certificateFiles,
      lackingAlgorithms: lacking,
    }),
  }
}

const checkNames = ({ destination, user }: Pick<Target, 'destination' | 'user'>): void => {
  const problem = hostNameProblem(destination) ?? (user === null ? undefined : userNameProblem(user))
  if (problem === undefined) return
  throw notObeyed(
    `"${printable(user === null ? destination : `${user}@${destination}`)}" ${problem}`,
    'name a host or an alias as ssh itself takes it',
  )
}

const factsOf = (target: Target, config: SshConfig): Facts => {
  const host = hostOf(target, config)
  return {
    host,
    alias: target.destination,
    hostKeyAlias: config.one('hostkeyalias'),
    user: target.user ?? config.one('user') ?? ownUserName(),
    port: target.port ?? config.number('port', 1) ?? 22,
    connection: config.one('controlpath') ?? '',
    proxyJump: config.unlessNone('proxyjump') ?? '',
  }
}

const hostOf = ({ destination }: Target, config: SshConfig): string => {
  // ssh has put the name into lower case, and left the zone of an address alone.
  const said = config.one('hostname') ?? (destination.includes(':') ? destination : destination.toLowerCase())
  const host = said.replace(/^\[(.*)\]$/u, '$1')
  const problem = hostNameProblem(host)
  if (problem === undefined) return host
  throw notObeyed(
    `the HostName "${printable(host)}" that ssh's configuration has for ${printable(destination)} ${problem}`,
    `correct it; see it with: ssh -G ${printable(destination)}`,
  )
}

const keepAliveOf = ({ keepAlive }: Target, config: SshConfig): Resolved['keepAlive'] => ({
  // ServerAliveInterval 0, ssh's default, means that it never asks; we always do.
  intervalMs:
    keepAlive.intervalMs ?? milliseconds(config, 'serveraliveinterval') ?? DEFAULT_KEEP_ALIVE.intervalMs,
  misses: keepAlive.misses ?? config.number('serveralivecountmax', 1) ?? DEFAULT_KEEP_ALIVE.misses,
})

// A day is as good as for ever, and Node's timers fire at once beyond 24 of them.
const LONGEST_WAIT_MS = 86_400_000

const milliseconds = (config: SshConfig, keyword: string): number | undefined => {
  const seconds = config.number(keyword, 1)
  return seconds === undefined ? undefined : Math.min(seconds * 1000, LONGEST_WAIT_MS)
}
