import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { deferred } from '../../src/base/deferred.js'
import { until } from '../testbed/until.js'
import { Bench, FakeLane, refused } from './support.js'

test('the first client of an idle link makes it connect, waits, and is served', async () => {
  const gate = deferred<FakeLane>()
  await using bench = new Bench(() => gate.promise)
  const clients = [bench.visit(), bench.visit()]
  await sleep(50)
  expect(bench.link.state).toBe('connecting')
  gate.resolve(new FakeLane())
  expect(await Promise.all(clients)).toEqual(['served', 'served'])
  expect(bench.attempts).toBe(1)
})

test('a client at a cold start waits no longer than the time limit', async () => {
  await using bench = new Bench(
    (_, signal) => new Promise((__, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    { connectTimeoutMs: 200 },
  )
  const started = performance.now()
  expect(await bench.visit()).toBe('LINK_DOWN')
  expect(performance.now() - started).toBeGreaterThan(150)
  expect(performance.now() - started).toBeLessThan(1000)
})

test('a client that waits hears at once that the link cannot be made, and why', async () => {
  const gate = deferred<FakeLane>()
  await using bench = new Bench(() => gate.promise)
  const client = bench.visit()
  await sleep(20)
  gate.reject(refused())
  expect(await client).toBe('CONNECT_REFUSED')
})

test('a client that leaves while it waits does not disturb the others', async () => {
  const gate = deferred<FakeLane>()
  await using bench = new Bench(() => gate.promise)
  const left = new AbortController()
  const leaving = bench.link.openStream(left.signal)
  const staying = bench.visit()
  left.abort(new Error('left'))
  await expect(leaving).rejects.toThrow('left')
  gate.resolve(new FakeLane())
  expect(await staying).toBe('served')
})

test('an SSH connection lost before the engine has answered leaves no client waiting', async () => {
  const lane = new FakeLane(() => undefined)
  await using bench = new Bench(async () => lane)
  const clients = [bench.visit(), bench.visit()]
  await until('the engine is asked', () => lane.openStreams === 1)
  lane.close('reset')
  expect(await Promise.all(clients)).toEqual(['LINK_LOST', 'LINK_LOST'])
})

test('after a loss that cut nothing, clients wait for the link and are served', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  bench.lane.close('reset')
  await bench.reaches('retrying')
  expect(await Promise.all([bench.visit(), bench.visit()])).toEqual(['served', 'served'])
  expect(bench.states).toEqual(['connecting', 'up', 'retrying', 'connecting', 'up'])
})

test('a stream that cannot be opened fails alone: the link stays up', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  bench.lane.cannotOpen = new DproxyError('ENGINE_DOWN', 'nobody accepts there', { stage: 'engine' })
  expect(await bench.visit()).toBe('ENGINE_DOWN')
  expect(bench.link).toMatchObject({ state: 'up' })
  bench.lane.cannotOpen = undefined
  expect(await bench.visit()).toBe('served')
})
