import { WireReader, wireString } from '../known-hosts/wire.js'

/** The messages of the SSH connection protocol that concern channels (RFC 4254 section 9). */
export const MESSAGE = {
  open: 90,
  opened: 91,
  openFailed: 92,
  windowAdjust: 93,
  data: 94,
  extendedData: 95,
  eof: 96,
  close: 97,
  request: 98,
  success: 99,
  failure: 100,
} as const

export type Field = number | boolean | string | Buffer

/** Fields as RFC 4251 section 5 writes them: a number as uint32, a boolean as one byte, all else as a string. */
export const encode = (fields: readonly Field[]): Buffer =>
  Buffer.concat(
    fields.map((field) => {
      if (typeof field === 'number') return uint32(field)
      if (typeof field === 'boolean') return Buffer.of(field ? 1 : 0)
      return wireString(typeof field === 'string' ? Buffer.from(field) : field)
    }),
  )

/** What follows a message's number. */
export class Body extends WireReader {}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

// ssh passes on messages of at most 256 KiB, and we ask for packets of 32 KiB.
const LONGEST = 300 * 1024

/** Cuts a flow of bytes into its parts, each of which is led by its length. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0)

  /** The parts that `chunk` completes. @throws RangeError on one that is too long to be meant */
  take(chunk: Buffer): Buffer[] {
    const parts: Buffer[] = []
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (bytes.length >= 4) {
      const end = 4 + bytes.readUInt32BE(0)
      if (end > LONGEST) throw new RangeError(`a message of ${end} bytes`)
      if (bytes.length < end) break
      parts.push(bytes.subarray(4, end))
      bytes = bytes.subarray(end)
    }
    this.#rest = bytes
    return parts
  }
}
