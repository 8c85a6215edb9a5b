import { DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import type { HostDefinition } from '../control/messages.js'
import { runSecretCommand } from '../registry/secrets/command.js'
import { MASTER_VARIABLE, type Master } from '../registry/secrets/master.js'
import { secretStores, type SecretStores } from '../registry/secrets/open.js'
import { aliasIn, aliasOwner, hostOwner, type SecretKind } from '../registry/secrets/store.js'
import type { Ask, Stored, StoredSecrets } from '../ssh/person.js'
import type { Hop } from '../ssh/target.js'

/** The part of a host's definition that says where its secrets are. */
export type SecretSources = Pick<
  HostDefinition,
  'name' | 'typed' | 'destination' | 'passphraseCommand' | 'passwordCommand' | 'secretStore'
>

/** Where secrets are, and who is asked for what opens the place. */
export interface Holders {
  readonly env: Env
  readonly ask?: Ask | null
  readonly stores?: SecretStores
}

/**
 * The stored secrets for the login to a host, or to one of its jump hosts: what the host's command prints; else
 * what its store holds. Where there is a command, the store is not touched. A host's commands are for itself: a
 * jump host has only the store.
 */
export const storedSecretsOf = (
  host: SecretSources,
  hop: Hop | null,
  { env, ask = null, stores = storesOf(env) }: Holders,
): StoredSecrets => {
  const owner = hop ? aliasOwner(hop.destination) : ownerOf(host)
  const store = stores[host.secretStore]

  const secret = async (
    kind: SecretKind,
    words: readonly string[] | null,
    signal: AbortSignal,
  ): Promise<Stored> => {
    if (words !== null && hop === null) {
      const value = await runSecretCommand(words, { env, signal })
      return { kind: 'found', value, from: `${kind}Command (${printable(words[0] ?? '')})` }
    }
    const value = await store.get({ owner, kind }, signal, masterBy(ask, env))
    return value === undefined ? { kind: 'none' } : { kind: 'found', value, from: store.describe() }
  }

  const stored = (kind: SecretKind, words: readonly string[] | null, signal: AbortSignal): Promise<Stored> =>
    orProblem(signal, words === null && host.secretStore === 'keychain', () => secret(kind, words, signal))

  return {
    passphrase: (_keyFile, signal) => stored('passphrase', host.passphraseCommand, signal),
    password: (signal) => stored('password', host.passwordCommand, signal),
    toStore: (kind) => {
      if (hop === null && (kind === 'password' ? host.passwordCommand : host.passphraseCommand)) return null
      const alias = aliasIn(owner)
      const words = [
        printable(alias ?? host.name),
        ...(kind === 'passphrase' ? ['--passphrase'] : []),
        ...(alias === undefined ? [] : ['--alias']),
      ]
      return `dproxy secret set ${words.join(' ')}`
    },
  }
}

/**
 * Asks the person for the passphrase of the encrypted file; undefined where the store has its own way: nobody is
 * there, or the environment names a file.
 */
const masterBy = (ask: Ask | null, env: Env): Master | undefined => {
  if (ask === null || env[MASTER_VARIABLE]) return undefined
  return async (_purpose, path, signal) => {
    const name = printable(path)
    const question = {
      kind: 'passphrase' as const,
      text: `The secrets in ${name} are needed, and that file has a passphrase of its own.`,
      prompts: [{ text: `Passphrase of ${name}:`, echo: false }],
    }
    const given = (await ask(question, signal))?.[0] ?? ''
    if (given !== '') return given
    throw new DproxyError('SECRET_STORE_LOCKED', `the passphrase of ${name} was asked for and not given`, {
      hint: `put it into a file of mode 0600 and its path into ${MASTER_VARIABLE}, then dproxy down --all and up`,
    })
  }
}

/** A host that is in no file must not be sent the password of one that is, whatever its name. */
const ownerOf = ({ name, typed, destination }: SecretSources): string =>
  name === typed ? hostOwner(name) : aliasOwner(destination)

/**
 * A problem instead of an error; only the signal's own reason is thrown. `isDefault`: the place was not chosen by
 * the user, who may never have heard of it.
 */
const orProblem = async (
  signal: AbortSignal,
  isDefault: boolean,
  work: () => Promise<Stored>,
): Promise<Stored> => {
  try {
    return await work()
  } catch (failure) {
    signal.throwIfAborted()
    const hint = 'dproxy secret ls shows what can be read'
    if (failure instanceof DproxyError) {
      const minor = failure.code === 'SECRET_STORE_FAILED' && isDefault
      return { kind: 'problem', why: failure.message, hint: failure.hint ?? hint, minor }
    }
    // What we did not foresee could have a secret in its message.
    return { kind: 'problem', why: 'the stored secret could not be read', hint }
  }
}

/** One set for a process, so that the encrypted file's passphrase is read once. */
const storesOf = (env: Env): SecretStores => {
  const known = STORES.get(env) ?? secretStores(env)
  STORES.set(env, known)
  return known
}

const STORES = new WeakMap<Env, SecretStores>()
