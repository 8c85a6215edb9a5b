import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { Chaos } from './chaos.js'
import { until } from './until.js'

/** A server that sends back what it gets, and the chaos before it. */
const echo = async (scope: Scope) => {
  const server = createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => undefined)
    client.pipe(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.add(server, () => server.close())
  const { port } = server.address() as AddressInfo
  const chaos = scope.use(await Chaos.start({ host: '127.0.0.1', port }))
  const dial = () => {
    const socket = connect({ host: '127.0.0.1', port: chaos.port, allowHalfOpen: true })
    scope.add(socket, () => socket.destroy())
    return socket.on('error', () => undefined)
  }
  return { chaos, dial }
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

const all = async (socket: Socket): Promise<Buffer> => {
  const parts: Buffer[] = []
  for await (const part of socket as AsyncIterable<Buffer>) parts.push(part)
  return Buffer.concat(parts)
}

const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, at) => (at * 7919) % 251))

test.each([
  ['nothing', {}],
  ['slices of three bytes', { slice: 3 }],
  ['latency and jitter', { latencyMs: 20, jitterMs: 20 }],
  ['a rate', { rate: 200_000 }],
])('what goes through %s comes out the same', async (_, faults) => {
  await using scope = new Scope()
  const { chaos, dial } = await echo(scope)
  chaos.up.set(faults)
  chaos.down.set(faults)
  const sent = bytes(50_000)
  const socket = dial()
  socket.end(sent)
  expect(sha(await all(socket))).toBe(sha(sent))
  await until('the connection is over', () => chaos.connections === 0)
})

test('a flipped bit is one bit, and a limit is to the byte', async () => {
  await using scope = new Scope()
  const { chaos, dial } = await echo(scope)
  chaos.up.set({ flipAt: 1000 })
  const sent = bytes(3000)
  const first = dial()
  first.end(sent)
  const got = await all(first)
  expect(got[1000]! ^ sent[1000]!).toBe(1)
  got[1000]! ^= 1
  expect(sha(got)).toBe(sha(sent))
  chaos.up.set({ flipAt: Number.POSITIVE_INFINITY, limit: 10 })
  dial().write(sent)
  await until('it is cut', () => chaos.up.bytes === 3010 && chaos.connections === 0)
})

test('a blackhole keeps everything back until it is lifted', async () => {
  await using scope = new Scope()
  const { chaos, dial } = await echo(scope)
  chaos.blackhole(true)
  const socket = dial()
  socket.end(bytes(1000))
  await until('it is accepted', () => chaos.connections === 1)
  expect(chaos.up.bytes).toBe(0)
  chaos.blackhole(false)
  expect(sha(await all(socket))).toBe(sha(bytes(1000)))
})

test('a reset is one at both ends, and a closed port refuses', async () => {
  await using scope = new Scope()
  const { chaos, dial } = await echo(scope)
  const socket = dial()
  await once(socket, 'connect')
  await until('it is open', () => chaos.connections === 1)
  const failed = once(socket, 'error')
  chaos.reset()
  expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])
  await chaos.door('refuse')
  await expect(once(dial(), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  await chaos.heal()
  await once(dial(), 'connect')
})
