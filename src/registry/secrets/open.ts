import type { Env } from '../../base/paths.js'
import { fileStore, secretsPath } from './file.js'
import { keychain } from './keychain.js'
import { masterUnasked, type Master } from './master.js'
import type { SecretStore, StoreName } from './store.js'

export type SecretStores = Readonly<Record<StoreName, SecretStore>>

/**
 * Every place that may keep secrets; nothing is touched before it is used. One of these for a process: the
 * encrypted file's passphrase is then needed only once.
 */
export const secretStores = (env: Env, master: Master = masterUnasked(env)): SecretStores => ({
  keychain: keychain({ env }),
  file: fileStore({ path: secretsPath(env), master }),
})
