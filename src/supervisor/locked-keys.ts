/** The encrypted private keys of a login, for `dproxy secret set --passphrase`: none is stored that opens nothing. */
import { DproxyError } from '../base/errors.js'
import type { Env } from '../base/paths.js'
import { printable } from '../base/text.js'
import { resolveTarget } from '../ssh/config/resolve.js'
import { readKeyFile, type KeyFile } from '../ssh/login/key-file.js'
import { unlock } from '../ssh/login/unlock.js'
import type { Target } from '../ssh/target.js'

export interface LockedKey {
  readonly file: string
  /** @throws DproxyError LOGIN_KEY_FILE when no passphrase could */
  readonly opens: (passphrase: string, signal: AbortSignal) => Promise<boolean>
}

/**
 * @returns at least one
 * @throws DproxyError LOGIN_KEY_FILE when no key of the login needs a passphrase, RESOLVE_FAILED
 */
export const lockedKeysOf = async (target: Target, env: Env, signal: AbortSignal): Promise<LockedKey[]> => {
  const { identityFiles, identitiesNamed } = await resolveTarget(target, env, signal)
  const found = await Promise.all(identityFiles.map(readKeyFile))
  const locked = found.filter((key) => key.kind === 'private').filter(({ encrypted }) => encrypted)
  if (locked.length > 0) return locked.map(lockedKey)
  const open = found.find((key) => key.kind === 'private')
  if (open) throw noUse(`the key file ${open.file} needs no passphrase`, 'nothing has to be stored for it')
  // That one of ssh's default key files is not there is no fault of anybody.
  const unusable = found.find((key) => key.kind === 'unusable' && (key.missing !== true || identitiesNamed))
  if (unusable?.kind === 'unusable') throw noUse(unusable.why, unusable.hint)
  throw noUse(
    'there is no private key whose passphrase could be stored',
    'name one with identityFile in the config',
  )
}

/** An alias that only ssh's own configuration knows. */
export const targetOfAlias = (alias: string): Target => ({
  typed: alias,
  destination: alias,
  user: null,
  port: null,
  identityFiles: [],
  identitiesOnly: false,
  knownHostsFiles: null,
  proxyJump: null,
  proxyCommand: null,
  transport: 'auto',
  connectTimeoutMs: null,
  keepAlive: { intervalMs: null, misses: null },
})

const lockedKey = (key: KeyFile): LockedKey => ({
  file: key.file,
  opens: async (passphrase, signal) => {
    const outcome = await unlock(key, passphrase, signal)
    if (outcome.kind !== 'failed') return outcome.kind === 'open'
    throw noUse(
      `the key file ${key.file} cannot be read as a private key (${outcome.why})`,
      `load it into your agent: ssh-add ${key.file}`,
    )
  },
})

const noUse = (message: string, hint: string): DproxyError =>
  new DproxyError('LOGIN_KEY_FILE', printable(message), { hint: printable(hint) })
