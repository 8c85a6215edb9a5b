import type { Destination } from './destination.js'

/** One named host of the registry: checked, every default filled in, every path absolute. */
export interface Host {
  name: string
  /** What the user types to mean it: its name, or the address of one that is in no file. */
  typed: string
  /** The host name, address or ssh_config alias, as the user wrote it. */
  destination: string
  /** null: what ssh's own configuration says, else the local user's name. */
  user: string | null
  /** null: what ssh's own configuration says, else 22. */
  port: number | null
  /** Private key files in the order to try; empty: what ssh's own configuration says. */
  identityFiles: string[]
  /** Offer only the keys of `identityFiles`, even when an agent holds more. */
  identitiesOnly: boolean
  /** known_hosts files; null: what ssh's own configuration says. */
  knownHostsFiles: string[] | null
  /** The Docker engine's socket on the remote machine: an absolute path, or `auto`. */
  remoteSocket: string
  /** The local socket that stands for it. */
  socket: string
  /** The hosts to jump through; empty: none; null: what ssh's own configuration says. */
  proxyJump: Destination[] | null
  /** A program and its words, whose input and output are the connection. */
  proxyCommand: string[] | null
  /** A program and its words that prints the passphrase of the private key. */
  passphraseCommand: string[] | null
  /** A program and its words that prints the login password. */
  passwordCommand: string[] | null
  /** Where stored secrets are looked for. */
  secretStore: 'keychain' | 'file'
  /** Who speaks SSH. */
  transport: 'auto' | 'ssh2' | 'openssh'
  /** The limit of each stage of connecting; null: what ssh's own configuration says, else 10 s. */
  connectTimeoutMs: number | null
  /** The most SSH connections to keep; null: 4. */
  lanes: number | null
  /** When a silent link counts as lost; null: what ssh's own configuration says, else 3 times 15 s. */
  keepAlive: { intervalMs: number | null; misses: number | null }
  protected: boolean
  description: string | null
  tags: string[]
}

/** What holds where neither the host nor the file's `defaults` say otherwise. Durations in milliseconds. */
export const HOST_DEFAULTS = {
  identityFiles: [] as string[],
  identitiesOnly: false,
  knownHostsFiles: null,
  remoteSocket: 'auto',
  proxyJump: null,
  proxyCommand: null,
  passphraseCommand: null,
  passwordCommand: null,
  secretStore: 'keychain',
  transport: 'auto',
  connectTimeoutMs: null,
  lanes: null,
  keepAlive: { intervalMs: null, misses: null },
  protected: false,
  description: null,
  tags: [] as string[],
} satisfies Partial<Host>

/** The rule for the names of hosts and tags: they become part of file names and of addresses. */
export const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/u
export const NAME_RULE =
  'must begin with a letter or a digit and go on with at most 62 letters, digits, "_", "." or "-"'

/** Two names are the same host when this is equal: some file systems and all of DNS ignore case. */
export const sameNameKey = (name: string): string => name.toLowerCase()
