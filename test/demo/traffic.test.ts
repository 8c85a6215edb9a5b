import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { ask } from '../../src/demo/request.js'
import { startTraffic } from '../../src/demo/traffic.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { engineIn } from './support.js'

/** A socket in front of `target` that counts who comes by and what flows, and can cut them all. */
const counting = async (scope: Scope, path: string, target: string) => {
  const seen = { clients: 0, up: 0, down: 0 }
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const engine = connect(target)
    seen.clients += 1
    open.add(client)
    client.once('close', () => open.delete(client) && engine.destroy()).on('error', () => undefined)
    engine.once('close', () => client.destroy()).on('error', () => undefined)
    client.on('data', (chunk) => (seen.up += chunk.length)).pipe(engine)
    engine.on('data', (chunk) => (seen.down += chunk.length)).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  scope.add(server, (taken) => taken.close())
  const cut = () => {
    for (const client of open) client.destroy()
  }
  scope.add(undefined, cut)
  return { seen, open, cut }
}

test('keeps streams open and bytes flowing both ways, comes back when cut, and stops when told', async () => {
  await using scope = new Scope()
  const { socket } = await engineIn(scope)
  const path = join(scope.use(await TempDir.create()).path, 'proxy.sock')
  const proxy = await counting(scope, path, socket)
  const traffic = startTraffic([path])
  scope.use(traffic)
  await until(
    'a download and an upload went by',
    () => proxy.seen.down > 4_000_000 && proxy.seen.up > 1_000_000,
  )
  await until('two streams stay open', () => proxy.open.size >= 2)
  proxy.cut()
  const before = proxy.seen.clients
  await until('the clients are back', () => proxy.seen.clients > before + 2 && proxy.open.size >= 2)
  await traffic.stop()
  await until('nobody is left', () => proxy.open.size === 0)
})

test('does not mind a host that is not there, and starts once it is', async () => {
  await using scope = new Scope()
  const { socket } = await engineIn(scope)
  const path = join(scope.use(await TempDir.create()).path, 'proxy.sock')
  const traffic = scope.use(startTraffic([path]))
  await expect(ask(path, '/_ping', { signal: new AbortController().signal })).rejects.toThrow(/ENOENT/u)
  const proxy = await counting(scope, path, socket)
  await until('clients come', () => proxy.seen.down > 0)
  await traffic.stop()
})
