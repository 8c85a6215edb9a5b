import { createPrivateKey, type KeyObject } from 'node:crypto'
import ssh2 from 'ssh2'
import { WireReader } from './wire.js'

/** What OpenSSH's own file format says in clear (PROTOCOL.key): how it is encrypted, and the public half. */
export interface Container {
  readonly cipher: string
  /** `none` or `bcrypt`. */
  readonly kdf: string
  readonly blob: Buffer
}

/** @throws Error when `text` is no such file */
export const readContainer = (text: string): Container => {
  const base64 = /^-----BEGIN OPENSSH PRIVATE KEY-----$([^-]*)^-----END OPENSSH PRIVATE KEY-----$/mu.exec(
    text.replaceAll('\r', ''),
  )?.[1]
  const reader = new WireReader(Buffer.from(base64 ?? '', 'base64'))
  if (reader.take(MAGIC.length).toString('latin1') !== MAGIC) throw new Error('it is not in its own format')
  const cipher = reader.string().toString('latin1')
  const kdf = reader.string().toString('latin1')
  reader.string() // the salt and the rounds
  if (reader.uint32() !== 1) throw new Error('it holds more than one key')
  return { cipher, kdf, blob: Buffer.from(reader.string()) }
}

const MAGIC = 'openssh-key-v1\0'

/** The key in a container that is not encrypted. @throws Error */
export const keyOfContainer = (text: string): KeyObject => {
  const parsed = ssh2.utils.parseKey(text)
  if (parsed instanceof Error) throw parsed
  return createPrivateKey(parsed.getPrivatePEM())
}
