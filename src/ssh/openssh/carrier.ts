import { connect, type Socket } from 'node:net'
import { deferred } from '../../base/deferred.js'
import { errnoOf } from '../../base/errors.js'
import { unless } from '../../base/timeout.js'
import { Body, encode, Frames, type Field } from './messages.js'

// PROTOCOL.mux sections 1, 9 and 11.
const HELLO = 0x00000001
const PROXY = 0x1000000f
const PROXY_BEGINS = 0x8000000f
const MUX_VERSION = 4

// Above this many bytes that ssh has not taken yet, writers wait.
const QUEUE_BYTES = 128 * 1024

/** The control socket is not there, or nobody listens at it. */
export class NotListening extends Error {}
/** The ssh at the other end does not do what is asked (OpenSSH before 7.4). */
export class NotProxying extends Error {}

/**
 * The way to a running `ssh` that has logged in: its control socket, put into proxy mode (PROTOCOL.mux section
 * 9). From then on it carries the messages of the SSH connection protocol (RFC 4254) in plain form, and ssh
 * does the rest: ciphers, new keys, signs of life, and channel numbers.
 *
 * A message is a fact about the server; ssh never makes one up. When ssh dies or loses the server, this ends,
 * and nothing else does: no channel ever looks as if the server had ended it.
 */
export class Carrier {
  readonly #socket: Socket
  readonly #frames = new Frames()
  #writers: (() => void)[] = []
  #onMessage: ((type: number, body: Body) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  /**
   * Connects to the control socket at `path`.
   * @throws NotListening, NotProxying, or what `signal` says
   */
  static async open(path: string, signal: AbortSignal): Promise<Carrier> {
    const socket = connect(path)
    const carrier = new Carrier(socket)
    const ready = deferred<void>()
    const ended = (failure?: Error) => ready.reject(failure ?? new NotProxying('ssh hung up'))
    socket.once('close', () => ended())
    socket.on('error', (failure) => ended(asNotListening(failure)))
    socket.on('drain', () => carrier.#onDrain())
    carrier.#greet(ready.resolve, ended)
    try {
      await unless([signal], ready.promise)
      return carrier
    } catch (failure) {
      socket.destroy()
      throw failure
    }
  }

  #greet(onReady: () => void, onFailure: (failure: Error) => void): void {
    this.#write(encode([HELLO, MUX_VERSION]))
    this.#write(encode([PROXY, 0]))
    this.#onPart((part) => {
      const body = new Body(part)
      const type = body.uint32()
      // The hello tells versions; the answer to the question after it is what counts.
      if (type === HELLO) return
      if (type === PROXY_BEGINS) onReady()
      else onFailure(new NotProxying('ssh refused'))
    }, onFailure)
  }

  #onPart(take: (part: Buffer) => void, onFailure: (failure: Error) => void): void {
    this.#socket.removeAllListeners('data')
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        for (const part of this.#frames.take(chunk)) take(part)
      } catch (failure) {
        onFailure(failure instanceof Error ? failure : new Error(String(failure)))
      }
    })
  }

  /** Hears every message, and once that no more will come. To be called at once, and once. */
  listen(onMessage: (type: number, body: Body) => void, onEnd: (why: Error | undefined) => void): void {
    let over = false
    const end = (why?: Error) => {
      if (over) return
      over = true
      this.#socket.destroy()
      onEnd(why)
    }
    this.#onMessage = onMessage
    this.#socket.removeAllListeners('error').on('error', end)
    this.#socket.removeAllListeners('close').once('close', () => end())
    this.#onPart((part) => {
      // A padding length, always 0, and the message's number come first.
      if (!over) this.#onMessage?.(part.readUInt8(1), new Body(part.subarray(2)))
    }, end)
  }

  send(type: number, fields: readonly Field[]): void {
    if (this.#socket.writable) this.#write(Buffer.concat([Buffer.of(0, type), encode(fields)]))
  }

  /** Whether ssh has taken most of what was sent. */
  get hasRoom(): boolean {
    return this.#socket.writableLength <= QUEUE_BYTES
  }

  /** Calls back the next time there is room. */
  onRoom(then: () => void): void {
    this.#writers.push(then)
  }

  /** Hangs up. Nobody who waits for room is called any more. */
  close(): void {
    this.#writers = []
    this.#socket.destroy()
  }

  #write(part: Buffer): void {
    this.#socket.write(encode([part]))
  }

  #onDrain(): void {
    const waiting = this.#writers
    this.#writers = []
    for (const then of waiting) then()
  }
}

const asNotListening = (failure: Error): Error =>
  ['ENOENT', 'ECONNREFUSED'].includes(errnoOf(failure) ?? '')
    ? new NotListening(failure.message, { cause: failure })
    : failure
