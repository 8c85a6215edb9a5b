/** Reads the data types of RFC 4251, section 5, one after the other; throws a RangeError where the bytes end. */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Whether every byte has been read. */
  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  /** How many bytes have been read. */
  get offset(): number {
    return this.#at
  }

  boolean(): boolean {
    this.#at += 1
    return this.#bytes.readUInt8(this.#at - 1) !== 0
  }

  uint32(): number {
    const value = this.#bytes.readUInt32BE(this.#at)
    this.#at += 4
    return value
  }

  uint64(): bigint {
    const value = this.#bytes.readBigUInt64BE(this.#at)
    this.#at += 8
    return value
  }

  string(): Buffer {
    const length = this.uint32()
    if (length > this.#bytes.length - this.#at) throw new RangeError('a string longer than the rest')
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  /** A string that holds a name: of an algorithm, a curve, a principal. */
  name(): string {
    return this.string().toString('latin1')
  }
}

export const wireString = (value: Buffer | string): Buffer => {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** What `read` makes of bytes from elsewhere; undefined where they end too early. */
export const orMalformed = <T>(read: () => T): T | undefined => {
  try {
    return read()
  } catch (failure) {
    if (failure instanceof RangeError) return undefined
    throw failure
  }
}
