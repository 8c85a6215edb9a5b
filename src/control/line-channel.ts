import type { Duplex } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import type { z } from 'zod'

// What a supervisor with thousands of hosts has to say in one line is less.
const LONGEST_LINE = 16 * 1024 * 1024

// What was sent last is read in a moment; whoever hangs, or never ends its side, must not keep us.
const ENDS_WITHIN_MS = 1000

/**
 * A connection that carries JSON documents both ways, one a line. What is no document of the schema is passed
 * over: another version may have more to say.
 */
export class LineChannel<Incoming, Outgoing> {
  /** Resolves when the connection is over, however it ended. */
  readonly closed: Promise<void>
  readonly #socket: Duplex
  readonly #schema: z.ZodType<Incoming>
  /** The pieces of the line that has not ended yet, and their length. */
  #pieces: string[] = []
  #length = 0
  #listener: ((message: Incoming) => void) | undefined

  /** `head`: what came in together with the answer that opened the connection. */
  constructor(socket: Duplex, schema: z.ZodType<Incoming>, head: Buffer = Buffer.alloc(0)) {
    this.#socket = socket
    this.#schema = schema
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    if (head.length > 0) socket.unshift(head)
    socket.on('error', () => undefined)
    // Neither side has anything to say to one that has finished.
    socket.once('end', () => socket.end())
  }

  /** Whether the other side has finished, or is gone, as far as we have read. */
  get isOver(): boolean {
    return this.#socket.destroyed || this.#socket.readableEnded
  }

  /** Hears every message from now on; those that came before are kept for it. To be called once. */
  receive(listener: (message: Incoming) => void): void {
    this.#listener = listener
    // A socket that a server of Node's has given away refuses an encoding.
    const decoder = new StringDecoder('utf8')
    this.#socket.on('data', (bytes: Buffer) => this.#take(decoder.write(bytes)))
  }

  /** The kernel has the message when this returns, unless the other side has not read for long. */
  send(message: Outgoing): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(message)}\n`)
  }

  /** Ends the connection, whatever the other side does; what was sent still arrives, if it is read at once. */
  close(): void {
    this.#socket.end()
    this.#socket.resume()
    setTimeout(() => this.#socket.destroy(), ENDS_WITHIN_MS).unref()
  }

  #take(text: string): void {
    const [first = '', ...more] = text.split('\n')
    this.#pieces.push(first)
    this.#length += first.length
    for (const next of more) {
      this.#hear(this.#pieces.join(''))
      this.#pieces = [next]
      this.#length = next.length
    }
    if (this.#length > LONGEST_LINE) this.#socket.destroy()
  }

  #hear(line: string): void {
    const message = this.#schema.safeParse(parsed(line))
    if (message.success) this.#listener?.(message.data)
  }
}

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
