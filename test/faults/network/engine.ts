import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scope } from '../../../src/base/scope.js'
import { TempDir } from '../../testbed/temp-dir.js'

/** What answers behind the SSH server: an engine's version and ping, bytes to compare, streams without an end. */
export interface Engine {
  /** Its Unix socket. */
  readonly socket: string
  /** What it gives to those who fetch. */
  readonly payload: Buffer
}

/** How bytes are given away: as fast as they are taken, or at about 800 kB/s. */
export type Pace = 'at once' | 'slowly'

/** An engine that is gone with its scope. `payloadBytes`: how much there is to fetch. */
export const startEngine = async (scope: Scope, payloadBytes: number): Promise<Engine> => {
  const dir = scope.use(await TempDir.create())
  const socket = join(dir.path, 'engine.sock')
  const payload = randomBytes(payloadBytes)
  const answers: Record<string, RequestListener> = {
    '/version': (_, response) => response.end('{"Version":"28.2.2","ApiVersion":"1.50"}'),
    '/_ping': (_, response) => response.end('OK'),
    '/payload/at once': (_, response) => void given(payload, 'at once').pipe(response),
    '/payload/slowly': (_, response) => void given(payload, 'slowly').pipe(response),
    '/sha256': (request, response) => void hashOf(request).then((hash) => response.end(hash), ignore),
    '/follow': (_, response) => response.flushHeaders(),
    '/pour': (_, response) => pour(response),
    '/drink': (request) => request.resume(),
  }
  const server = createServer((request, response) => {
    request.on('error', ignore)
    response.on('error', ignore)
    answers[decodeURI(request.url ?? '')]?.(request, response)
  }).listen(socket)
  await once(server, 'listening')
  scope.add(server, () => {
    server.closeAllConnections()
    server.close()
  })
  return { socket, payload }
}

/** The checksum of a body, in hexadecimal. */
export const hashOf = async (body: IncomingMessage | Readable): Promise<string> => {
  const hash = createHash('sha256')
  for await (const piece of body as AsyncIterable<Buffer>) hash.update(piece)
  return hash.digest('hex')
}

/** Some bytes, to be taken at that pace. */
export const given = (bytes: Buffer, pace: Pace): Readable => Readable.from(pieces(bytes, pace))

async function* pieces(bytes: Buffer, pace: Pace): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE) {
    yield bytes.subarray(at, at + PIECE)
    if (pace === 'slowly') await sleep(EVERY_MS)
  }
}

/** Writes for ever, some 3 MB/s: a load, and room on the processors for what else runs here. */
export const pour = (to: Writable): void => {
  const timer = setInterval(() => to.write(Buffer.alloc(4 * PIECE)), EVERY_MS)
  to.once('close', () => clearInterval(timer))
}

const PIECE = 8 * 1024
const EVERY_MS = 10

const ignore = (): void => undefined
