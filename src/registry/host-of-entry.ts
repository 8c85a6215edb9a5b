import type { Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import { HOST_DEFAULTS, type Host } from './host.js'
import { absolutePath, socketPath } from './local-path.js'
import type { Defaults, HostEntry } from './schema.js'

/** What a file says about all of its hosts, and what its paths depend on. */
export interface FileSettings {
  readonly defaults: Defaults
  readonly template: string
  readonly secretStore: Host['secretStore']
  readonly dir: string
  readonly env: Env
}

/**
 * A host from its checked entry: what it leaves out comes from the file's `defaults`, then from ours. Relative
 * paths count from `dir`, the directory of the file; `template` is the socket of hosts that name none.
 */
export const hostOf = (
  name: string,
  entry: HostEntry,
  { defaults, template, secretStore, dir, env }: FileSettings,
): Host => {
  const given = { ...defaults, ...entry }
  const keepAlive = { ...defaults.keepAlive, ...entry.keepAlive }
  // A host's own way to its server wins over both ways of the defaults.
  const ownWay = entry.proxyJump !== undefined || entry.proxyCommand !== undefined
  const way = ownWay ? entry : defaults
  const absolute = (path: string): string => absolutePath(path, dir, env)
  return {
    name,
    typed: name,
    ...entry.ssh,
    identityFiles: given.identityFile?.map(absolute) ?? HOST_DEFAULTS.identityFiles,
    identitiesOnly: given.identitiesOnly ?? HOST_DEFAULTS.identitiesOnly,
    knownHostsFiles: given.knownHostsFile?.map(absolute) ?? HOST_DEFAULTS.knownHostsFiles,
    remoteSocket: given.remoteSocket ?? HOST_DEFAULTS.remoteSocket,
    socket: socketPath(entry.socket ?? template, name, dir, env),
    proxyJump: way.proxyJump ?? HOST_DEFAULTS.proxyJump,
    proxyCommand: way.proxyCommand ?? HOST_DEFAULTS.proxyCommand,
    passphraseCommand: given.passphraseCommand ?? HOST_DEFAULTS.passphraseCommand,
    passwordCommand: given.passwordCommand ?? HOST_DEFAULTS.passwordCommand,
    secretStore,
    transport: given.transport ?? HOST_DEFAULTS.transport,
    connectTimeoutMs: given.connectTimeout ?? HOST_DEFAULTS.connectTimeoutMs,
    lanes: given.lanes ?? HOST_DEFAULTS.lanes,
    keepAlive: {
      intervalMs: keepAlive.interval ?? HOST_DEFAULTS.keepAlive.intervalMs,
      misses: keepAlive.misses ?? HOST_DEFAULTS.keepAlive.misses,
    },
    protected: given.protected ?? HOST_DEFAULTS.protected,
    description: entry.description === undefined ? null : oneLine(entry.description),
    tags: entry.tags ?? HOST_DEFAULTS.tags,
  }
}

const oneLine = (text: string): string => printable(text.trim().replaceAll(/\s+/gu, ' '))
