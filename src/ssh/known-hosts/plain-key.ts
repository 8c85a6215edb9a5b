import { orMalformed, WireReader, wireString } from './wire.js'

/**
 * A plain public key in wire format (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f) in the
 * one form that bytes can be compared in; undefined when it is malformed, has bytes left over, or is of a kind
 * we do not know, certificates included.
 */
export const plainKey = (blob: Buffer): Buffer | undefined =>
  orMalformed(() => {
    const reader = new WireReader(blob)
    const key = readPlainKey(reader.name(), reader)
    return reader.done ? key : undefined
  })

/** The fields of a key of this type, with its name in front: as {@link plainKey}. */
export const readPlainKey = (type: string, reader: WireReader): Buffer | undefined => {
  const fields = FIELDS.get(type)?.map((field) => field(reader.string()))
  if (!fields?.every((field) => field !== undefined)) return undefined
  return Buffer.concat([type, ...fields].map(wireString))
}

/** Gives a field in its one right form; undefined when it has none. */
type Field = (bytes: Buffer) => Buffer | undefined

const anything: Field = (bytes) => bytes

const sized =
  (length: number): Field =>
  (bytes) =>
    bytes.length === length ? bytes : undefined

const named =
  (name: string): Field =>
  (bytes) =>
    bytes.equals(Buffer.from(name)) ? bytes : undefined

// SEC 1, section 2.3.3, uncompressed: the only form that OpenSSH takes.
const point =
  (size: number): Field =>
  (bytes) =>
    bytes[0] === 4 && bytes.length === 1 + 2 * size ? bytes : undefined

// OpenSSH forgives leading zeros in a number, so a revoked RSA key could be shown in other bytes.
const positive: Field = (bytes) => {
  if (((bytes[0] ?? 0x80) & 0x80) !== 0) return undefined
  const first = bytes.findIndex((byte) => byte !== 0)
  if (first === -1) return undefined
  return ((bytes[first] ?? 0) & 0x80) === 0 ? bytes.subarray(first) : bytes.subarray(first - 1)
}

const FIELDS: ReadonlyMap<string, readonly Field[]> = new Map([
  ['ssh-ed25519', [sized(32)]],
  ['ecdsa-sha2-nistp256', [named('nistp256'), point(32)]],
  ['ecdsa-sha2-nistp384', [named('nistp384'), point(48)]],
  ['ecdsa-sha2-nistp521', [named('nistp521'), point(66)]],
  ['ssh-rsa', [positive, positive]],
  ['ssh-dss', [positive, positive, positive, positive]],
  ['sk-ssh-ed25519@openssh.com', [sized(32), anything]],
  ['sk-ecdsa-sha2-nistp256@openssh.com', [named('nistp256'), point(32), anything]],
])
