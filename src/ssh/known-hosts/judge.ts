import { certificateProblem, parseCertificate, type Certificate } from './certificate.js'
import type { KnownKey } from './lines.js'
import { principalOf } from './names.js'
import { plainKey } from './plain-key.js'
import type { KnownHost, NamedLines } from './read.js'

/** What the files say of a key that a server showed, and the lines that say it; all but `known` is a refusal. */
export type Verdict =
  /** By the line with the key itself, or with the authority of its certificate. */
  | {
      readonly kind: 'known'
      readonly lines: readonly [KnownKey]
      readonly proof: 'key' | 'certificate'
      readonly withoutPort: boolean
    }
  /** Nothing is known of this server: the one case where a person may decide. */
  | { readonly kind: 'unknown' }
  /** An authority vouches for this server, but no valid certificate was shown; `why` is a clause. */
  | { readonly kind: 'unknown-ca'; readonly lines: readonly KnownKey[]; readonly why: string }
  /** Other keys are known, of this type or another. */
  | { readonly kind: 'changed'; readonly lines: readonly KnownKey[] }
  /** By the line that revokes the key, or the authority of its certificate. */
  | { readonly kind: 'revoked'; readonly lines: readonly [KnownKey] }

/** Judges the key or certificate (in wire format) that a server showed. Reads nothing but its arguments. */
export const judge = (known: KnownHost, shown: Buffer, nowMs = Date.now()): Verdict => {
  const certificate = parseCertificate(shown)
  const key = certificate?.key ?? plainKey(shown) ?? shown
  const isShown = ({ blob }: KnownKey) => blob.equals(key)
  const isAuthority = ({ blob }: KnownKey) => certificate?.authority.equals(blob) ?? false

  const revoked = known.revoked.find((line) => isShown(line) || isAuthority(line))
  if (revoked) return { kind: 'revoked', lines: [revoked] }

  const withoutPort = known.keys.length + known.authorities.length === 0
  const lines: NamedLines = withoutPort ? known.withoutPort : known

  const authority = lines.authorities.find(isAuthority)
  const problem = problemOf(certificate, authority, principalOf(known.name), nowMs)
  if (authority && problem === undefined)
    return { kind: 'known', lines: [authority], proof: 'certificate', withoutPort }

  const same = lines.keys.find(isShown)
  if (same) return { kind: 'known', lines: [same], proof: 'key', withoutPort }
  // Behind another port of the same machine may well be another server.
  if (lines.keys.length > 0 && !withoutPort) return { kind: 'changed', lines: lines.keys }
  if (lines.authorities.length > 0)
    return { kind: 'unknown-ca', lines: lines.authorities, why: problem ?? PLAIN }
  return { kind: 'unknown' }
}

const PLAIN = 'it showed a plain key'

const problemOf = (
  certificate: Certificate | undefined,
  authority: KnownKey | undefined,
  principal: string,
  nowMs: number,
): string | undefined => {
  if (!certificate) return PLAIN
  if (!authority) return 'its certificate is by another authority'
  return certificateProblem(certificate, principal, nowMs)
}
