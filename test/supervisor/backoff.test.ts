import { expect, test } from 'vitest'
import { delayBefore, leastDelay } from '../../src/supervisor/link/backoff.js'

test('waits double up to half a minute and never exceed it, for ever', () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 8, 100, 1e9].map((attempt) => delayBefore(attempt, () => 1))
  expect(longest).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000])
})

test('waits are drawn from the upper half, so that many hosts do not come back together', () => {
  expect(delayBefore(3, () => 0)).toBe(1000)
  const drawn = Array.from({ length: 1000 }, () => delayBefore(7))
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(15_000)
  expect(Math.max(...drawn)).toBeLessThanOrEqual(30_000)
  expect(new Set(drawn).size).toBeGreaterThan(500)
})

test('who asked for peace has it for a little longer, not all for the same time', () => {
  expect(leastDelay(20_000, () => 0)).toBe(20_000)
  const drawn = Array.from({ length: 1000 }, () => leastDelay(20_000))
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(20_000)
  expect(Math.max(...drawn)).toBeLessThanOrEqual(25_000)
  expect(new Set(drawn).size).toBeGreaterThan(500)
})
