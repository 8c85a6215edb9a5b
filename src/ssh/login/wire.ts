import { createPublicKey, type KeyObject } from 'node:crypto'

/** Reads SSH's encoding (RFC 4251, section 5) from its start. @throws Error where the bytes end too early */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  uint32(): number {
    return this.take(4).readUInt32BE()
  }

  string(): Buffer {
    return this.take(this.uint32())
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new Error('it ends too early')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A string of RFC 4251: its length, then its bytes. */
export const wireString = (value: Buffer | string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([uint32(bytes.length), bytes])
}

/** The first string of a public key or a signature: which kind it is. */
export const kindOf = (blob: Buffer): string => new WireReader(blob).string().toString('latin1')

/** The public half of a key as it crosses the wire (RFC 4253, 5656, 8709); undefined for a kind SSH lacks. */
export const publicBlobOf = (key: KeyObject): Buffer | undefined => {
  // DSA has no JWK, and no server of today takes it.
  if (!['rsa', 'ec', 'ed25519'].includes(key.asymmetricKeyType ?? '')) return undefined
  const jwk = (key.type === 'public' ? key : createPublicKey(key)).export({ format: 'jwk' })
  const part = (name: 'n' | 'e' | 'x' | 'y') => Buffer.from(jwk[name] ?? '', 'base64url')
  if (jwk.kty === 'RSA') return strings('ssh-rsa', mpint(part('e')), mpint(part('n')))
  if (jwk.kty === 'OKP') return strings('ssh-ed25519', part('x'))
  const curve = { 'P-256': 'nistp256', 'P-384': 'nistp384', 'P-521': 'nistp521' }[jwk.crv ?? '']
  if (curve === undefined) return undefined
  const uncompressed = Buffer.concat([Buffer.from([4]), part('x'), part('y')])
  return strings(`ecdsa-sha2-${curve}`, curve, uncompressed)
}

const strings = (...values: (Buffer | string)[]): Buffer => Buffer.concat(values.map(wireString))

// Positive numbers only: a leading one bit would make it negative.
const mpint = (bytes: Buffer): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0)
  const short = first === -1 ? Buffer.alloc(0) : bytes.subarray(first)
  return (short[0] ?? 0) < 0x80 ? short : Buffer.concat([Buffer.alloc(1), short])
}
