import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { deferred } from '../../src/base/deferred.js'

/** What is done to the bytes of one direction; may be changed at any time. */
export interface Faults {
  /** Every byte comes this much later. */
  latencyMs: number
  /** And up to this much more, drawn at random for each piece; order is kept. */
  jitterMs: number
  /** Bytes a second; Infinity: as fast as they come. */
  rate: number
  /** Bytes wait until it is lifted, as packets do that are sent again and again. */
  blackhole: boolean
  /** Written in pieces of at most this many bytes. */
  slice: number
  /** A bit of the byte at this offset of each connection is flipped; Infinity: none. */
  flipAt: number
  /** The connection is closed after this many bytes; Infinity: never. */
  limit: number
  /** The end of the bytes comes this much later. */
  slowCloseMs: number
}

/** What happens to connections that are made from now on. */
export type Door = 'open' | 'refuse' | 'silent' | 'hang up' | 'reset'

// A line's buffers: what is under way, before the sender is held back.
const MOST_UNDER_WAY = 8 * 1024 * 1024

/**
 * A TCP relay in front of a server, with faults to order: as toxiproxy has them, in plain Node and without root.
 * It works on bytes, not on packets. Ends with its scope.
 */
export class Chaos implements AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly port: number
  /** Client to server. */
  readonly up = new Line()
  /** Server to client. */
  readonly down = new Line()
  /** How many connections were ever accepted. */
  accepted = 0
  readonly #server: Server
  readonly #target: { readonly host: string; readonly port: number }
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  readonly #lonely = new Set<Socket>()
  #door: Door = 'open'

  static async start(target: { readonly host: string; readonly port: number }): Promise<Chaos> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Chaos(server, target)
  }

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server
    this.#target = target
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (client) => this.#accept(client))
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#pairs.size
  }

  /** `refuse` closes the port, as a server that is not running; what is open stays open. */
  async door(door: Door): Promise<void> {
    const was = this.#door
    this.#door = door
    if (door === 'refuse')
      await new Promise<void>((resolve) => (this.#server.close(() => resolve()), resolve()))
    else if (was === 'refuse') {
      this.#server.listen(this.port, '127.0.0.1')
      await once(this.#server, 'listening')
    }
  }

  /** Both directions stand still, or go on. */
  blackhole(on: boolean): void {
    for (const line of [this.up, this.down]) line.set({ blackhole: on })
  }

  /** Every open connection is reset, at both ends. */
  reset(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy()
    for (const socket of this.#lonely) socket.resetAndDestroy()
  }

  /** Every open connection is closed, at both ends, with what is under way lost. */
  close(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  /** No faults any more; what was lost stays lost. */
  async heal(): Promise<void> {
    for (const line of [this.up, this.down]) line.set(NO_FAULTS)
    await this.door('open')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const line of [this.up, this.down]) line.set(NO_FAULTS)
    this.close()
    for (const socket of this.#lonely) socket.destroy()
    await new Promise<void>((resolve) => void this.#server.close(() => resolve()))
  }

  #accept(client: Socket): void {
    this.accepted += 1
    client.on('error', ignore)
    if (this.#door === 'hang up') return void client.destroy()
    if (this.#door === 'reset') return void client.resetAndDestroy()
    if (this.#door === 'silent') {
      this.#lonely.add(client)
      client.once('close', () => this.#lonely.delete(client)).resume()
      return undefined
    }
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true }).on('error', ignore)
    const pair = [client, server] as const
    this.#pairs.add(pair)
    const over = () => {
      for (const socket of pair) socket.destroy()
      this.#pairs.delete(pair)
    }
    for (const socket of pair) socket.once('close', (failed) => failed && over())
    const both = Promise.all([this.up.carry(client, server), this.down.carry(server, client)])
    void both.catch(ignore).finally(over)
    return undefined
  }
}

const NO_FAULTS: Faults = {
  latencyMs: 0,
  jitterMs: 0,
  rate: Number.POSITIVE_INFINITY,
  blackhole: false,
  slice: Number.POSITIVE_INFINITY,
  flipAt: Number.POSITIVE_INFINITY,
  limit: Number.POSITIVE_INFINITY,
  slowCloseMs: 0,
}

/** One direction of every connection. */
export class Line {
  #faults: Faults = NO_FAULTS
  #changed = deferred<void>()
  /** Bytes carried so far, of all connections. */
  bytes = 0

  get faults(): Readonly<Faults> {
    return this.#faults
  }

  set(faults: Partial<Faults>): void {
    this.#faults = { ...this.#faults, ...faults }
    this.#changed.resolve()
    this.#changed = deferred()
  }

  /** Carries bytes until they end; rejects when the connection must not go on. */
  async carry(from: Socket, to: Socket): Promise<void> {
    const queue = new Queue(from)
    let carried = 0
    let dueMs = 0
    for (let piece = await queue.next(); piece; piece = await queue.next()) {
      const { latencyMs, jitterMs } = this.#faults
      dueMs = Math.max(dueMs, piece.atMs + latencyMs + jitterMs * Math.random())
      await sleepUntil(dueMs)
      for (let at = 0; at < piece.bytes.length;) {
        await this.#lifted()
        if (to.destroyed) throw new Error('who it is for has left')
        const { slice, rate, flipAt, limit } = this.#faults
        const most = Math.min(slice, limit - carried, rate === Number.POSITIVE_INFINITY ? slice : rate / 50)
        if (most <= 0) throw new Error('the limit is reached')
        const bytes = piece.bytes.subarray(at, at + Math.max(1, Math.floor(most)))
        at += bytes.length
        if (flipAt >= carried && flipAt < carried + bytes.length) bytes[flipAt - carried]! ^= 1
        carried += bytes.length
        this.bytes += bytes.length
        if (rate !== Number.POSITIVE_INFINITY) await sleep((bytes.length / rate) * 1000)
        if (!to.write(bytes)) await Promise.race([once(to, 'drain'), closed(to)])
        // A turn of the loop between two pieces, so that they are not joined again.
        if (slice !== Number.POSITIVE_INFINITY) await new Promise(setImmediate)
      }
      queue.done(piece)
    }
    await this.#lifted()
    if (this.#faults.slowCloseMs > 0) await sleep(this.#faults.slowCloseMs)
    to.end()
    await Promise.race([once(to, 'finish'), closed(to)])
  }

  async #lifted(): Promise<void> {
    while (this.#faults.blackhole) await this.#changed.promise
  }
}

interface Piece {
  readonly bytes: Buffer
  readonly atMs: number
}

/** What has been received and not carried yet, with the time it came in. */
class Queue {
  readonly #pieces: (Piece | undefined)[] = []
  readonly #from: Socket
  #waiting: (() => void) | undefined
  #size = 0

  constructor(from: Socket) {
    this.#from = from
    from.on('data', (bytes: Buffer) => {
      this.#size += bytes.length
      this.#push({ bytes, atMs: performance.now() })
      if (this.#size > MOST_UNDER_WAY) from.pause()
    })
    from.once('end', () => this.#push(undefined))
    from.once('close', () => this.#push(undefined))
  }

  /** The next piece; undefined at the end. */
  async next(): Promise<Piece | undefined> {
    while (this.#pieces.length === 0) await new Promise<void>((resolve) => (this.#waiting = resolve))
    return this.#pieces.shift()
  }

  done({ bytes }: Piece): void {
    this.#size -= bytes.length
    if (this.#size <= MOST_UNDER_WAY) this.#from.resume()
  }

  #push(piece: Piece | undefined): void {
    this.#pieces.push(piece)
    this.#waiting?.()
    this.#waiting = undefined
  }
}

const sleepUntil = async (atMs: number): Promise<void> => {
  const rest = atMs - performance.now()
  if (rest > 1) await sleep(rest)
}

const closed = (socket: Socket): Promise<unknown> =>
  socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve))

const ignore = (): void => undefined
