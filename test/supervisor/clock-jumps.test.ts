import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ClockJumps } from '../../src/supervisor/link/clock-jumps.js'
import { until } from '../testbed/until.js'

const watch = () => {
  const clock = { ms: 1_000_000, looks: 0 }
  const wallMs = () => {
    clock.looks += 1
    return clock.ms
  }
  const heard = { jumps: 0 }
  const jumps = new ClockJumps({ wallMs, tickMs: 5 })
  const leave = jumps.subscribe(() => (heard.jumps += 1))
  const looked = () => {
    const before = clock.looks
    return until('the clock is looked at', () => clock.looks >= before + 2)
  }
  return { clock, heard, jumps, leave, looked }
}

test('a jump of the wall clock is told once, to all who listen [T19]', async () => {
  const { clock, heard, jumps, leave, looked } = watch()
  let alsoHeard = 0
  const leaveAlso = jumps.subscribe(() => (alsoHeard += 1))
  await looked()
  clock.ms += 3_600_000
  await looked()
  await looked()
  expect([heard.jumps, alsoHeard]).toEqual([1, 1])
  leaveAlso()
  clock.ms += 60_000
  await looked()
  expect([heard.jumps, alsoHeard]).toEqual([2, 1])
  leave()
})

test('a clock that is set back, or a little ahead, tells nothing', async () => {
  const { clock, heard, leave, looked } = watch()
  await looked()
  clock.ms -= 3_600_000
  await looked()
  clock.ms += 3000
  await looked()
  expect(heard.jumps).toBe(0)
  leave()
})

test('while nobody listens the clock is not looked at, and what happened meanwhile is not told afterwards', async () => {
  const { clock, heard, jumps, leave, looked } = watch()
  await looked()
  leave()
  const { looks } = clock
  await sleep(50)
  expect(clock.looks).toBe(looks)
  clock.ms += 3_600_000
  const leaveAgain = jumps.subscribe(() => (heard.jumps += 1))
  await looked()
  expect(heard.jumps).toBe(0)
  leaveAgain()
})
