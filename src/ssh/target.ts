/** Where and how to log in, as the user asked for it. Structurally a part of a host's definition. */
export interface Target {
  /** What the user types to mean this host: its name, or the address of one that is in no file. */
  readonly typed: string
  /** The host name, address or ssh_config alias. */
  readonly destination: string
  readonly user: string | null
  readonly port: number | null
  /** Absolute paths; empty: what ssh's own configuration names. */
  readonly identityFiles: readonly string[]
  readonly identitiesOnly: boolean
  /** Absolute paths; null: what ssh's own configuration names. */
  readonly knownHostsFiles: readonly string[] | null
  /** The hosts to jump through, in order; empty: none; null: what ssh's own configuration says. */
  readonly proxyJump: readonly Hop[] | null
  /** A program and its words, whose input and output are the connection; null: what ssh's own configuration says. */
  readonly proxyCommand: readonly string[] | null
  /** Who speaks SSH; `auto`: ssh2, unless only the system's ssh can do what is asked for. */
  readonly transport: 'auto' | 'ssh2' | 'openssh'
  /**
   * The limit of each stage: name lookup and connection, handshake, login. Milliseconds; null: what ssh's own
   * configuration says (ConnectTimeout), else {@link DEFAULT_CONNECT_TIMEOUT_MS}.
   */
  readonly connectTimeoutMs: number | null
  /** When a silent link counts as lost; null: what ssh's own configuration says (ServerAlive*), else ours. */
  readonly keepAlive: { readonly intervalMs: number | null; readonly misses: number | null }
}

/** One jump host, as on ssh's command line: `[user@]host[:port]`, the host a name, address or alias. */
export interface Hop {
  readonly destination: string
  readonly user: string | null
  readonly port: number | null
}

/** How the bytes of the connection get there. */
export type Route =
  | { readonly kind: 'direct' }
  | { readonly kind: 'jump'; readonly hops: readonly Hop[] }
  /** A program and its words; nothing in them is left to expand. */
  | { readonly kind: 'command'; readonly words: readonly string[] }

/** The methods of logging in that we know, in the words of RFC 4252 and RFC 4256. */
export const LOGIN_METHODS = ['publickey', 'keyboard-interactive', 'password'] as const
export type LoginMethod = (typeof LOGIN_METHODS)[number]

/** A target with every default filled in: nothing is left to look up but the address. */
export interface Resolved {
  /** What the user types to mean the host that all this is for; for the commands in hints. */
  readonly typed: string
  /** What the user wrote as the destination, and what the system's ssh is to be called with. */
  readonly alias: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly route: Route
  readonly identityFiles: readonly string[]
  /** True when the user named the identity files, so that a missing one is an error and not just absent. */
  readonly identitiesNamed: boolean
  readonly identitiesOnly: boolean
  /** Which agent to ask for keys: the caller's (SSH_AUTH_SOCK), none, or the one at this socket. */
  readonly agent: 'environment' | 'none' | { readonly socket: string }
  /** The methods that may be tried, in this order. */
  readonly methods: readonly LoginMethod[]
  readonly knownHostsFiles: readonly string[]
  /** A file of public keys that are never accepted; null: none. */
  readonly revokedHostKeysFile: string | null
  /** StrictHostKeyChecking yes: an unknown host key is not even asked about (ssh_config(5)). */
  readonly neverAskHostKey: boolean
  /** What known_hosts lines are looked up by. */
  readonly hostKeyName: HostKeyName
  /** Algorithms in ssh2's names, in the order wanted; an absent list: ssh2's own. */
  readonly algorithms: Algorithms
  readonly connectTimeoutMs: number
  readonly keepAlive: { readonly intervalMs: number; readonly misses: number }
  /** Why only the system's ssh can do what the configuration asks for, as a clause; null: ssh2 can. */
  readonly onlyOpenssh: string | null
}

/** The name of a server in known_hosts files: a host with its port, or an alias that stands for both. */
export interface HostKeyName {
  /** Lower case, an IPv6 address without brackets. */
  readonly host: string
  readonly port: number
  /** HostKeyAlias, verbatim; it stands without a port (ssh_config(5)). */
  readonly alias: string | null
}

export interface Algorithms {
  readonly kex?: readonly string[]
  readonly cipher?: readonly string[]
  readonly hmac?: readonly string[]
  readonly serverHostKey?: readonly string[]
}

export const DEFAULT_CONNECT_TIMEOUT_MS = 10_000
export const DEFAULT_KEEP_ALIVE = { intervalMs: 15_000, misses: 3 } as const

/** `user@host:port`, the way every message names a destination. */
export const where = ({ user, host, port }: Pick<Resolved, 'user' | 'host' | 'port'>): string =>
  `${user}@${address({ host, port })}`

/** `host:port`, an IPv6 host in brackets. */
export const address = ({ host, port }: Pick<Resolved, 'host' | 'port'>): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
