import { Reader, Writer, type Value } from './wire.js'

/** A call of a method, with what it is called with. */
export interface Call {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  /** Strings, and dictionaries of strings. */
  readonly body?: readonly (string | Readonly<Record<string, string>>)[]
}

/** An answer, or something else that passes by. */
export interface Message {
  readonly type: number
  readonly repliesTo: number | undefined
  readonly errorName: string | undefined
  readonly body: readonly Value[]
}

// D-Bus specification, "Message Protocol".
const METHOD_CALL = 1
export const METHOD_RETURN = 2
export const ERROR = 3
const FIELD = { path: 1, interface: 2, member: 3, errorName: 4, replySerial: 5, destination: 6, signature: 8 }
const VERSION = 1

/** How many bytes tell the length of all the others. */
export const PREFIX_BYTES = 16

export const encode = (call: Call, serial: number): Buffer => {
  const body = new Writer()
  let signature = ''
  for (const value of call.body ?? []) {
    if (typeof value === 'string') body.string(value)
    else body.dictionary(value)
    signature += typeof value === 'string' ? 's' : 'a{ss}'
  }
  const fields = new Writer()
  const field = (code: number, type: 's' | 'o' | 'g', value: string) => {
    fields.align(8)
    fields.byte(code)
    fields.signature(type)
    if (type === 'g') fields.signature(value)
    else fields.string(value)
  }
  field(FIELD.path, 'o', call.path)
  field(FIELD.interface, 's', call.interface)
  field(FIELD.member, 's', call.member)
  field(FIELD.destination, 's', call.destination)
  if (signature !== '') field(FIELD.signature, 'g', signature)
  const head = new Writer()
  for (const byte of [LITTLE, METHOD_CALL, 0, VERSION]) head.byte(byte)
  for (const number of [body.bytes.length, serial, fields.bytes.length]) head.number(number)
  const padding = Buffer.alloc(-fields.bytes.length & 7)
  return Buffer.concat([head.bytes, fields.bytes, padding, body.bytes])
}

const LITTLE = 'l'.charCodeAt(0)

/** The lengths that the first {@link PREFIX_BYTES} of a message announce: its fields with their padding, its body. */
export const lengthsIn = (prefix: Buffer): { fields: number; body: number } => {
  const number = (at: number) => (isLittle(prefix) ? prefix.readUInt32LE(at) : prefix.readUInt32BE(at))
  const fields = number(12)
  return { fields: fields + (-fields & 7), body: number(4) }
}

export const decode = (prefix: Buffer, fields: Buffer, body: Buffer): Message => {
  const little = isLittle(prefix)
  const [, type, , , , , list] = new Reader(Buffer.concat([prefix, fields]), little).values('yyyyuua(yv)')
  const found = new Map((list as readonly (readonly [number, Value])[]).map(([code, value]) => [code, value]))
  const signature = found.get(FIELD.signature)
  return {
    type: Number(type),
    repliesTo: found.get(FIELD.replySerial) as number | undefined,
    errorName: found.get(FIELD.errorName) as string | undefined,
    body: typeof signature === 'string' ? new Reader(body, little).values(signature) : [],
  }
}

const isLittle = (prefix: Buffer): boolean => prefix[0] === LITTLE
