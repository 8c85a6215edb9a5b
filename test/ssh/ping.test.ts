import { once } from 'node:events'
import { join } from 'node:path'
import { readFileSync } from 'node:fs'
import ssh2, { type Client } from 'ssh2'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { startLoopbackServer } from '../../src/ssh/loopback-server.js'
import { ping } from '../../src/ssh/ping.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'

const logIn = async (scope: Scope): Promise<Client> => {
  const clientKey = generateThrowAwayKey()
  const server = scope.use(
    await startLoopbackServer({ hostKey: generateThrowAwayKey(), clientKey, sockets: [] }),
  )
  const client = scope.add(new ssh2.Client(), (taken) => taken.destroy())
  client.on('error', () => undefined)
  client.connect({
    host: '127.0.0.1',
    port: server.port,
    username: 'demo',
    hostVerifier: () => true,
    privateKey: clientKey.privateKey,
  })
  await once(client, 'ready')
  return client
}

interface PackageJson {
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
}

const packageJson = (path: string): PackageJson =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../..', path), 'utf8')) as PackageJson

test('ssh2 still has the private members that are used here, in the version it is pinned to', async () => {
  await using scope = new Scope()
  const client = (await logIn(scope)) as unknown as {
    _callbacks: unknown
    _protocol: { ping: unknown }
    _remoteVer: unknown
  }
  expect(client._callbacks).toEqual([])
  expect(client._protocol.ping).toBeTypeOf('function')
  expect(client._remoteVer).toMatch(/^ssh2js/u)
  const installed = packageJson('node_modules/ssh2/package.json').version
  expect(packageJson('package.json').dependencies?.ssh2).toBe(installed)
})

test('a refusal is an answer, and answers come in order', async () => {
  await using scope = new Scope()
  const client = await logIn(scope)
  const order: number[] = []
  const trips = Array.from({ length: 5 }, (_, at) => ping(client).then((ms) => (order.push(at), ms)))
  for (const ms of await Promise.all(trips)) expect(ms).toBeGreaterThan(0)
  expect(order).toEqual([0, 1, 2, 3, 4])
})

test('a connection that ends is no answer', async () => {
  await using scope = new Scope()
  const client = await logIn(scope)
  const waiting = expect(ping(client)).rejects.toThrow('No response from server')
  client.destroy()
  await waiting
})
