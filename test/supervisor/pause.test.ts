import { expect, test } from 'vitest'
import { Pause } from '../../src/supervisor/link/pause.js'

const lasts = async (pause: Pause): Promise<number> => {
  const started = performance.now()
  await pause.over
  expect(pause.leftMs).toBe(0)
  return performance.now() - started
}

test('a pause lasts as long as it was meant to, unless it is ended', async () => {
  const pause = new Pause(80)
  expect(pause.leftMs).toBeGreaterThan(40)
  expect(await lasts(pause)).toBeGreaterThanOrEqual(78)
  const ended = new Pause(60_000)
  ended.end()
  expect(await lasts(ended)).toBeLessThan(5000)
})

test('a pause that is hastened ends so long after its beginning, and never later than it would have', async () => {
  const pause = new Pause(60_000)
  pause.hasten(80)
  expect(pause.leftMs).toBeLessThanOrEqual(80)
  pause.hasten(60_000)
  expect(pause.leftMs).toBeLessThanOrEqual(80)
  expect(await lasts(pause)).toBeGreaterThanOrEqual(78)
  const past = new Pause(60_000)
  past.hasten(0)
  expect(await lasts(past)).toBeLessThan(5000)
})

test('a pause that has a least length can be ended before it, but not hastened below it', async () => {
  const pause = new Pause(60_000, 80)
  pause.hasten(0)
  expect(await lasts(pause)).toBeGreaterThanOrEqual(78)
  const ended = new Pause(60_000, 60_000)
  ended.hasten(0)
  expect(ended.leftMs).toBeGreaterThan(50_000)
  ended.end()
  expect(await lasts(ended)).toBeLessThan(5000)
})
