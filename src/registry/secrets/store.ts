import { sameNameKey } from '../host.js'
import type { Master } from './master.js'

/** What one stored secret is for. A passphrase opens the private key of its host. */
const SECRET_KINDS = ['password', 'passphrase'] as const
export type SecretKind = (typeof SECRET_KINDS)[number]

export interface Account {
  /** Whose it is: see {@link hostOwner} and {@link aliasOwner}. */
  readonly owner: string
  readonly kind: SecretKind
}

export const STORE_NAMES = ['keychain', 'file'] as const
export type StoreName = (typeof STORE_NAMES)[number]

/**
 * A place that keeps secrets for us. Each call ends with `signal`'s reason, or within seconds unless a person is
 * asked.
 * Every failure is a DproxyError SECRET_STORE_LOCKED or SECRET_STORE_FAILED, without a secret in it.
 */
export interface SecretStore {
  readonly name: StoreName
  /**
   * undefined only when there surely is none: a store that cannot be read fails instead. `master`: how a store
   * with a passphrase of its own is given it this time.
   */
  get(account: Account, signal: AbortSignal, master?: Master): Promise<string | undefined>
  /** Stores `value`, in place of an older one. */
  set(account: Account, value: string, signal: AbortSignal): Promise<void>
  /** False when there was none. */
  delete(account: Account, signal: AbortSignal): Promise<boolean>
  /** All that is stored by us, sorted; never values. */
  list(signal: AbortSignal): Promise<Account[]>
  /** The place, in the words of a message: `the keychain`. */
  describe(): string
}

/** The owner of the secrets of a host of the registry. */
export const hostOwner = (name: string): string => sameNameKey(name)

/**
 * The owner of the secrets of a server that only ssh's own configuration names, such as a jump host. Not that of
 * a host with the same name: the two may be different machines, and neither must be sent the other's password.
 */
export const aliasOwner = (alias: string): string => `${ALIAS}${alias}`

/** The alias that is the owner; undefined when that is a host of the registry. */
export const aliasIn = (owner: string): string | undefined =>
  owner.startsWith(ALIAS) ? owner.slice(ALIAS.length) : undefined

// No host of the registry can have a colon in its name.
const ALIAS = 'ssh:'

/** The name under which a store keeps an account's secret. */
export const keyOf = ({ owner, kind }: Account): string => `${owner} ${kind}`

/** The account that a store keeps under `key`; undefined when it is none of ours. */
const accountOf = (key: string): Account | undefined => {
  const at = key.lastIndexOf(' ')
  const kind = SECRET_KINDS.find((each) => each === key.slice(at + 1))
  return at > 0 && kind !== undefined ? { owner: key.slice(0, at), kind } : undefined
}

/** The accounts that a store's names mean, in the order to show them. */
export const accountsOf = (keys: readonly string[]): Account[] =>
  keys
    .toSorted()
    .map(accountOf)
    .filter((account) => account !== undefined)
