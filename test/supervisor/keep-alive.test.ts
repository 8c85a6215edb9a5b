import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { keepAlive } from '../../src/supervisor/link/keep-alive.js'
import { until } from '../testbed/until.js'
import { FakeLane, JumpyClock } from './support.js'

test('a lane on which bytes arrive is never asked, and never declared dead', async () => {
  const lane = new FakeLane()
  lane.answers = false
  const watching = keepAlive(lane, { intervalMs: 400, misses: 1 }, lane.lost)
  for (let bytes = 0; bytes < 40; bytes += 1) {
    lane.hear()
    await sleep(30)
  }
  expect(lane.lost.aborted).toBe(false)
  expect(lane.pings).toBe(0)
  lane.close()
  await watching
})

test('a lane that is silent but answers lives on', async () => {
  const lane = new FakeLane()
  const watching = keepAlive(lane, { intervalMs: 30, misses: 1 }, lane.lost)
  await sleep(400)
  expect(lane.lost.aborted).toBe(false)
  expect(lane.pings).toBeGreaterThanOrEqual(5)
  expect(lane.pings).toBeLessThanOrEqual(14)
  lane.close()
  await watching
})

test('a lane that is silent and does not answer is dead after interval x (misses + 1) [T15]', async () => {
  const lane = new FakeLane()
  lane.answers = false
  const started = performance.now()
  await keepAlive(lane, { intervalMs: 100, misses: 3 }, lane.lost)
  const tookMs = performance.now() - started
  expect(lane.lost.reason).toMatchObject({ message: expect.stringContaining('no sign of life') })
  expect(tookMs).toBeGreaterThanOrEqual(395)
  expect(tookMs).toBeLessThan(1400)
  expect(lane.pings).toBe(3)
})

test('one sign of life starts the count anew', async () => {
  const lane = new FakeLane()
  lane.answers = false
  const watching = keepAlive(lane, { intervalMs: 100, misses: 2 }, lane.lost)
  await sleep(250)
  lane.hear()
  await sleep(200)
  expect(lane.lost.aborted).toBe(false)
  await watching
  expect(lane.lost.aborted).toBe(true)
})

test('questions that cannot even be asked are no proof of death before their time', async () => {
  const lane = new FakeLane()
  lane.ping = async () => {
    lane.pings += 1
    throw new Error('cannot ask')
  }
  const started = performance.now()
  await keepAlive(lane, { intervalMs: 100, misses: 2 }, lane.lost)
  expect(performance.now() - started).toBeGreaterThanOrEqual(295)
  expect(lane.pings).toBe(2)
})

test('an answer that waits unread while this process is busy is a sign of life', async () => {
  await using scope = new Scope()
  const [near, far] = await socketPair(scope)
  const lane = new FakeLane()
  lane.answers = false
  near.on('data', () => lane.hear())
  const watching = keepAlive(lane, { intervalMs: 300, misses: 1 }, lane.lost)
  await until('it is asked', () => lane.pings === 1)
  far.write('an answer')
  // Nothing is read and no timer fires, until both are due.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700)
  await sleep(100)
  expect(lane.lost.aborted).toBe(false)
  await watching
  expect(lane.pings).toBe(2)
})

test('after a sleep a lane is asked at once, and lives on when it answers [T19]', async () => {
  const lane = new FakeLane()
  const clock = new JumpyClock()
  const watching = keepAlive(lane, { intervalMs: 60_000, misses: 3 }, lane.lost, clock.jumps)
  for (const pings of [1, 2]) {
    await sleep(50)
    clock.sleepFor(3_600_000)
    await until('it is asked', () => lane.pings === pings, 2000)
  }
  await sleep(200)
  expect(lane).toMatchObject({ pings: 2, lost: { aborted: false } })
  lane.close()
  await watching
})

test('after a sleep a lane that does not answer is given up sooner than by its own patience [T19]', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const lane = new FakeLane()
  lane.answers = false
  const clock = new JumpyClock()
  void keepAlive(lane, { intervalMs: 3_600_000, misses: 2 }, lane.lost, clock.jumps)
  clock.sleepFor(10_000)
  await vi.advanceTimersByTimeAsync(14_000)
  expect(lane).toMatchObject({ pings: 2, lost: { aborted: false } })
  await vi.advanceTimersByTimeAsync(2500)
  expect(lane).toMatchObject({ pings: 2, lost: { aborted: true } })
})

test('what is heard after a sleep, whatever it is, ends the haste', async () => {
  const lane = new FakeLane()
  lane.answers = false
  const clock = new JumpyClock()
  const watching = keepAlive(lane, { intervalMs: 400, misses: 1 }, lane.lost, clock.jumps)
  clock.sleepFor(10_000)
  await until('it is asked', () => lane.pings === 1, 2000)
  lane.hear()
  const heard = performance.now()
  await watching
  expect(performance.now() - heard).toBeGreaterThanOrEqual(795)
  expect(lane.pings).toBe(2)
})

const socketPair = async (scope: Scope): Promise<[Socket, Socket]> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [near] = (await once(server, 'connection')) as [Socket]
  for (const socket of [near, far]) scope.add(socket, () => socket.destroy())
  scope.add(server, () => server.close())
  return [near, far]
}
