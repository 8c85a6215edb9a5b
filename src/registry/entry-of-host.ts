import type { Host } from './host.js'
import { sshText } from './ssh-text.js'

/**
 * A host in the words of a config file, every default filled in; null: what ssh's own configuration says, or
 * nothing. The reverse of `hostOf`.
 */
export const entryOfHost = (host: Host) => ({
  ssh: sshText(host),
  description: host.description,
  tags: host.tags,
  protected: host.protected,
  identityFile: host.identityFiles,
  identitiesOnly: host.identitiesOnly,
  knownHostsFile: host.knownHostsFiles,
  proxyJump: jumpText(host.proxyJump),
  proxyCommand: host.proxyCommand,
  passphraseCommand: host.passphraseCommand,
  passwordCommand: host.passwordCommand,
  remoteSocket: host.remoteSocket,
  socket: host.socket,
  connectTimeout: spanText(host.connectTimeoutMs),
  keepAlive: { interval: spanText(host.keepAlive.intervalMs), misses: host.keepAlive.misses },
  lanes: host.lanes,
  transport: host.transport,
})

const jumpText = (jumps: Host['proxyJump']): string | null =>
  jumps === null ? null : jumps.length === 0 ? 'none' : jumps.map(sshText).join(',')

const spanText = (ms: number | null): string | null =>
  ms === null ? null : ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
