import { createPublicKey, verify, type JsonWebKey, type KeyObject } from 'node:crypto'
import { WireReader } from './wire.js'

/**
 * Whether the plain key `authority` made `signature` (RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709) over
 * `data`. Only what CASignatureAlgorithms of ssh_config(5) allows by default, so no SHA-1; and no security keys.
 */
export const isSignedBy = (authority: Buffer, data: Buffer, signature: Buffer): boolean => {
  try {
    const key = new WireReader(authority)
    const type = key.name()
    const made = new WireReader(signature)
    const algorithm = made.name()
    const bytes = made.string()
    return made.done && checks(type, key, algorithm, data, bytes)
  } catch {
    // Bytes that end too early, or numbers that are no key.
    return false
  }
}

const checks = (type: string, key: WireReader, algorithm: string, data: Buffer, bytes: Buffer): boolean => {
  if (type === 'ssh-ed25519') return algorithm === type && verify(null, data, ed25519(key), bytes)
  if (type === 'ssh-rsa') {
    const hash = RSA_HASHES.get(algorithm)
    return hash !== undefined && verify(hash, data, rsa(key), bytes)
  }
  const curve = CURVES.get(type)
  if (!curve || algorithm !== type) return false
  return verify(curve.hash, data, { key: ecdsa(key, curve), dsaEncoding: 'ieee-p1363' }, flat(bytes, curve))
}

interface Curve {
  readonly crv: string
  readonly size: number
  readonly hash: string
}

const CURVES: ReadonlyMap<string, Curve> = new Map([
  ['ecdsa-sha2-nistp256', { crv: 'P-256', size: 32, hash: 'sha256' }],
  ['ecdsa-sha2-nistp384', { crv: 'P-384', size: 48, hash: 'sha384' }],
  ['ecdsa-sha2-nistp521', { crv: 'P-521', size: 66, hash: 'sha512' }],
])
const RSA_HASHES: ReadonlyMap<string, string> = new Map([
  ['rsa-sha2-256', 'sha256'],
  ['rsa-sha2-512', 'sha512'],
])

const fromJwk = (key: JsonWebKey): KeyObject => createPublicKey({ key, format: 'jwk' })
const text = (bytes: Buffer): string => bytes.toString('base64url')

const ed25519 = (key: WireReader): KeyObject => fromJwk({ kty: 'OKP', crv: 'Ed25519', x: text(key.string()) })

const rsa = (key: WireReader): KeyObject => {
  const e = unsigned(key.string())
  return fromJwk({ kty: 'RSA', e: text(e), n: text(unsigned(key.string())) })
}

const ecdsa = (key: WireReader, { crv, size }: Curve): KeyObject => {
  key.string() // the curve's name again
  const point = key.string()
  const [x, y] = [point.subarray(1, 1 + size), point.subarray(1 + size)]
  return fromJwk({ kty: 'EC', crv, x: text(x), y: text(y) })
}

// On the wire r and s are two numbers of any length; Node takes them side by side, in full length each.
const flat = (bytes: Buffer, { size }: Curve): Buffer => {
  const numbers = new WireReader(bytes)
  const [r, s] = [unsigned(numbers.string()), unsigned(numbers.string())]
  if (!numbers.done || r.length > size || s.length > size) throw new RangeError('not a signature')
  const side = Buffer.alloc(2 * size)
  r.copy(side, size - r.length)
  s.copy(side, 2 * size - s.length)
  return side
}

const unsigned = (bytes: Buffer): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0)
  return first === -1 ? Buffer.alloc(0) : bytes.subarray(first)
}
