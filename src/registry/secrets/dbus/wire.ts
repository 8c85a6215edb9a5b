/**
 * The part of D-Bus' wire format that we speak (D-Bus specification, "Marshaling"): bytes, booleans, unsigned
 * numbers, strings, paths, signatures, arrays, structs, entries of dictionaries and variants.
 */

/** An array for `a`, `(` and `{`; a variant is read as its value. */
export type Value = number | boolean | string | readonly Value[]

/** A value with its type, as a variant is written. */
export interface Typed {
  readonly type: string
  readonly value: Value
}

/** Bytes of one or more values, little-endian; alignment counts from their beginning. */
export class Writer {
  readonly #parts: Buffer[] = []
  #length = 0

  get bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  align(to: number): void {
    this.#add(Buffer.alloc(-this.#length & (to - 1)))
  }

  byte(value: number): void {
    this.#add(Buffer.of(value))
  }

  number(value: number): void {
    this.align(4)
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    this.#add(bytes)
  }

  /** `s` and `o`. */
  string(text: string): void {
    this.number(Buffer.byteLength(text))
    this.#add(Buffer.from(`${text}\0`))
  }

  signature(text: string): void {
    this.byte(text.length)
    this.#add(Buffer.from(`${text}\0`))
  }

  /** `a{ss}`. */
  dictionary(entries: Readonly<Record<string, string>>): void {
    const inner = new Writer()
    for (const [key, value] of Object.entries(entries)) {
      inner.align(8)
      inner.string(key)
      inner.string(value)
    }
    this.number(inner.bytes.length)
    this.align(8)
    this.#add(inner.bytes)
  }

  #add(bytes: Buffer): void {
    this.#parts.push(bytes)
    this.#length += bytes.length
  }
}

/** Reads values by their signature; throws a RangeError where the bytes end too early or the type is unknown. */
export class Reader {
  readonly #bytes: Buffer
  readonly #little: boolean
  #at = 0

  constructor(bytes: Buffer, little: boolean) {
    this.#bytes = bytes
    this.#little = little
  }

  /** One value for each type of the signature. */
  values(signature: string): Value[] {
    return typesIn(signature).map((type) => this.#value(type))
  }

  #value(type: string): Value {
    switch (type.charAt(0)) {
      case 'y':
        return this.#take(1).readUInt8()
      case 'b':
        return this.#number() !== 0
      case 'u':
        return this.#number()
      case 's':
      case 'o':
        return this.#text(this.#number())
      case 'g':
        return this.#text(this.#take(1).readUInt8())
      case 'v':
        return this.#variant()
      case 'a':
        return this.#array(type.slice(1))
      case '(':
      case '{':
        this.#align(8)
        return this.values(type.slice(1, -1))
      default:
        throw new RangeError(`unknown type ${type}`)
    }
  }

  #variant(): Value {
    const [value, ...more] = this.values(this.#text(this.#take(1).readUInt8()))
    if (value === undefined || more.length > 0) throw new RangeError('a variant holds one value')
    return value
  }

  #array(type: string): Value[] {
    const length = this.#number()
    this.#align(alignmentOf(type))
    const end = this.#at + length
    const values: Value[] = []
    while (this.#at < end) values.push(this.#value(type))
    return values
  }

  #number(): number {
    this.#align(4)
    const bytes = this.#take(4)
    return this.#little ? bytes.readUInt32LE() : bytes.readUInt32BE()
  }

  #text(length: number): string {
    const text = this.#take(length).toString()
    this.#take(1)
    return text
  }

  #align(to: number): void {
    this.#at += -this.#at & (to - 1)
  }

  #take(length: number): Buffer {
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    if (bytes.length < length) throw new RangeError('the message ends too early')
    this.#at += length
    return bytes
  }
}

const ALIGNED_TO_8 = '({'
const alignmentOf = (type: string): number =>
  ALIGNED_TO_8.includes(type[0] ?? ' ') ? 8 : 'ygv'.includes(type[0] ?? ' ') ? 1 : 4

/** The complete types of a signature: `sa{sv}(uu)` has three. */
const typesIn = (signature: string): string[] => {
  const types: string[] = []
  for (let at = 0; at < signature.length;) {
    const end = endOfType(signature, at)
    types.push(signature.slice(at, end))
    at = end
  }
  return types
}

const endOfType = (signature: string, from: number): number => {
  let at = from
  while (signature[at] === 'a') at += 1
  for (let depth = 0; at < signature.length; at += 1) {
    if ('({'.includes(signature[at] ?? '')) depth += 1
    if (')}'.includes(signature[at] ?? '')) depth -= 1
    if (depth === 0) return at + 1
  }
  throw new RangeError(`a broken signature: ${signature}`)
}
