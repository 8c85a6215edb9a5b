/**
 * The encrypted file's form: one line of JSON, whose data is a JSON object of names and secrets under AES-256-GCM
 * (NIST SP 800-38D), the key made from the passphrase by scrypt (RFC 7914).
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  randomBytes,
  scrypt,
  timingSafeEqual,
} from 'node:crypto'
import { z } from 'zod'

export type Secrets = Readonly<Record<string, string>>

/** A file as it is read, before anything of it is decrypted. */
export type Sealed = z.output<typeof Envelope>

/** What the passphrase was made into; fits every file with the same salt. */
export interface Key {
  readonly salt: string
  readonly cipher: Buffer
  /** Independent of `cipher`: kept in the file, it tells a wrong passphrase from damage. */
  readonly check: Buffer
}

const VERSION = 1
// 128 MiB and about half a second for each guess.
const COST = { N: 2 ** 17, r: 8, p: 1 } as const
// A file must not make us take more memory than this many times that.
const MOST_N = COST.N * 8

const Envelope = z.strictObject({
  dproxySecrets: z.literal(VERSION),
  scrypt: z.strictObject({
    N: z.int().min(COST.N).max(MOST_N),
    r: z.literal(COST.r),
    p: z.literal(COST.p),
    salt: z.string(),
  }),
  check: z.string(),
  iv: z.string(),
  data: z.string(),
  sha256: z.string(),
})

/** The file is not as we wrote it. */
export class Damaged extends Error {
  override readonly name = 'Damaged'
}

/** @throws Damaged, also when the file is of a version that we do not know */
export const parseSealed = (text: string): Sealed => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new Damaged('it is not one of our files, or was cut off')
  }
  const { success: newer } = z.object({ dproxySecrets: z.int().min(VERSION + 1) }).safeParse(json)
  if (newer) throw new Damaged('it was written by a newer version of dproxy')
  const { data: sealed } = Envelope.safeParse(json)
  if (sealed === undefined) throw new Damaged('it is not one of our files')
  const { sha256, ...rest } = sealed
  // Byte for byte, so that nothing in the file goes unchecked.
  if (sha256 !== sumOf(rest) || text !== textOf(sealed)) throw new Damaged('its checksum does not fit')
  return sealed
}

/** Makes the key of a file, or of a new one; off the main thread. Takes 128 MiB, so one at a time is enough. */
export const keyFor = async (passphrase: string, from?: Sealed): Promise<Key> => {
  const { salt, ...cost } = from?.scrypt ?? { ...COST, salt: randomBytes(16).toString('base64') }
  // The same letters may be typed in two encodings: composed on one system, decomposed on another.
  const bytes = await stretched(passphrase.normalize('NFC'), Buffer.from(salt, 'base64'), cost)
  return { salt, cipher: bytes.subarray(0, 32), check: bytes.subarray(32) }
}

const stretched = (
  passphrase: string,
  salt: Buffer,
  cost: { N: number; r: number; p: number },
): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const maxmem = 128 * cost.N * cost.r * 2
    scrypt(passphrase, salt, 64, { ...cost, maxmem }, (failure, bytes) => {
      if (failure) reject(failure)
      else resolve(bytes)
    })
  })

/** Whether the key was made from the passphrase that the file was written with. */
export const fits = ({ check }: Key, sealed: Sealed): boolean => {
  const wanted = Buffer.from(sealed.check, 'base64')
  return wanted.length === check.length && timingSafeEqual(wanted, check)
}

/** @throws Damaged when the content was changed by somebody without the key */
export const unseal = (sealed: Sealed, key: Key): Secrets => {
  const { data, iv, ...header } = sealed
  const bytes = Buffer.from(data, 'base64')
  try {
    const decipher = createDecipheriv('aes-256-gcm', key.cipher, Buffer.from(iv, 'base64'), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(associated(header))
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    const text = Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()])
    return Content.parse(JSON.parse(text.toString()))
  } catch {
    // Without the cause: a parser's complaint may quote what it read.
    throw new Damaged('its content was changed')
  }
}

const Content = z.record(z.string(), z.string())

/** The text of a file that holds these secrets. */
export const seal = (secrets: Secrets, key: Key, from?: Sealed): string => {
  const { salt: _, ...cost } = from?.scrypt ?? { ...COST, salt: '' }
  const header = {
    dproxySecrets: VERSION,
    scrypt: { ...cost, salt: key.salt },
    check: key.check.toString('base64'),
  } as const
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key.cipher, iv, { authTagLength: TAG_BYTES })
  cipher.setAAD(associated(header))
  const data = Buffer.concat([
    cipher.update(padded(JSON.stringify(secrets))),
    cipher.final(),
    cipher.getAuthTag(),
  ])
  const rest = { ...header, iv: iv.toString('base64'), data: data.toString('base64') }
  return textOf({ ...rest, sha256: sumOf(rest) })
}

const TAG_BYTES = 16

/** Blanks up to a whole KiB: the length of the file tells little about those of the secrets. */
const padded = (text: string): Buffer => {
  const bytes = Buffer.from(text)
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 1023, ' ')])
}

const associated = ({
  dproxySecrets,
  scrypt: { N, r, p, salt },
  check,
}: Omit<Sealed, 'iv' | 'data' | 'sha256'>): Buffer =>
  Buffer.from(JSON.stringify([dproxySecrets, N, r, p, salt, check]))

const sumOf = ({
  dproxySecrets,
  scrypt: { N, r, p, salt },
  check,
  iv,
  data,
}: Omit<Sealed, 'sha256'>): string =>
  createHash('sha256')
    .update(JSON.stringify([dproxySecrets, N, r, p, salt, check, iv, data]))
    .digest('base64')

const textOf = (sealed: Sealed): string => `${JSON.stringify(sealed)}\n`
