import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { must } from '../../e2e/lifecycle.js'
import type { Chaos, Line } from '../../testbed/chaos.js'
import { World } from '../../testbed/cli.js'
import { until } from '../../testbed/until.js'
import { Watch } from '../network/watch.js'
import { ask, fetchPayload, hold, PAYLOAD, sendPayload, sha256, startScene } from './support.js'

const INTERVAL_MS = 500
const MISSES = 2

// What a busy machine may add: six links die at the same time.
const MARGIN_MS = 1000

const LINES: Record<string, (chaos: Chaos) => Line[]> = {
  'both ways': ({ up, down }) => [up, down],
  'towards the server': ({ up }) => [up],
  'from the server': ({ down }) => [down],
}
const LOADS = { idle: '/follow', loaded: '/pour' } as const
const CASES = Object.keys(LINES).flatMap((way) =>
  (['idle', 'loaded'] as const).map((load) => [way, load] as const),
)

test.concurrent.for(CASES)(
  'a link on which nothing comes through %s any more, %s, is dead within interval x (misses + 1) + 1 s of its last byte; its client is cut, and it comes back [T15]',
  { timeout: 60_000 },
  async ([way, load]) => {
    await using scope = new Scope()
    const { chaos, prod, socket } = await startHost(scope, {
      interval: `${INTERVAL_MS}ms`,
      misses: MISSES,
    })
    // What is under way when the line is cut off is little.
    chaos.down.set({ rate: 2_000_000 })
    const client = await hold(scope, socket, LOADS[load])
    const lines = LINES[way]!(chaos)
    for (const line of lines) line.set({ blackhole: true })
    let heardMs = performance.now()
    for (let bytes = chaos.down.bytes; prod.now.state === 'up'; await sleep(10)) {
      if (chaos.down.bytes !== bytes) heardMs = performance.now()
      bytes = chaos.down.bytes
      expect(performance.now() - heardMs).toBeLessThan(INTERVAL_MS * (MISSES + 1) + 1000 + MARGIN_MS)
    }
    expect(prod.now.lastError?.code).toBe('LINK_LOST')
    await client.ended
    await chaos.heal()
    await until('it is up again', () => prod.now.state === 'up')
    expect(prod.now.reconnects).toBe(1)
  },
)

test(
  'an outage of 2.5 s inside the limit loses nothing: what was under way arrives whole, in the same connection [T16]',
  { timeout: 60_000 },
  async () => {
    await using scope = new Scope()
    const { chaos, prod, socket } = await startHost(scope, { interval: '1s', misses: 3 })
    for (const line of [chaos.up, chaos.down]) line.set({ rate: 2_000_000 })
    const idle = await hold(scope, socket)
    let isCut = false
    void idle.ended.then(() => (isCut = true))
    const before = { up: chaos.up.bytes, down: chaos.down.bytes }
    const transfers = [fetchPayload(socket), sendPayload(socket)]
    await until('they are in the middle', () => {
      const [up, down] = [chaos.up.bytes - before.up, chaos.down.bytes - before.down]
      return Math.min(up, down) > PAYLOAD.length / 8
    })
    chaos.blackhole(true)
    await sleep(2500)
    expect(Math.max(chaos.up.bytes, chaos.down.bytes)).toBeLessThan(PAYLOAD.length)
    chaos.blackhole(false)
    expect(await Promise.all(transfers)).toEqual([sha256(PAYLOAD), sha256(PAYLOAD)])
    expect(await ask(socket)).toBe(200)
    expect(isCut).toBe(false)
    expect(prod.states.map(({ state }) => state)).toEqual(['up'])
    expect([prod.now.reconnects, chaos.accepted]).toEqual([0, 1])
  },
)

/** The host `prod`, up. */
const startHost = async (scope: Scope, keepAlive: object) => {
  const { chaos, host } = await startScene(scope)
  const world = scope.use(await World.create())
  const entry = { ...world.entry('prod', host), keepAlive, connectTimeout: '2s' }
  await world.config({ hosts: { prod: entry } })
  await must(world, ['up', 'prod'])
  const prod = scope.use(await Watch.start(world, 'prod'))
  return { chaos, prod, socket: world.socket('prod') }
}
