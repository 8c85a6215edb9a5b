import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { keepAlive } from '../../src/supervisor/keep-alive.js'
import { FakeLane } from './support.js'

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

test('a lane that is silent and does not answer is dead after interval x (misses + 1)', async () => {
  const lane = new FakeLane()
  lane.answers = false
  const started = performance.now()
  await keepAlive(lane, { intervalMs: 100, misses: 3 }, lane.lost)
  const tookMs = performance.now() - started
  expect(lane.lost.reason).toMatchObject({ message: expect.stringContaining('no sign of life') })
  expect(tookMs).toBeGreaterThanOrEqual(395)
  expect(tookMs).toBeLessThan(600)
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
