/** Where and how to log in, as the user asked for it. Structurally a part of a host's definition. */
export interface Target {
  /** The host name, address or ssh_config alias. */
  readonly destination: string
  readonly user: string | null
  readonly port: number | null
  /** Absolute paths; empty: what ssh's own configuration names. */
  readonly identityFiles: readonly string[]
  readonly identitiesOnly: boolean
  /** Absolute paths; null: what ssh's own configuration names. */
  readonly knownHostsFiles: readonly string[] | null
  /** The limit of each stage: name lookup and connection, handshake, login. Milliseconds. */
  readonly connectTimeoutMs: number
}

/** A target with every default filled in: nothing is left to look up but the address. */
export interface Resolved {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly identityFiles: readonly string[]
  /** True when the user named the identity files, so that a missing one is an error and not just absent. */
  readonly identitiesNamed: boolean
  readonly identitiesOnly: boolean
  readonly knownHostsFiles: readonly string[]
  /** The name that known_hosts lines are looked up by: `host`, `[host]:port` or the HostKeyAlias. */
  readonly hostKeyName: string
}

/** `user@host:port`, the way every message names a destination. */
export const where = ({ user, host, port }: Pick<Resolved, 'user' | 'host' | 'port'>): string =>
  `${user}@${address({ host, port })}`

/** `host:port`, an IPv6 host in brackets. */
export const address = ({ host, port }: Pick<Resolved, 'host' | 'port'>): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
