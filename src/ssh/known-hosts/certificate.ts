/** Host certificates, OpenSSH's PROTOCOL.certkeys. */
import { isSignedBy } from './ca-signature.js'
import { plainKey, readPlainKey } from './plain-key.js'
import { orMalformed, WireReader } from './wire.js'

export interface Certificate {
  /** The key that it certifies and the one that signed it: plain, in the form of {@link plainKey}. */
  readonly key: Buffer
  readonly authority: Buffer
  readonly isForHosts: boolean
  readonly principals: readonly string[]
  /** Seconds since 1970: valid from `validAfter` until before `validBefore`. */
  readonly validAfter: bigint
  readonly validBefore: bigint
  readonly hasCriticalOptions: boolean
  readonly signed: Buffer
  readonly signature: Buffer
}

/** A certificate in wire format; undefined when it is malformed or not a certificate. */
export const parseCertificate = (blob: Buffer): Certificate | undefined =>
  orMalformed(() => {
    const reader = new WireReader(blob)
    const [, base, vendor = ''] = CERTIFICATE_TYPE.exec(reader.name()) ?? []
    if (base === undefined) return undefined
    reader.string() // nonce
    const key = readPlainKey(base + vendor, reader) ?? readPlainKey(`${base}@openssh.com`, reader)
    reader.uint64() // serial number
    const kind = reader.uint32()
    reader.string() // key id
    const principals = namesIn(reader.string())
    const validAfter = reader.uint64()
    const validBefore = reader.uint64()
    const hasCriticalOptions = reader.string().length > 0
    reader.string() // extensions: OpenSSH knows none for hosts, and unknown ones do not matter
    reader.string() // reserved
    const authority = plainKey(reader.string())
    const signed = blob.subarray(0, reader.offset)
    const signature = reader.string()
    if (!key || !authority || !reader.done) return undefined
    return {
      key,
      authority,
      isForHosts: kind === HOST_CERTIFICATE,
      principals,
      validAfter,
      validBefore,
      hasCriticalOptions,
      signed,
      signature,
    }
  })

/**
 * Why a certificate does not vouch for a server, as a clause; undefined when it does, provided that its
 * authority is trusted for that server. `principal` is the host name without a port, or the HostKeyAlias; it is
 * compared literally, as OpenSSH 9.2 does, and a certificate without principals is for nobody.
 */
export const certificateProblem = (
  certificate: Certificate,
  principal: string,
  nowMs: number,
): string | undefined => {
  const now = BigInt(Math.floor(nowMs / 1000))
  if (!certificate.isForHosts) return 'its certificate is for users, not for hosts'
  if (now < certificate.validAfter) return 'its certificate is not yet valid'
  if (now >= certificate.validBefore) return 'its certificate has expired'
  if (!certificate.principals.includes(principal)) return 'its certificate is for other names'
  if (certificate.hasCriticalOptions) return 'its certificate has critical options, and hosts may have none'
  if (!isSignedBy(certificate.authority, certificate.signed, certificate.signature))
    return 'the signature of its certificate is not good'
  return undefined
}

const CERTIFICATE_TYPE = /^(.+)-cert-v01@openssh\.com$/u
const HOST_CERTIFICATE = 2

const namesIn = (list: Buffer): string[] => {
  const reader = new WireReader(list)
  const names: string[] = []
  while (!reader.done) names.push(reader.name())
  return names
}
