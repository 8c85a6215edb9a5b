import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { deferred } from '../../src/base/deferred.js'
import { until } from '../testbed/until.js'
import { Bench, FakeLane, livingEngine, refused } from './support.js'

test('a link connects stage by stage, and is up once the engine has told its version', async () => {
  const gate = deferred<FakeLane>()
  await using bench = new Bench((onStage) => {
    onStage('host key')
    onStage('login')
    return gate.promise
  })
  expect(bench.link.state).toBe('idle')
  bench.link.connect()
  expect(bench.link.state).toBe('connecting')
  expect(bench.link.stage).toBe('login')
  gate.resolve(new FakeLane())
  await bench.reaches('up')
  expect(bench.states).toEqual(['connecting', 'up'])
  expect(bench.link.stages.map(({ stage }) => stage)).toEqual(['connect', 'host key', 'login', 'engine'])
  expect(bench.link.engine).toEqual({ version: '28.2.2', apiVersion: '1.50' })
  expect(bench.link).toMatchObject({ stage: null, lanes: 1, rttMs: 1, nextTryMs: null, lastError: undefined })
})

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

test.concurrent.for([
  'LOGIN_REFUSED',
  'LOGIN_KEY_FILE',
  'HOST_KEY_UNKNOWN',
  'HOST_KEY_CHANGED',
  'NOT_SUPPORTED',
] as const)(
  '%s needs the user: never tried again by itself, nor for a client; only when asked',
  async (code) => {
    await using bench = new Bench(() => Promise.reject(new DproxyError(code, 'no')))
    bench.link.connect()
    await bench.reaches('failed')
    expect(await bench.visit()).toBe(code)
    await sleep(700)
    expect(await bench.visit()).toBe(code)
    expect(bench).toMatchObject({ attempts: 1, states: ['connecting', 'failed'] })
    expect(bench.link.nextTryMs).toBeNull()
    bench.attempt = async () => new FakeLane()
    bench.link.connect()
    await bench.reaches('up')
    expect(bench.attempts).toBe(2)
    expect(await bench.visit()).toBe('served')
  },
)

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

test('after a loss that cut nothing, clients wait for the link and are served', async () => {
  await using bench = new Bench()
  bench.link.connect()
  await bench.reaches('up')
  bench.lane.close('reset')
  await bench.reaches('retrying')
  expect(await Promise.all([bench.visit(), bench.visit()])).toEqual(['served', 'served'])
  expect(bench.states).toEqual(['connecting', 'up', 'retrying', 'connecting', 'up'])
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

test('when only the engine is away, the SSH connection is kept and used again', async () => {
  let away = true
  const lane = new FakeLane((request, response) => {
    if (away) response.end('gone')
    else livingEngine(request, response)
  })
  await using bench = new Bench(async () => lane)
  bench.link.connect()
  await bench.reaches('retrying')
  expect(bench.link.lastError?.error).toMatchObject({ code: 'ENGINE_UNREACHABLE', stage: 'engine' })
  expect(bench.link.lanes).toBe(1)
  away = false
  await bench.reaches('up')
  expect(bench.attempts).toBe(1)
  expect(lane.lost.aborted).toBe(false)
})

test('an SSH connection kept while the engine is away is found out when it dies', async () => {
  const silent = new FakeLane(() => undefined)
  silent.answers = false
  silent.keepAlive = { intervalMs: 100, misses: 2 }
  await using bench = new Bench(async () => (bench.attempts === 1 ? silent : new FakeLane()), {
    connectTimeoutMs: 300,
  })
  bench.link.connect()
  await bench.reaches('up')
  expect(silent.lost.aborted).toBe(true)
  expect(bench.attempts).toBe(2)
})

test('what answers but is no Docker engine is told apart', async () => {
  for (const [body, said] of [
    ['<html>', 'is not a Docker engine'],
    ['{"Version":1}', 'is not a Docker engine'],
    [`{"Version":"${'9'.repeat(5000)}","ApiVersion":"1"}`, 'is not a Docker engine'],
    ['x'.repeat(300_000), 'too long'],
  ] as const) {
    await using bench = new Bench(async () => new FakeLane((_, response) => response.end(body)))
    bench.link.connect()
    await bench.reaches('retrying')
    expect(bench.link.lastError?.error).toMatchObject({ code: 'ENGINE_UNREACHABLE', stage: 'engine' })
    expect(bench.link.lastError?.error.message).toContain(said)
  }
})

test('an engine that accepts and never answers is given up on at the time limit', async () => {
  await using bench = new Bench(async () => new FakeLane(() => undefined), { connectTimeoutMs: 200 })
  bench.link.connect()
  await bench.reaches('retrying')
  expect(bench.link.lastError?.error).toMatchObject({ code: 'ENGINE_TIMEOUT', stage: 'engine' })
  await until('its stream is closed', () => bench.lane.openStreams === 0)
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

test('a link can be closed in any state, and stays closed', async () => {
  const hanging = new Bench(
    (_, signal) => new Promise((__, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  )
  const waiting = hanging.visit()
  const failing = new Bench(() => Promise.reject(refused()))
  const living = new Bench()
  const idle = new Bench()
  for (const { link } of [hanging, failing, living]) link.connect()
  await Promise.all([failing.reaches('retrying'), living.reaches('up')])
  const started = performance.now()
  for (const { link } of [hanging, failing, living, idle]) await link.close()
  expect(performance.now() - started).toBeLessThan(200)
  expect(await waiting).not.toBe('served')
  expect(living.lane.lost.aborted).toBe(true)
  for (const bench of [hanging, failing, living, idle]) {
    bench.link.connect()
    expect(bench.link.state).toBe('stopped')
    expect(await bench.visit()).not.toBe('served')
  }
})

test('a second person at one try shares it: once the link is lost nobody is asked', async () => {
  const gate = deferred<FakeLane>()
  const persons: boolean[] = []
  const lane = new FakeLane()
  await using bench = new Bench(undefined, {
    openLane: ({ person }) => {
      persons.push(person)
      return persons.length === 1 ? gate.promise : Promise.resolve(new FakeLane())
    },
  })
  bench.link.connect(true)
  bench.link.connect(true)
  gate.resolve(lane)
  await bench.reaches('up')
  bench.link.connect(true)
  lane.close()
  await until('it is up again', () => persons.length === 2 && bench.link.state === 'up')
  expect(persons).toEqual([true, false])
})

test('a second person at one try that fails hears of its end, and is not asked the same again', async () => {
  const gate = deferred<FakeLane>()
  const persons: boolean[] = []
  await using bench = new Bench(undefined, {
    openLane: ({ person }) => {
      persons.push(person)
      return gate.promise
    },
  })
  bench.link.connect(true)
  bench.link.connect(true)
  gate.reject(new DproxyError('LOGIN_REFUSED', 'no'))
  await bench.reaches('failed')
  expect(persons).toEqual([true])
})

test.for(['LOGIN_NEEDS_PERSON', 'CONNECT_REFUSED'] as const)(
  'whoever comes while a try without anybody is under way gets one of their own after %s',
  async (code) => {
    const gate = deferred<FakeLane>()
    const persons: boolean[] = []
    await using bench = new Bench(undefined, {
      openLane: ({ person }) => {
        persons.push(person)
        return persons.length === 1 ? gate.promise : Promise.resolve(new FakeLane())
      },
    })
    bench.link.connect()
    bench.link.connect(true)
    gate.reject(new DproxyError(code, 'nobody is there'))
    await bench.reaches('up')
    expect(bench.states).toEqual(['connecting', 'up'])
    expect(persons).toEqual([false, true])
  },
)
