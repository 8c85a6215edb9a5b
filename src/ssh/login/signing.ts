import { sign, type KeyObject } from 'node:crypto'
import ssh2, { type ParsedKey } from 'ssh2'

/** Prepares the signature of `data`; when it resolves, there is one or there never will be. */
type PrepareSignature = (data: Buffer, hash: string | undefined) => Promise<void>

/**
 * Shows ssh2 one key as if an agent held it, and uses the time that an agent has to prepare a signature. It
 * never gives one itself: with its refusal, ssh2 asks the authHandler what to do next.
 */
export class SigningAgent extends ssh2.BaseAgent<ParsedKey> {
  readonly #key: ParsedKey
  readonly #prepare: PrepareSignature

  constructor(key: ParsedKey, prepare: PrepareSignature) {
    super()
    this.#key = key
    this.#prepare = prepare
  }

  override getIdentities(answer: ssh2.IdentityCallback<ParsedKey>): void {
    answer(undefined, [this.#key])
  }

  override sign(
    _key: ParsedKey,
    data: Buffer,
    options: ssh2.SigningRequestOptions | ssh2.SignCallback,
    answer?: ssh2.SignCallback,
  ): void {
    const hash = typeof options === 'function' ? undefined : options.hash
    const done = typeof options === 'function' ? options : answer
    const handOver = () => done?.(new Error('the authHandler goes on from here'))
    // ssh2 uses the memory of `data` again.
    void this.#prepare(Buffer.from(data), hash).then(handOver, handOver)
  }
}

/** A key that ssh2 takes for a private one, and that knows the signature of `data` only. */
export const presigned = (publicKey: ParsedKey, data: Buffer, signature: Buffer): ParsedKey => {
  const known = (asked: Buffer | string) =>
    data.equals(Buffer.from(asked)) ? signature : new Error('there is no signature for that')
  return Object.assign(Object.create(publicKey) as ParsedKey, {
    isPrivateKey: () => true,
    sign: known as ParsedKey['sign'],
  })
}

/** A signature as OpenSSL makes it; ssh2 turns it into SSH's form. `hash`: for RSA, as node names it. */
export const signWith = (key: KeyObject, data: Buffer, hash: string | undefined): Buffer => {
  const curve = key.asymmetricKeyDetails?.namedCurve
  if (key.asymmetricKeyType === 'ed25519') return sign(null, data, key)
  // RFC 5656, section 6.2.1: the hash goes with the size of the curve.
  if (key.asymmetricKeyType === 'ec') return sign(HASH_OF[curve ?? ''] ?? 'sha256', data, key)
  return sign(hash ?? 'sha1', data, key)
}

const HASH_OF: Readonly<Record<string, string>> = {
  prime256v1: 'sha256',
  secp384r1: 'sha384',
  secp521r1: 'sha512',
}
