import { DproxyError } from '../base/errors.js'
import { fingerprint, judge, keyType, type KnownHost } from './known-hosts.js'
import { address, type Resolved } from './target.js'

/** Decides about the key that one server shows, and remembers why it refused. */
export interface HostKeyGuard {
  /** For ssh2's `hostVerifier`. */
  readonly verify: (key: Buffer, accept: (ok: boolean) => void) => void
  /** Why the last key was refused; undefined when none was. */
  readonly refusal: () => DproxyError | undefined
}

/**
 * ssh2 calls its verifier on every key exchange and refuses only on exactly `false`: a verifier that throws,
 * is async or answers null is taken for consent (ssh2#1268). So it is wrapped once, here: synchronous, every
 * failure a refusal, and after the first acceptance nothing counts but equality with the key accepted then.
 */
export const guardHostKey = (resolved: Resolved, known: KnownHost): HostKeyGuard => {
  let accepted: Buffer | undefined
  let refused: DproxyError | undefined
  const check = (key: Buffer): boolean => {
    try {
      if (accepted) return accepted.equals(key)
      refused = refusalOf(resolved, known, key)
      if (refused) return false
      accepted = Buffer.from(key)
      return true
    } catch {
      return false
    }
  }
  const verify = (key: Buffer, accept: (ok: boolean) => void): void => {
    accept(check(key))
  }
  return { verify, refusal: () => refused }
}

/**
 * ssh2's `algorithms.serverHostKey`: the types we know a key of go first, so that a server with several keys
 * shows one that can be compared.
 */
export const hostKeyOrder = (known: KnownHost): { remove: string[]; prepend: string[] } | undefined => {
  const types = [...new Set(known.keys.map(({ type }) => type))].filter((type) => OFFERED.has(type))
  if (types.length === 0) return undefined
  // RFC 8332: one RSA key, several signature algorithms; the SHA-1 one last.
  const names = types.flatMap((type) =>
    type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256', type] : [type],
  )
  return { remove: names, prepend: names }
}

const OFFERED = new Set([
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
])

const refusalOf = (resolved: Resolved, known: KnownHost, key: Buffer): DproxyError | undefined => {
  const verdict = judge(known, key)
  const shown = `${keyType(key)} ${fingerprint(key)}`
  const name = address(resolved)
  switch (verdict.kind) {
    case 'known':
      return undefined
    case 'unknown':
      return new DproxyError('HOST_KEY_UNKNOWN', `${name} showed a host key that is not known: ${shown}`, {
        stage: 'host key',
        hint: `compare the fingerprint with the server's own, then store it: ${sshCommand(resolved)}`,
      })
    case 'changed':
      return new DproxyError(
        'HOST_KEY_CHANGED',
        `the host key of ${name} is not the one that is known: it showed ${shown}, but ${placeOf(verdict.known)} has ${verdict.known.type} ${fingerprint(verdict.known.blob)}; somebody may be in between`,
        {
          stage: 'host key',
          hint: `only if the server's key was changed on purpose: ssh-keygen -R '${resolved.hostKeyName}'`,
        },
      )
    case 'revoked':
      return new DproxyError(
        'HOST_KEY_REVOKED',
        `the host key of ${name} is revoked: ${shown} (${placeOf(verdict.known)})`,
        {
          stage: 'host key',
          hint: 'do not connect; ask whoever runs the server',
        },
      )
    default:
      return verdict satisfies never
  }
}

const placeOf = ({ file, line }: { file: string; line: number }): string => `${file} line ${line}`

const sshCommand = ({ host, port, user }: Resolved): string =>
  `ssh ${port === 22 ? '' : `-p ${port} `}${user}@${host}`
