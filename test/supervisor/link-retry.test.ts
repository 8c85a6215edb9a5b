import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { Scope } from '../../src/base/scope.js'
import { until } from '../testbed/until.js'
import { Bench, FakeLane, JumpyClock, refused } from './support.js'
import { mostInAnyTenth, mostTriesIn } from './tries.js'

test('what can mend itself is tried again, each time after a longer, jittered wait that is told', async () => {
  await using bench = new Bench(() => Promise.reject(refused()))
  bench.link.connect()
  for (let failures = 1; failures <= 6; failures += 1) {
    await until(`try ${failures}`, () => bench.attempts === failures && bench.link.state === 'retrying')
    const whole = 500 * 2 ** (failures - 1)
    expect(bench.link.nextTryMs).toBeGreaterThan(whole / 2 - 100)
    expect(bench.link.nextTryMs).toBeLessThanOrEqual(whole)
    expect(bench.link.lastError?.error).toMatchObject({ code: 'CONNECT_REFUSED', stage: 'connect' })
    bench.link.connect()
  }
})

test('what was refused once is tried again by itself', async () => {
  let tries = 0
  await using bench = new Bench(async () => {
    tries += 1
    if (tries === 1) throw refused()
    return new FakeLane()
  })
  bench.link.connect()
  await bench.reaches('up')
  expect(bench.states).toEqual(['connecting', 'retrying', 'connecting', 'up'])
  expect(bench.link.lastError).toBeUndefined()
})

test('a client’s interest makes a retrying link try at once, but not oftener than once a second', async () => {
  await using bench = new Bench(() => Promise.reject(refused()))
  bench.link.connect()
  // Past the short waits, so that the back-off itself does not try.
  for (let tries = 1; tries <= 5; tries += 1) {
    await until(`try ${tries}`, () => bench.attempts === tries && bench.link.state === 'retrying')
    if (tries < 5) bench.link.connect()
  }
  expect(bench.link.nextTryMs).toBeGreaterThan(3500)
  const started = performance.now()
  while (performance.now() - started < 2500) {
    expect(await bench.visit()).toBe('CONNECT_REFUSED')
    await sleep(20)
  }
  expect(bench.attempts).toBe(7)
})

test('the interest of a client that comes too early for a try is not forgotten', async () => {
  await using bench = new Bench(() => Promise.reject(refused()))
  bench.link.connect()
  for (let tries = 1; tries <= 5; tries += 1) {
    await until(`try ${tries}`, () => bench.attempts === tries && bench.link.state === 'retrying')
    if (tries < 5) bench.link.connect()
  }
  expect(await bench.visit()).toBe('CONNECT_REFUSED')
  expect(bench.link.nextTryMs).toBeGreaterThan(500)
  expect(bench.link.nextTryMs).toBeLessThanOrEqual(1000)
  await until('it tries', () => bench.attempts === 6, 2000)
})

test('a server that asks to be left in peace is, whoever comes; only the user may ask sooner', async () => {
  const throttled = new DproxyError('LOGIN_THROTTLED', 'too many logins', { retryAfterMs: 1500 })
  await using bench = new Bench(() => Promise.reject(throttled))
  const since = performance.now()
  bench.link.connect()
  await bench.reaches('retrying')
  expect(bench.link.nextTryMs).toBeGreaterThan(1000)
  while (bench.attempts === 1) {
    expect(await bench.visit()).toBe('LOGIN_THROTTLED')
    await sleep(20)
  }
  expect(performance.now() - since).toBeGreaterThanOrEqual(1490)
  await bench.reaches('retrying')
  bench.link.connect()
  await until('it tries at once', () => bench.attempts === 3, 1000)
})

test('after a sleep a link tries at once, and from then on as after a first failure [T19]', async () => {
  const clock = new JumpyClock()
  await using bench = new Bench(() => Promise.reject(refused()), { jumps: clock.jumps })
  bench.link.connect()
  for (let tries = 1; tries <= 6; tries += 1) {
    await until(`try ${tries}`, () => bench.attempts === tries && bench.link.state === 'retrying')
    if (tries < 6) bench.link.connect()
  }
  expect(bench.link.nextTryMs).toBeGreaterThan(7000)
  clock.sleepFor(3_600_000)
  await until('it tries', () => bench.attempts === 7 && bench.link.state === 'retrying', 2000)
  expect(bench.link.nextTryMs).toBeLessThanOrEqual(500)
})

test('what only the user can mend is not tried again after a sleep either', async () => {
  const clock = new JumpyClock()
  const no = new DproxyError('LOGIN_REFUSED', 'no')
  await using bench = new Bench(() => Promise.reject(no), { jumps: clock.jumps })
  bench.link.connect()
  await bench.reaches('failed')
  clock.sleepFor(3_600_000)
  await sleep(800)
  expect(bench).toMatchObject({ attempts: 1, states: ['connecting', 'failed'] })
})

test('two hundred links that are lost at once mean to try again spread over time, and more and more rarely [T25]', async () => {
  await using scope = new Scope()
  const plans: number[][] = []
  const benches = Array.from({ length: 200 }, (_, index) => {
    const mine: number[] = (plans[index] = [])
    const bench = new Bench(undefined, {
      onChange: () => {
        const { state, nextTryMs } = bench.link
        if (state === 'retrying' && nextTryMs !== null) mine.push(performance.now() + nextTryMs)
      },
    })
    return scope.use(bench)
  })
  for (const { link } of benches) link.connect()
  for (const bench of benches) await bench.reaches('up')
  const lostMs = performance.now()
  for (const bench of benches) {
    bench.attempt = () => Promise.reject(refused())
    bench.lane.close('reset')
  }
  await until('each has failed twice', () => plans.every((mine) => mine.length >= 3))
  // Drawn from a quarter of a second, two hundred are eighty in any tenth, and hardly ever a hundred.
  for (const round of [0, 1, 2]) expect(mostInAnyTenth(plans.map((mine) => mine[round]!))).toBeLessThan(120)
  for (const { attempts } of benches) {
    expect(attempts).toBeLessThanOrEqual(1 + mostTriesIn(performance.now() - lostMs))
  }
})

test('a server that lets us in and hangs up is asked less and less often', async () => {
  await using bench = new Bench()
  bench.link.connect()
  const waits: number[] = []
  for (let losses = 1; losses <= 4; losses += 1) {
    await bench.reaches('up')
    bench.lane.close('hung up')
    await bench.reaches('retrying')
    waits.push(bench.link.nextTryMs ?? 0)
    bench.link.connect()
  }
  expect(waits[3]).toBeGreaterThan(1900)
  expect(bench.link.reconnects).toBe(4)
})
