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
