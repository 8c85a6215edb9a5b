import { setMaxListeners } from 'node:events'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { deferred } from '../../src/base/deferred.js'
import { DproxyError } from '../../src/base/errors.js'
import { Scope } from '../../src/base/scope.js'
import { LanePool, type LanePoolOptions } from '../../src/supervisor/lanes/lane-pool.js'
import { until } from '../testbed/until.js'
import { FakeLane } from './support.js'

/** A lane whose server allows so many sessions, one for each stream. */
class NarrowLane extends FakeLane {
  readonly most: number
  refusals = 0
  readonly #onRoom: (() => void)[] = []

  constructor(most: number) {
    super()
    this.most = most
  }

  onRoom(listener: () => void): void {
    this.#onRoom.push(listener)
  }

  override async openStream(signal: AbortSignal): Promise<Duplex> {
    if (this.streams.size >= this.most) {
      this.refusals += 1
      throw new DproxyError('SESSION_LIMIT', `sshd allows ${this.most} sessions`, {
        hint: 'MaxSessions, lanes:',
      })
    }
    const stream = await super.openStream(signal)
    stream.once('close', () => {
      for (const listener of this.#onRoom) listener()
    })
    return stream
  }
}

const never = new AbortController().signal
setMaxListeners(0, never) // one for each stream being opened under it

/** A pool of lanes with `sessions` each; closed with its scope. */
const poolOf = (scope: Scope, sessions: number, options: Partial<LanePoolOptions> = {}) => {
  const first = new NarrowLane(sessions)
  const lanes = [first]
  const said: string[] = []
  const cuts: number[] = []
  const pool = new LanePool({
    first,
    openFurther: async () => {
      const lane = new NarrowLane(sessions)
      lanes.push(lane)
      return lane
    },
    most: 4,
    onChange: (sentence) => said.push(sentence),
    ...options,
  })
  pool.onCut((streams) => cuts.push(streams))
  scope.add(pool, (taken) => taken.close())
  return { pool, first, lanes, said, cuts }
}

const crowd = (pool: LanePool, size: number): Promise<Duplex[]> =>
  Promise.all(Array.from({ length: size }, () => pool.openStream(never)))

const failureOf = (opening: Promise<unknown>): Promise<unknown> =>
  opening.catch((failure: unknown) => failure)

test('a pool opens no further connection while the first has room', async () => {
  await using scope = new Scope()
  const { pool, lanes } = poolOf(scope, 10)
  await crowd(pool, 10)
  expect(lanes.length).toBe(1)
  expect(pool).toMatchObject({ lanes: 1, openStreams: 10 })
})

test('a pool opens further connections for whom the first has no room, one at a time and no more than it may', async () => {
  await using scope = new Scope()
  const { pool, lanes, said } = poolOf(scope, 2)
  const streams = await crowd(pool, 8)
  expect(lanes.map((lane) => lane.streams.size)).toEqual([2, 2, 2, 2])
  expect(pool).toMatchObject({ lanes: 4, openStreams: 8 })
  expect(said).toEqual([2, 3, 4].map((at) => `opened another SSH connection (${at} of at most 4)`))
  const ninth = pool.openStream(never)
  await sleep(300)
  expect(lanes.length).toBe(4)
  streams[3]!.destroy()
  await ninth
  expect(pool.openStreams).toBe(8)
})

test('who waits for room is served in order of arrival, and overtaken by nobody', async () => {
  await using scope = new Scope()
  const { pool } = poolOf(scope, 1, { openFurther: null })
  const served: number[] = []
  const serve = async (at: number) => {
    const stream = await pool.openStream(never)
    served.push(at)
    await sleep(5)
    stream.destroy()
  }
  await Promise.all(Array.from({ length: 12 }, (_, at) => serve(at)))
  expect(served).toEqual(Array.from({ length: 12 }, (_, at) => at))
})

test('who waits in vain hears of the limit and of the way out, in the time that a connection has', async () => {
  await using scope = new Scope()
  const { pool, first } = poolOf(scope, 1, { openFurther: null })
  first.connectTimeoutMs = 300
  await pool.openStream(never)
  const started = performance.now()
  expect(await failureOf(pool.openStream(never))).toMatchObject({
    code: 'SESSION_LIMIT',
    message: expect.stringMatching(
      /^sshd allows 1 sessions; there was no room for one more stream within \S+/u,
    ) as string,
    hint: 'MaxSessions, lanes:',
  })
  expect(performance.now() - started).toBeGreaterThan(250)
  expect(first.refusals).toBeLessThan(10)
})

test('who leaves while waiting does not hold up the next', async () => {
  await using scope = new Scope()
  const { pool } = poolOf(scope, 1, { openFurther: null })
  const stream = await pool.openStream(never)
  const left = new AbortController()
  const leaving = failureOf(pool.openStream(left.signal))
  const staying = pool.openStream(never)
  left.abort(new Error('left'))
  expect(await leaving).toMatchObject({ message: 'left' })
  stream.destroy()
  await staying
})

test('room that nobody tells of is found all the same', async () => {
  await using scope = new Scope()
  const first = new FakeLane()
  const { pool } = poolOf(scope, 1, { first, openFurther: null })
  first.cannotOpen = new DproxyError('SESSION_LIMIT', 'full')
  const waiting = pool.openStream(never)
  await sleep(100)
  first.cannotOpen = undefined
  await waiting
})

test('what is no want of room is told at once', async () => {
  await using scope = new Scope()
  const { pool, first, lanes } = poolOf(scope, 1)
  first.cannotOpen = new DproxyError('ENGINE_DOWN', 'down')
  expect(await failureOf(pool.openStream(never))).toMatchObject({ code: 'ENGINE_DOWN' })
  expect(lanes.length).toBe(1)
})

test('a further connection that carries nothing is closed after a while, the first never', async () => {
  await using scope = new Scope()
  const { pool, lanes, cuts, said } = poolOf(scope, 1, { idleMs: 100 })
  const [one, two] = await crowd(pool, 2)
  await sleep(250)
  expect(pool.lanes).toBe(2)
  one!.destroy()
  two!.destroy()
  await until('it is closed', () => pool.lanes === 1)
  expect(lanes.map((lane) => lane.lost.aborted)).toEqual([false, true])
  expect(said.at(-1)).toMatch(/^another SSH connection is over: .*no longer needed/u)
  expect(cuts).toEqual([])
  await crowd(pool, 2)
  expect(pool.lanes).toBe(2)
})

test('a further connection that is lost takes its own streams with it, and that is told before they are destroyed', async () => {
  await using scope = new Scope()
  const { pool, lanes, cuts } = poolOf(scope, 2)
  const streams = await crowd(pool, 4)
  const alive: boolean[] = []
  pool.onCut(() => alive.push(...streams.map((stream) => !stream.destroyed)))
  lanes[1]!.close('reset')
  expect(cuts).toEqual([2])
  expect(alive).toEqual([true, true, true, true])
  expect(streams.map((stream) => stream.destroyed)).toEqual([false, false, true, true])
  expect(pool.lost.aborted).toBe(false)
  expect(pool).toMatchObject({ lanes: 1, openStreams: 2 })
})

test('who was about to be served by a further connection that is lost is served by another', async () => {
  await using scope = new Scope()
  const { pool, lanes } = poolOf(scope, 2)
  await crowd(pool, 3)
  const gate = deferred<void>()
  lanes[1]!.opening = gate.promise
  const waiting = pool.openStream(never)
  await sleep(20)
  lanes[1]!.close('reset')
  await waiting
  expect(lanes.length).toBe(3)
})

test('a pool is lost with its first connection: that is known before any stream is destroyed, and all go', async () => {
  await using scope = new Scope()
  const { pool, first, lanes, cuts } = poolOf(scope, 2)
  const streams = await crowd(pool, 4)
  const waiting = failureOf(crowd(pool, 5))
  await sleep(150)
  const seen: unknown[] = []
  pool.lost.addEventListener('abort', () =>
    seen.push(pool.openStreams, streams.filter((stream) => stream.destroyed).length, pool.lost.reason),
  )
  first.close('reset')
  expect(seen).toEqual([expect.any(Number), 0, expect.objectContaining({ code: 'LINK_LOST' })])
  expect(seen[0]).toBeGreaterThanOrEqual(4)
  expect(streams.every((stream) => stream.destroyed)).toBe(true)
  expect(lanes.every((lane) => lane.lost.aborted)).toBe(true)
  expect(await waiting).toMatchObject({ code: 'LINK_LOST' })
  expect(cuts).toEqual([])
  expect(await failureOf(pool.openStream(never))).toMatchObject({ code: 'LINK_LOST' })
  await pool.gone
})

test('a connection that comes when the pool is already lost is closed', async () => {
  await using scope = new Scope()
  const gate = deferred<NarrowLane>()
  const { pool, first } = poolOf(scope, 1, { openFurther: () => gate.promise })
  const waiting = failureOf(crowd(pool, 2))
  await sleep(100)
  first.close('reset')
  expect(await waiting).toMatchObject({ code: 'LINK_LOST' })
  const late = new NarrowLane(1)
  gate.resolve(late)
  await until('it is closed', () => late.lost.aborted)
  await pool.gone
})

test.each(['CONNECT_REFUSED', 'LOGIN_NEEDS_PERSON'] as const)(
  'a further connection that cannot be opened is not tried for each who waits: %s',
  async (code) => {
    await using scope = new Scope()
    let tries = 0
    const openFurther = async () => {
      tries += 1
      throw new DproxyError(code, 'no')
    }
    const { pool, first, said } = poolOf(scope, 1, { openFurther })
    first.connectTimeoutMs = 600
    await pool.openStream(never)
    const waiting = Array.from({ length: 5 }, () => failureOf(pool.openStream(never)))
    for (const failure of await Promise.all(waiting)) expect(failure).toMatchObject({ code: 'SESSION_LIMIT' })
    expect(tries).toBe(1)
    expect(said).toEqual(['no other SSH connection could be opened: no'])
  },
)

test('a further connection that goes silent is found out and ended, and the first goes on', async () => {
  await using scope = new Scope()
  const { pool, lanes, cuts } = poolOf(scope, 1, {
    openFurther: async () => {
      const lane = new NarrowLane(1)
      lane.keepAlive = { intervalMs: 100, misses: 1 }
      lanes.push(lane)
      return lane
    },
  })
  const streams = await crowd(pool, 2)
  lanes[1]!.answers = false
  await until('it is found out', () => lanes[1]!.lost.aborted)
  expect(cuts).toEqual([1])
  expect(streams.map((stream) => stream.destroyed)).toEqual([false, true])
  expect(pool.lost.aborted).toBe(false)
})
