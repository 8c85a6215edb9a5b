/** Whose secret a command line means, and where it is kept. */
import { DproxyError } from '../../base/errors.js'
import { hostNameProblem } from '../../base/openssh-names.js'
import { printable } from '../../base/text.js'
import { sameNameKey, type Host } from '../../registry/host.js'
import { listSome } from '../../registry/list-some.js'
import type { Registry } from '../../registry/load.js'
import { nearest } from '../../registry/nearest.js'
import { MASTER_VARIABLE, masterFromFile, type Master } from '../../registry/secrets/master.js'
import type { SecretStores } from '../../registry/secrets/open.js'
import {
  aliasOwner,
  hostOwner,
  STORE_NAMES,
  type SecretKind,
  type StoreName,
} from '../../registry/secrets/store.js'
import { text, type Words } from '../command.js'
import type { Io } from '../io.js'
import { loadSecretStores } from '../lazy.js'

export interface Place {
  readonly owner: string
  readonly kind: SecretKind
  /** As the user calls it, safe to print. */
  readonly name: string
  /** The host of the registry; undefined for an alias, and for a name that no host has. */
  readonly host: Host | undefined
  readonly store: StoreName
}

/** @throws DproxyError USAGE when the name cannot be one */
export const placeOf = (words: Words, registry: Registry): Place => {
  const name = text(words.name) ?? ''
  const kind = words.passphrase === true ? 'passphrase' : 'password'
  const shown = printable(name)
  if (words.alias === true) {
    const problem = hostNameProblem(name)
    if (problem !== undefined)
      throw new DproxyError('USAGE', `"${shown}" ${problem}`, { hint: 'correct the name' })
    return {
      owner: aliasOwner(name),
      kind,
      name: shown,
      host: undefined,
      store: storeIn(words, registry.hosts),
    }
  }
  const host = registry.hosts.find((each) => sameNameKey(each.name) === sameNameKey(name))
  const store = storeIn(words, host ? [host] : registry.hosts)
  return { owner: hostOwner(name), kind, name: host?.name ?? shown, host, store }
}

/** @throws DproxyError HOST_UNKNOWN */
export const refuseUnknown = ({ name, host }: Place, { alias }: Words, { hosts }: Registry): void => {
  if (host || alias === true) return
  const names = hosts.map((each) => each.name)
  const near = nearest(name, names)
  const what = `no host is named "${name}"`
  const known = names.length === 0 ? 'no host is configured' : `the hosts are ${listSome(names)}`
  throw new DproxyError('HOST_UNKNOWN', near === undefined ? what : `${what}; did you mean "${near}"?`, {
    hint: `${known}; for a jump host of ssh's own configuration, add --alias`,
  })
}

/** The stores that a command without a name is about. */
export const storesIn = ({ store }: Words, { hosts }: Registry): StoreName[] => {
  const chosen = STORE_NAMES.filter((name) => name === store)
  return chosen.length > 0 ? chosen : storesUsedBy(hosts)
}

/** Where secrets of these hosts are looked for; without any host where those of a new one would be. */
export const storesUsedBy = (hosts: readonly Host[]): StoreName[] => {
  const used = STORE_NAMES.filter((name) => hosts.some(({ secretStore }) => secretStore === name))
  return used.length > 0 ? used : ['keychain']
}

const storeIn = (words: Words, hosts: readonly Host[]): StoreName =>
  storesIn(words, { files: [], hosts })[0] ?? 'keychain'

/** The stores, with somebody to ask for the passphrase of the encrypted file. */
export const storesFor = async (io: Io): Promise<SecretStores> => {
  const { secretStores } = await loadSecretStores()
  return secretStores(io.env, masterFromFile(io.env) ?? masterAt(io))
}

const masterAt =
  ({ askSecret }: Io): Master =>
  async (purpose, path, signal) => {
    const file = printable(path)
    if (!askSecret) {
      throw new DproxyError(
        'USAGE',
        `the encrypted file ${file} needs its passphrase, and there is no terminal to ask at`,
        {
          hint: `put it into a file of mode 0600 and its path into ${MASTER_VARIABLE}`,
        },
      )
    }
    if (purpose === 'open') return askSecret(`Passphrase of ${file}: `, signal)
    const first = await askSecret(`A passphrase for the new file ${file}: `, signal)
    if (first === '')
      throw new DproxyError('USAGE', 'an empty passphrase protects nothing; nothing was stored')
    if (first === (await askSecret('The same again: ', signal))) return first
    throw new DproxyError('USAGE', 'the two passphrases differ; nothing was stored', { hint: 'try again' })
  }
