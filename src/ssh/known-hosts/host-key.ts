import type { DproxyError } from '../../base/errors.js'
import { parseCertificate } from './certificate.js'
import { judge } from './judge.js'
import { plainKey } from './plain-key.js'
import type { KnownHost, Lookup } from './read.js'
import { noKey, refusalOf, swapped } from './refusal.js'

export { refusalOf } from './refusal.js'

/** Decides about the key that one server shows, and remembers what it was and why it refused. */
export interface HostKeyGuard {
  /** For ssh2's `hostVerifier`. */
  readonly verify: (key: Buffer, accept: (ok: boolean) => void) => void
  /** Why the last key was refused; undefined when none was. */
  readonly refusal: () => DproxyError | undefined
  /** The last key shown, in wire format. A refused one is only claimed: its signature was not checked yet. */
  readonly shown: () => Buffer | undefined
}

/**
 * ssh2 calls its verifier on every key exchange and refuses only on exactly `false`: a verifier that throws,
 * is async or answers null is taken for consent (ssh2#1268). So it is wrapped once, here: synchronous, every
 * failure a refusal, and after the first acceptance nothing counts but equality with the key accepted then.
 */
export const guardHostKey = (resolved: Pick<Lookup, 'hostKeyName'>, known: KnownHost): HostKeyGuard => {
  let accepted: Buffer | undefined
  let shown: Buffer | undefined
  let refused: DproxyError | undefined
  const why = (key: Buffer): DproxyError | undefined => {
    if (accepted) return accepted.equals(key) ? undefined : swapped(resolved, accepted, key)
    if (!plainKey(key) && !parseCertificate(key)) return noKey(resolved)
    return refusalOf(resolved, judge(known, key), key)
  }
  const check = (given: Buffer): boolean => {
    try {
      // ssh2 uses its buffers again.
      const key = Buffer.from(given)
      shown = key
      refused = why(key)
      if (refused) return false
      accepted = key
      return true
    } catch {
      refused ??= noKey(resolved)
      return false
    }
  }
  const verify = (key: Buffer, accept: (ok: boolean) => void): void => {
    accept(check(key))
  }
  return { verify, refusal: () => refused, shown: () => shown }
}

/**
 * ssh2's `algorithms.serverHostKey`: those of the key types we know of this server go first, so that a server
 * with several keys shows one that can be compared; else in the order of `wanted`, and nothing outside it.
 */
export const hostKeyOrder = (
  { keys }: Pick<KnownHost, 'keys'>,
  wanted: readonly string[] = ALL,
): readonly string[] => {
  const types = new Set(keys.map(({ type }) => type))
  const rank = (algorithm: string): number =>
    (types.has(RSA.has(algorithm) ? SHA1 : algorithm) ? 0 : 2) + (algorithm === SHA1 ? 1 : 0)
  return wanted.toSorted((one, other) => rank(one) - rank(other))
}

// RFC 8332: one RSA key, several signature algorithms. By the name of the key type goes the one with SHA-1.
const SHA1 = 'ssh-rsa'
const RSA = new Set(['rsa-sha2-512', 'rsa-sha2-256', SHA1])

// What ssh2 has, the way it orders them: without DSA.
const ALL = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  SHA1,
]
