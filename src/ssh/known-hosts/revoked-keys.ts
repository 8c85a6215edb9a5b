import { parseCertificate } from './certificate.js'
import { eachLine, isMissing, unreadable } from './each-line.js'
import { blobOf, fieldsOf, type KnownKey } from './lines.js'
import { plainKey } from './plain-key.js'

/**
 * The keys of a RevokedHostKeys file, ssh_config(5): public keys, one a line. As ssh does, we trust nobody when
 * it is missing or a line of it cannot be understood.
 * @throws DproxyError HOST_KEY_UNREADABLE, also for a binary key revocation list (ssh-keygen(1))
 */
export const readRevokedKeys = async (file: string, signal?: AbortSignal): Promise<KnownKey[]> => {
  const keys: KnownKey[] = []
  const visit = (text: string, line: number): void => {
    if (line === 1 && text === KRL_MAGIC) throw notForUs(file)
    const [type, base64] = fieldsOf(text)
    if (type === undefined || type.startsWith('#')) return
    const blob = base64 === undefined ? undefined : blobOf({ type, base64 })
    const key = blob && (plainKey(blob) ?? parseCertificate(blob)?.key)
    if (!key) throw unreadable(file, `line ${line} is not a public key`, undefined, HINT)
    keys.push({ file, line, type, blob: key })
  }
  await eachLine(file, visit, signal, HINT).catch((failure: unknown) => {
    throw isMissing(failure) ? unreadable(file, 'it does not exist', failure, HINT) : failure
  })
  return keys
}

const HINT = 'mend that file, make it readable, or take RevokedHostKeys out of your ssh configuration'

// OpenSSH's PROTOCOL.krl: the eight bytes "SSHKRL\\n\\0", of which the first line has six.
const KRL_MAGIC = 'SSHKRL'

const notForUs = (file: string): Error =>
  unreadable(
    file,
    'it is a binary key revocation list, which only OpenSSH reads',
    undefined,
    'set `transport: openssh` for this host, or list the revoked public keys one a line',
  )
