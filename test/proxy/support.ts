import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex, Readable } from 'node:stream'
import type { DproxyError } from '../../src/base/errors.js'
import { Scope } from '../../src/base/scope.js'
import type { Dial } from '../../src/proxy/dial.js'
import type { ProxyOptions } from '../../src/proxy/options.js'
import { Proxy } from '../../src/proxy/proxy.js'
import { TempDir } from '../testbed/temp-dir.js'

export type Serve = (client: Socket) => void

/** An engine on a Unix socket of its own, and the dial that leads to it. */
export const startEngine = async (scope: Scope, path: string, serve: Serve) => {
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (client) => {
    clients.add(client)
    client.once('close', () => clients.delete(client)).on('error', () => undefined)
    serve(client)
  })
  server.listen({ path, backlog: 4096 })
  await once(server, 'listening')
  scope.add(server, () => {
    for (const client of clients) client.destroy()
    server.close()
  })
  const dial: Dial = async () => {
    const stream = connect({ path, allowHalfOpen: true })
    await once(stream, 'connect')
    return stream
  }
  return { clients, dial }
}

/** A proxy in front of what `dial` opens; what it reports is gathered. */
export const startProxy = async (
  scope: Scope,
  path: string,
  dial: Dial,
  more: Partial<ProxyOptions> = {},
) => {
  const failures: { readonly id: string; readonly error: DproxyError }[] = []
  let changes = 0
  const proxy = await Proxy.listen({
    path,
    dial,
    explain: ({ message }) => `dproxy: prod: ${message}`,
    onFailed: (id, error) => failures.push({ id, error }),
    onChange: () => (changes += 1),
    ...more,
  })
  scope.add(proxy, (taken) => taken.close(0, AbortSignal.abort()))
  return {
    proxy,
    path,
    failures,
    changes: () => changes,
  }
}

/** Both, in a directory of their own. `dressed` puts something between the proxy and the engine. */
export const start = async (
  scope: Scope,
  serve: Serve,
  dressed = (stream: Duplex): Duplex => stream,
  more: Partial<ProxyOptions> = {},
) => {
  const dir = scope.use(await TempDir.create())
  const engine = await startEngine(scope, join(dir.path, 'engine.sock'), serve)
  const dial: Dial = async (signal) => dressed(await engine.dial(signal))
  const proxy = await startProxy(scope, join(dir.path, 'proxy.sock'), dial, more)
  return { ...proxy, engines: engine.clients }
}

/** A client of the proxy, connected; gone with its scope. */
export const client = async (scope: Scope, path: string): Promise<Socket> => {
  const socket = scope.add(connect({ path, allowHalfOpen: true }), (taken) => taken.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** All that `stream` gives, until it ends or is cut. */
export const all = (stream: Readable): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = []
    if (stream.readableEnded || stream.destroyed) resolve(Buffer.alloc(0))
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    for (const event of ['end', 'close']) stream.once(event, () => resolve(Buffer.concat(chunks)))
  })

export const text = async (stream: Readable): Promise<string> => (await all(stream)).toString()
