import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A Docker engine with a few questions of our own in front of it: `POST /soak/sum` answers the checksum of what it
 * is sent, `POST /soak/echo` what it is sent, `GET /soak/bytes/{seed}/{length}` so many bytes, `GET /soak/ticks`
 * a numbered line every 100 ms. All else is the engine's.
 */
export class CheckingEngine implements AsyncDisposable {
  readonly path: string
  /** Connections that are open now. */
  readonly connections = new Set<Socket>()
  readonly #server: Server

  static async start(engine: string, path: string): Promise<CheckingEngine> {
    const server = createServer({ allowHalfOpen: true }).listen(path)
    await once(server, 'listening')
    return new CheckingEngine(engine, path, server)
  }

  private constructor(engine: string, path: string, server: Server) {
    this.path = path
    this.#server = server
    const own = createHttpServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
      void answer(request, response).catch(() => response.destroy())
    })
    server.on('connection', (client) => {
      this.connections.add(client)
      client.on('error', () => {}).once('close', () => this.connections.delete(client))
      client.once('readable', () => {
        const first = client.read() as Buffer | null
        if (first) client.unshift(first)
        if (first && / \/soak\//u.test(first.toString('latin1', 0, 40))) own.emit('connection', client)
        else forward(client, engine)
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.connections) socket.destroy()
    await closed
  }
}

/** So many bytes that do not compress, the same for the same seed. */
export function* noise(seed: number, length: number): Generator<Buffer> {
  const key = Buffer.alloc(16)
  key.writeUInt32BE(seed)
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(PIECE)
  for (let left = length; left > 0; left -= PIECE)
    yield cipher.update(zeros.subarray(0, Math.min(left, PIECE)))
}

export const sumOfNoise = (seed: number, length: number): string => {
  const hash = createHash('sha256')
  for (const piece of noise(seed, length)) hash.update(piece)
  return hash.digest('hex')
}

const PIECE = 64 * 1024

const forward = (client: Socket, engine: string): void => {
  const upstream = connect({ path: engine, allowHalfOpen: true })
  upstream.on('error', () => {})
  client.pipe(upstream).pipe(client)
  client.once('close', () => upstream.destroy())
  upstream.once('close', (failed) => failed && client.destroy())
}

const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const [, , what, seed, length] = (request.url ?? '').split('/')
  if (what === 'sum') {
    const hash = createHash('sha256')
    for await (const piece of request) hash.update(piece as Buffer)
    response.end(hash.digest('hex'))
  } else if (what === 'echo') {
    await pipeline(request, response)
  } else if (what === 'bytes') {
    await pipeline(Readable.from(noise(Number(seed), Number(length))), response)
  } else if (what === 'ticks') {
    for (let line = 0; !response.destroyed; line++) {
      response.write(`${line}\n`)
      await sleep(100)
    }
  } else {
    response.writeHead(404).end()
  }
}
