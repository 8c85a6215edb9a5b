import { describe, expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { NoEngineSocket } from '../../src/ssh/engine/locate.js'
import type { Resolved } from '../../src/ssh/target.js'
import { Connecting } from '../../src/supervisor/doctor/connecting.js'
import { lookAtEngine } from '../../src/supervisor/doctor/engine.js'
import { examination, never } from './examination.js'
import { type Engine, FakeLane } from './support.js'

const engineWith =
  ({ apiVersion = '1.50', date = new Date(), ping = 200 } = {}): Engine =>
  (request, response) => {
    response.setHeader('Date', date.toUTCString())
    response.statusCode = request.url === '/_ping' ? ping : 200
    response.end(
      request.url === '/version' ? JSON.stringify({ Version: '28.2.2', ApiVersion: apiVersion }) : 'OK',
    )
  }

const examineEngine = async (lane: FakeLane) => {
  const found = examination()
  await lookAtEngine(lane, found.exam, never)
  expect(lane.openStreams).toBe(0)
  return found
}

describe('the engine behind a lane', () => {
  test('that answers passes every stage, with its versions and its clock', async () => {
    const { states, at } = await examineEngine(new FakeLane(engineWith()))
    expect(states().map(([, state]) => state)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok'])
    expect(at('version')?.facts).toEqual(['Docker 28.2.2, API 1.50'])
    expect(at('clock')?.facts.join()).toMatch(/^at most \d+(\.\d)? m?s apart from ours$/u)
  })

  test.each([
    [60_000, 'ahead of'],
    [-60_000, 'behind'],
  ])('whose clock is %i ms off warns, and says which way', async (offMs, way) => {
    const { at } = await examineEngine(new FakeLane(engineWith({ date: new Date(Date.now() + offMs) })))
    expect(at('clock')).toMatchObject({
      state: 'warning',
      error: { code: 'CLOCK_OFF', hint: expect.stringContaining('timedatectl') as string },
    })
    expect(at('clock')?.error?.message).toMatch(
      new RegExp(`the clock there is (59|60|1) (s|min) ${way} ours`, 'u'),
    )
  })

  test.each([
    ['1.43', 'warning'],
    ['1.44', 'ok'],
    ['1.9', 'warning'],
    ['2.0', 'ok'],
  ])('that speaks API %s: %s', async (apiVersion, state) => {
    const { at } = await examineEngine(new FakeLane(engineWith({ apiVersion })))
    expect(at('version')).toMatchObject({ state, facts: [`Docker 28.2.2, API ${apiVersion}`] })
  })

  test('that streams reach by another way than sshd itself passes, with a warning that says which and why', async () => {
    const forwarding = { method: 'docker system dial-stdio', why: 'sshd forbids forwarding there' }
    const lane = Object.assign(new FakeLane(engineWith()), { forwarding }) as FakeLane
    const { states, at } = await examineEngine(lane)
    expect(states().map(([, state]) => state)).toEqual(['warning', 'ok', 'ok', 'ok', 'ok'])
    expect(at('streamlocal')?.error).toMatchObject({
      code: 'FORWARDING_FORBIDDEN',
      message: 'streams go through docker system dial-stdio there: sshd forbids forwarding there',
      hint: expect.stringContaining('AllowStreamLocalForwarding yes') as string,
    })
  })

  test('that was looked for says where it was found, and what else is there', async () => {
    const notes = ['another engine listens at /run/podman/podman.sock (Podman)']
    const found = { path: '/run/user/1/docker.sock', whose: 'rootless Docker', notes }
    const { at } = await examineEngine(Object.assign(new FakeLane(engineWith()), { found }))
    expect(at('remote socket')).toMatchObject({
      state: 'ok',
      facts: ['found at /run/user/1/docker.sock (rootless Docker)', ...notes],
    })
    const unseen = { path: '/var/run/docker.sock', whose: null, notes: [] }
    const there = await examineEngine(Object.assign(new FakeLane(engineWith()), { found: unseen }))
    expect(there.at('remote socket')?.facts.join()).toMatch(
      /^found at \/var\/run\/docker\.sock \(the usual place/u,
    )
  })

  test('that was looked for in vain names every place that was looked at', async () => {
    const lane = new FakeLane()
    const missing = new DproxyError('ENGINE_SOCKET_MISSING', 'there is none', { hint: 'do this' })
    lane.cannotOpen = new NoEngineSocket(missing, [
      'looked at /a: nothing there',
      'looked at /b: not a socket',
    ])
    const { at } = await examineEngine(lane)
    expect(at('remote socket')).toMatchObject({
      state: 'failed',
      facts: ['looked at /a: nothing there', 'looked at /b: not a socket'],
      error: { code: 'ENGINE_SOCKET_MISSING', message: 'there is none', hint: 'do this' },
    })
  })

  test('that never answers fails within the limit, and its version and clock are not asked for', async () => {
    const lane = new FakeLane(() => undefined)
    lane.connectTimeoutMs = 200
    const { states, at } = await examineEngine(lane)
    expect(states()).toEqual([
      ['streamlocal', 'ok'],
      ['remote socket', 'ok'],
      ['engine', 'failed'],
      ['version', 'not reached'],
      ['clock', 'not reached'],
    ])
    expect(at('engine')?.error).toMatchObject({ code: 'ENGINE_TIMEOUT' })
  })

  test('that is none fails with what it said', async () => {
    const { at } = await examineEngine(new FakeLane(engineWith({ ping: 404 })))
    expect(at('engine')?.error).toMatchObject({
      code: 'ENGINE_UNREACHABLE',
      message: expect.stringContaining('HTTP 404') as string,
    })
  })

  test.each([
    ['ENGINE_UNREACHABLE', 'streamlocal'],
    ['LINK_LOST', 'streamlocal'],
    ['ENGINE_SOCKET_MISSING', 'remote socket'],
    ['ENGINE_SOCKET_DENIED', 'remote socket'],
    ['ENGINE_DOWN', 'engine'],
  ] as const)(
    'that no stream can be opened to: %s fails at %s, and nothing else fails',
    async (code, stage) => {
      const lane = new FakeLane()
      lane.cannotOpen = new DproxyError(code, 'no', { hint: 'do this' })
      const { reports } = await examineEngine(lane)
      expect(reports.map((each) => each.stage)).toEqual([
        'streamlocal',
        'remote socket',
        'engine',
        'version',
        'clock',
      ])
      expect(reports.filter(({ state }) => state === 'failed')).toMatchObject([
        { stage, error: { code, message: 'no', hint: 'do this' } },
      ])
    },
  )
})

describe('the stages of connecting', () => {
  test('are told one by one, each with the facts that belong to it', () => {
    const { exam, states, at } = examination()
    const { onStage, onFact, onResolved, ...rest } = withParts(new Connecting(exam, 'auto'))
    onStage('resolve')
    onResolved(resolvedAs())
    onFact({ stage: 'resolve', text: 'who' })
    onStage('connect')
    expect(states()).toEqual([['name', 'ok']])
    onFact({ stage: 'connect', text: 'where' })
    onStage('host key')
    onFact({ stage: 'banner', text: 'SSH-2.0-x' })
    onFact({ stage: 'host key', text: 'key' })
    onStage('login')
    onFact({ stage: 'login', text: 'in\u001b[31m' })
    rest.connecting.pass(null)
    expect(states()).toEqual(STEPS.map((step) => [step, 'ok']))
    expect(STEPS.map((step) => at(step)?.facts)).toEqual([
      ['who'],
      ['where'],
      ['SSH-2.0-x'],
      ['key'],
      [String.raw`in\x1b[31m`],
    ])
  })

  test('that only the system ssh sees are passed with it', () => {
    const { exam, states, at } = examination()
    const { onStage, connecting } = withParts(new Connecting(exam, 'openssh'))
    onStage('resolve')
    onStage('connect')
    onStage('host key')
    onStage('login')
    connecting.pass(null)
    expect(states()).toEqual(STEPS.map((step) => [step, 'ok']))
    expect(at('banner')?.facts.join()).toContain("the system's ssh")
  })

  test('end where an attempt failed; what lies behind is not reached', () => {
    const { exam, states } = examination()
    const { onStage, connecting } = withParts(new Connecting(exam, 'auto'))
    onStage('resolve')
    onStage('connect')
    onStage('host key')
    connecting.fail(new DproxyError('HANDSHAKE_TIMEOUT', 'silence', { stage: 'host key' }))
    expect(states()).toEqual([
      ['name', 'ok'],
      ['connect', 'ok'],
      ['banner', 'failed'],
      ['host key', 'not reached'],
      ['login', 'not reached'],
    ])
  })

  test('of a server that takes no login for now end where it said so', () => {
    const { exam, states } = examination()
    const { onStage, connecting } = withParts(new Connecting(exam, 'auto'))
    onStage('resolve')
    onStage('connect')
    onStage('host key')
    connecting.fail(new DproxyError('LOGIN_THROTTLED', 'not now', { stage: 'login' }))
    expect(states().filter(([, state]) => state === 'failed')).toEqual([['banner', 'failed']])
    expect(states().filter(([, state]) => state === 'not reached')).toHaveLength(2)
  })

  test('that failed before they were tried leave those before them untried', () => {
    const { exam, states } = examination()
    const { onStage, connecting } = withParts(new Connecting(exam, 'auto'))
    onStage('resolve')
    onStage('connect')
    connecting.fail(new DproxyError('HOST_KEY_UNREADABLE', 'no', { stage: 'host key' }))
    expect(states()).toEqual([
      ['name', 'ok'],
      ['connect', 'not reached'],
      ['banner', 'not reached'],
      ['host key', 'failed'],
      ['login', 'not reached'],
    ])
  })

  test('of a jump host belong to the way to its target', () => {
    const { exam, states } = examination()
    const { onStage, onFact, onResolved, connecting } = withParts(new Connecting(exam, 'auto'))
    onStage('resolve')
    onResolved(resolvedAs({ route: { kind: 'jump', hops: [] } }))
    onFact({ stage: 'connect', text: 'jump host a: …' })
    connecting.fail(new DproxyError('LOGIN_REFUSED', 'jump host a: no', { stage: 'login' }))
    expect(states().filter(([, state]) => state === 'failed')).toEqual([['connect', 'failed']])
  })

  test('name every address that was tried in vain', () => {
    const { exam, at } = examination()
    const { onStage, connecting } = withParts(new Connecting(exam, 'auto'))
    onStage('connect')
    const refusals = ['::1', '127.0.0.1'].map((address) =>
      Object.assign(new Error('no'), { address, code: 'ECONNREFUSED' }),
    )
    const cause = new AggregateError(refusals)
    connecting.fail(new DproxyError('CONNECT_REFUSED', 'no', { stage: 'connect', cause }))
    expect(at('connect')?.facts).toEqual(['::1: ECONNREFUSED', '127.0.0.1: ECONNREFUSED'])
  })
})

const STEPS = ['name', 'connect', 'banner', 'host key', 'login']

const withParts = (connecting: Connecting) => {
  const { onStage, onFact, onResolved } = connecting
  return { onStage, onFact, onResolved, connecting }
}

const resolvedAs = (more: Partial<Resolved> = {}) =>
  ({ route: { kind: 'direct' }, onlyOpenssh: null, ...more }) as Resolved
