import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { deferred } from '../../src/base/deferred.js'
import { until } from '../testbed/until.js'
import { Bench, FakeLane, livingEngine, refused } from './support.js'

test('a link lost under live streams refuses clients until it is up again, and for a second at least', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  const stream = await bench.follow()
  const lostMs = performance.now()
  bench.lane.close('reset')
  expect(stream.destroyed).toBe(true)
  expect(await bench.visit()).toBe('LINK_DOWN')
  await bench.reaches('up')
  expect(performance.now() - lostMs).toBeLessThan(900)
  expect(await bench.visit()).toBe('LINK_DOWN')
  await until('it serves', async () => (await bench.visit()) === 'served', 3000)
  expect(performance.now() - lostMs).toBeGreaterThanOrEqual(1000)
  expect(bench.link.reconnects).toBe(1)
})

test('however long a link stays away that was lost under live streams, nobody is served before it is up', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  await bench.follow()
  bench.attempt = () => Promise.reject(refused())
  bench.lane.close('reset')
  await sleep(1300)
  expect(await bench.visit()).toBe('LINK_DOWN')
  const gate = deferred<FakeLane>()
  bench.attempt = () => gate.promise
  await bench.reaches('connecting')
  expect(await bench.visit()).toBe('LINK_DOWN')
  gate.resolve(new FakeLane())
  await bench.reaches('up')
  expect(await bench.visit()).toBe('served')
})

test('a link that takes the place of one whose streams were cut refuses clients in the same way', async () => {
  await using bench = new Bench(undefined, { cutBefore: 1 })
  const madeMs = performance.now()
  expect(await bench.visit()).toBe('LINK_DOWN')
  await bench.reaches('up')
  expect(await bench.visit()).toBe('LINK_DOWN')
  await until('it serves', async () => (await bench.visit()) === 'served', 3000)
  expect(performance.now() - madeMs).toBeGreaterThanOrEqual(990)
})

test('a stream that fails by itself holds its host down before its client can notice; the link stays up, and its other streams go on', async () => {
  let cuts = 0
  await using bench = new Bench(undefined, { onCut: () => (cuts += 1) })
  bench.link.connect()
  await bench.reaches('up')
  const [stream, other] = [await bench.follow(), await bench.follow()]
  const failedMs = performance.now()
  const asked = new Promise<string>((resolve) => stream.once('error', () => resolve(bench.visit())))
  stream.destroy(new Error('the server closed the channel'))
  expect(await asked).toBe('LINK_DOWN')
  expect(cuts).toBe(1)
  await until('it serves', async () => (await bench.visit()) === 'served', 3000)
  expect(performance.now() - failedMs).toBeGreaterThanOrEqual(1000)
  expect(other.destroyed).toBe(false)
  expect(bench.states).toEqual(['connecting', 'up'])
})

test('whoever has a stream from before asks nothing new in it either, while the host is held down', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  const open = async () => {
    const stream = await bench.link.openStream(new AbortController().signal)
    return stream.on('error', () => undefined).resume()
  }
  const [cut, idle, typing, patient] = [await open(), await open(), await open(), await open()]
  const gate = deferred<void>()
  bench.lane.opening = gate.promise
  const late = open()
  cut.destroy(new Error('the server closed the channel'))
  await new Promise((resolve) => cut.once('close', resolve))
  gate.resolve()
  for (const stream of [idle, await late]) {
    stream.write(ASKS)
    expect(stream.errored).toMatchObject({ code: 'LINK_DOWN' })
  }
  typing.write('ls -l\n')
  expect(typing.destroyed).toBe(false)
  await sleep(500)
  typing.write(ASKS)
  expect(typing.errored).toMatchObject({ code: 'LINK_DOWN' })
  await sleep(550)
  // What was refused has not made it last longer.
  expect(await bench.visit()).toBe('served')
  const answered = once(patient, 'data') as Promise<[Buffer]>
  patient.write(ASKS)
  expect((await answered)[0].toString()).toContain('200 OK')
  patient.destroy()
})

test('a client that leaves holds nobody down', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  const stream = await bench.follow()
  stream.destroy()
  expect(await bench.visit()).toBe('served')
})

test('streams that are cut in one connection of several hold their host down, though the link stays up', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  const stream = await bench.follow()
  bench.lane.cut(stream)
  expect(await bench.visit()).toBe('LINK_DOWN')
  await until('it serves', async () => (await bench.visit()) === 'served', 3000)
  expect(bench.states).toEqual(['connecting', 'up'])
})

test('streams that were being opened when the link was lost are refused, and never opened in the next one', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  const first = bench.lane
  const gate = deferred<void>()
  first.opening = gate.promise
  const clients = [bench.visit(), bench.visit()]
  await sleep(20)
  let opened = 0
  bench.attempt = async () => {
    const lane = new FakeLane((request, response) => {
      opened += request.url === '/version' ? 0 : 1
      livingEngine(request, response)
    })
    return lane
  }
  first.close('reset')
  gate.resolve()
  expect(await Promise.all(clients)).toEqual(['LINK_LOST', 'LINK_LOST'])
  await bench.reaches('up')
  expect([opened, bench.lane.openStreams, bench.lanes.length]).toEqual([0, 0, 2])
})

test('a stream that is opened in the very moment of the loss is refused, and its host held down', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  await bench.follow()
  const { lane } = bench
  const open = lane.openStream.bind(lane)
  lane.openStream = async (signal) => {
    const stream = await open(signal)
    lane.close('reset')
    return stream
  }
  expect(await bench.visit()).toBe('LINK_LOST')
  expect(await bench.visit()).toBe('LINK_DOWN')
})

test('a cut long ago says nothing about a later loss that cut nothing', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  await bench.follow()
  bench.lane.close('first')
  await bench.reaches('retrying')
  await bench.reaches('up')
  await sleep(1100)
  bench.lane.close('second')
  await bench.reaches('retrying')
  // Lost twice in short succession, so nobody waits; but the reason is the loss, not the cut.
  expect(bench.link.lastError?.error.message).toContain('second')
  expect(await bench.visit()).toBe('LINK_LOST')
})

const ASKS = 'GET /version HTTP/1.1\r\nHost: docker\r\n\r\n'
