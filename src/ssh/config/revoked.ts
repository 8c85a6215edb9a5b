import { firstBytes } from './first-bytes.js'
import { namesIn } from './files.js'
import type { SshConfig } from './ssh-config.js'

/** The file of keys that RevokedHostKeys names; null: none. */
export const revokedHostKeysOf = (config: SshConfig): string | null => filesOf(config)[0] ?? null

/** Why the revocation lists can only be read by OpenSSH itself, as a clause; undefined when we can. */
export const reasonInRevoked = async (config: SshConfig): Promise<string | undefined> => {
  const [file, ...more] = filesOf(config)
  if (file === undefined) return undefined
  if (more.length > 0) return 'its RevokedHostKeys names several lists'
  const start = await firstBytes(file, KRL_MAGIC.length)
  return start.equals(KRL_MAGIC) ? 'its RevokedHostKeys is a binary list (KRL)' : undefined
}

// A key revocation list (OpenSSH's PROTOCOL.krl) begins with this; anything else is a list of public keys.
const KRL_MAGIC = Buffer.from('SSHKRL\n\0', 'latin1')

const filesOf = (config: SshConfig): string[] => namesIn(config.unlessNone('revokedhostkeys') ?? '')
