import { connect, type Socket } from 'node:net'
import { ownUid } from '../../../base/paths.js'
import {
  decode,
  encode,
  ERROR,
  lengthsIn,
  METHOD_RETURN,
  PREFIX_BYTES,
  type Call,
  type Message,
} from './message.js'
import type { Value } from './wire.js'

/** The bus answered that it cannot do what was asked. */
export class BusError extends Error {
  override readonly name = 'BusError'
  /** `org.freedesktop.DBus.Error.ServiceUnknown`, for example. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * A connection to a message bus, for one call at a time. Not by a library: all we need is to ask whether the
 * keychain is locked, which the keychain's own library cannot tell without asking the user to unlock it.
 */
export class Bus implements Disposable {
  readonly #socket: Socket
  readonly #signal: AbortSignal
  #serial = 0

  /**
   * @param path of the bus' Unix socket; an abstract one begins with NUL
   * @param signal ends whatever is under way, for as long as the connection lives
   * @throws a system error, a BusError, or the signal's reason
   */
  static async connect(path: string, signal: AbortSignal): Promise<Bus> {
    signal.throwIfAborted()
    const bus = new Bus(connect(path), signal)
    try {
      await bus.#logIn()
      await bus.call({ ...BUS, path: '/org/freedesktop/DBus', member: 'Hello' })
      return bus
    } catch (failure) {
      bus[Symbol.dispose]()
      throw failure
    }
  }

  private constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket
    this.#signal = signal
    // Heard where something is read; without a listener it would end the process.
    socket.on('error', () => undefined)
  }

  /** @throws BusError when the answer is an error, a system error, or the signal's reason */
  async call(call: Call): Promise<readonly Value[]> {
    const serial = (this.#serial += 1)
    this.#socket.write(encode(call, serial))
    for (;;) {
      // Signals pass by as well.
      const { type, repliesTo, errorName, body } = await this.#message()
      if (repliesTo !== serial) continue
      if (type === METHOD_RETURN) return body
      if (type === ERROR) throw new BusError(errorName ?? '', typeof body[0] === 'string' ? body[0] : '')
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  // D-Bus specification, "Authentication Protocol": the kernel tells the bus who we are.
  async #logIn(): Promise<void> {
    this.#socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(ownUid())).toString('hex')}\r\n`)
    const answer = await this.#line()
    if (!answer.startsWith('OK ')) throw new BusError('REJECTED', 'the bus does not let us in')
    this.#socket.write('BEGIN\r\n')
  }

  async #line(): Promise<string> {
    let line = ''
    while (!line.endsWith('\r\n')) {
      if (line.length > LONGEST_LINE) throw new BusError('TOO_LONG', 'the bus says too much')
      line += (await this.#read(1)).toString('latin1')
    }
    return line
  }

  async #message(): Promise<Message> {
    const prefix = await this.#read(PREFIX_BYTES)
    const { fields, body } = lengthsIn(prefix)
    if (fields + body > LARGEST_BYTES) throw new BusError('TOO_LONG', 'the bus says too much')
    return decode(prefix, await this.#read(fields), await this.#read(body))
  }

  async #read(size: number): Promise<Buffer> {
    if (size === 0) return Buffer.alloc(0)
    for (;;) {
      this.#signal.throwIfAborted()
      const bytes = this.#socket.read(size) as Buffer | null
      if (bytes?.length === size) return bytes
      const { errored, destroyed, readableEnded } = this.#socket
      if (errored) throw errored
      if (bytes !== null || destroyed || readableEnded) throw new BusError('CLOSED', 'the bus hung up')
      await changed(this.#socket, this.#signal)
    }
  }
}

const BUS = { destination: 'org.freedesktop.DBus', interface: 'org.freedesktop.DBus' } as const
const LONGEST_LINE = 1000
const LARGEST_BYTES = 1024 * 1024

/** Until there is something new to read, or nothing more. */
const changed = (socket: Socket, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      for (const event of EVENTS) socket.off(event, done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    for (const event of EVENTS) socket.on(event, done)
    signal.addEventListener('abort', done)
  })

const EVENTS = ['readable', 'end', 'close'] as const
