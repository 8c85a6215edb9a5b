import { createHash, randomBytes, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, request, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { join } from 'node:path'
import type { Scope } from '../../../src/base/scope.js'
import { startLoopbackServer } from '../../../src/ssh/loopback-server.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { Chaos } from '../../testbed/chaos.js'
import type { TestHost } from '../../testbed/hosts.js'
import { TempDir } from '../../testbed/temp-dir.js'

/** What the engine has for whoever asks. */
export const PAYLOAD = randomBytes(4 * 1024 * 1024)

/** A version, bytes to fetch, a checksum of what is sent, and bytes without end; any other answer never ends. */
const engine: RequestListener = (asked, answer) => {
  asked.on('error', ignore)
  answer.on('error', ignore)
  if (asked.url === '/version') answer.end('{"Version":"28.2.2","ApiVersion":"1.50"}')
  else if (asked.url === '/payload') answer.end(PAYLOAD)
  else if (asked.url === '/sha256') void hashed(asked).then((hash) => answer.end(hash.digest('hex')), ignore)
  else if (asked.url === '/pour') pour(answer)
  else answer.flushHeaders()
}

const pour = (answer: Parameters<RequestListener>[1]): void => {
  const more = () => {
    while (!answer.destroyed && answer.write(PAYLOAD.subarray(0, 64 * 1024)));
  }
  answer.on('drain', more)
  more()
}

/** An SSH server with an engine behind it, and in front of it a relay with faults to order. */
export const startScene = async (scope: Scope, docker: Server = createServer(engine)) => {
  const dir = scope.use(await TempDir.create()).path
  const engineSocket = join(dir, 'engine.sock')
  docker.listen(engineSocket)
  await once(docker, 'listening')
  scope.add(docker, (server) => {
    server.closeAllConnections()
    server.close()
  })
  const [hostKey, clientKey] = [generateThrowAwayKey(), generateThrowAwayKey()]
  const server = scope.use(await startLoopbackServer({ hostKey, clientKey, sockets: [engineSocket] }))
  const chaos = scope.use(await Chaos.start({ host: '127.0.0.1', port: server.port }))
  const keyFile = join(dir, 'key')
  const knownHostsFile = join(dir, 'known_hosts')
  await writeFile(keyFile, clientKey.privateKey, { mode: 0o600 })
  await writeFile(knownHostsFile, `[127.0.0.1]:${chaos.port} ${hostKey.publicKeyLine}\n`)
  const host: TestHost = {
    host: chaos.host,
    port: chaos.port,
    user: 'deploy',
    keyFile,
    knownHostsFile,
    remoteSocket: engineSocket,
    engineSocket,
  }
  return { chaos, host }
}

/** A client of a host's socket whose answer never ends by itself. */
export const hold = async (scope: Scope, socketPath: string, path: '/follow' | '/pour' = '/follow') => {
  const asked = scope.add(request({ socketPath, path, agent: false }), (sent) => sent.destroy())
  asked.on('error', ignore)
  asked.end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  answer.on('error', ignore).resume()
  return { ended: once(asked, 'close') }
}

/** What a host's socket answers. */
export const ask = async (socketPath: string, path = '/version'): Promise<number | undefined> => {
  const answer = await answerOf(socketPath, path)
  await once(answer.resume(), 'end')
  return answer.statusCode
}

/** The checksum of the engine's payload as it comes through a host's socket. */
export const fetchPayload = async (socketPath: string): Promise<string> =>
  (await hashed(await answerOf(socketPath, '/payload'))).digest('hex')

/** Sends the payload through a host's socket; the checksum that the engine made of it. */
export const sendPayload = async (socketPath: string): Promise<string> => {
  const answer = await answerOf(socketPath, '/sha256', PAYLOAD)
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += chunk as string
  return text
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

const answerOf = async (socketPath: string, path: string, body?: Buffer): Promise<IncomingMessage> => {
  const asked = request({ socketPath, path, method: body ? 'POST' : 'GET', agent: false })
  asked.end(body)
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  return answer
}

const hashed = async (source: AsyncIterable<unknown>): Promise<Hash> => {
  const hash = createHash('sha256')
  for await (const chunk of source) hash.update(chunk as Buffer)
  return hash
}

const ignore = (): void => undefined
