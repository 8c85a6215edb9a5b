import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { must, statusOf } from '../../e2e/lifecycle.js'
import { World } from '../../testbed/cli.js'
import { until } from '../../testbed/until.js'
import { Watch } from '../network/watch.js'
import { ask, hold, startScene } from './support.js'

// By its own patience the link would be found dead after four minutes.
const PATIENT = { interval: '1m', misses: 3 }
const ASLEEP_MS = 7000

test.concurrent(
  'a link that has died while the machine slept is found out soon after it woke, however patient it is; its client is cut, and it comes back [T19]',
  { timeout: 90_000 },
  async () => {
    await using scope = new Scope()
    const { chaos, prod, socket, standStill } = await startHost(scope)
    const client = await hold(scope, socket)
    await standStill(() => chaos.blackhole(true))
    const wokeMs = performance.now()
    expect(await prod.leaves('up', wokeMs, 30_000)).toBeLessThan(25_000)
    expect(prod.now.lastError?.code).toBe('LINK_LOST')
    await client.ended
    await chaos.heal()
    await until('it is up again', () => prod.now.state === 'up', 20_000)
    expect(prod.now.reconnects).toBe(1)
  },
)

test.concurrent(
  'a link that lives on through a sleep is asked for a sign of life at once, and keeps its connection and its streams [T19]',
  { timeout: 90_000 },
  async () => {
    await using scope = new Scope()
    const { chaos, prod, socket, standStill } = await startHost(scope)
    const client = await hold(scope, socket)
    let isCut = false
    void client.ended.then(() => (isCut = true))
    await standStill(() => undefined)
    const bytes = { up: chaos.up.bytes, down: chaos.down.bytes }
    await until(
      'it is asked, and answers',
      () => chaos.up.bytes > bytes.up && chaos.down.bytes > bytes.down,
      5000,
    )
    // Longer than it would take to be given up.
    await sleep(17_000)
    expect(isCut).toBe(false)
    expect(prod.states.map(({ state }) => state)).toEqual(['up'])
    expect([prod.now.reconnects, chaos.accepted]).toEqual([0, 1])
    expect(await ask(socket)).toBe(200)
  },
)

/** The host `prod`, up, and a supervisor that can be made to stand still as it does when the machine sleeps. */
const startHost = async (scope: Scope) => {
  const { chaos, host } = await startScene(scope)
  const world = scope.use(await World.create())
  const entry = { ...world.entry('prod', host), keepAlive: PATIENT, connectTimeout: '2s' }
  await world.config({ hosts: { prod: entry } })
  await must(world, ['up', 'prod'])
  const prod = scope.use(await Watch.start(world, 'prod'))
  const { pid } = (await statusOf(world)).supervisor!
  const standStill = async (meanwhile: () => void) => {
    process.kill(pid, 'SIGSTOP')
    try {
      meanwhile()
      await sleep(ASLEEP_MS)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  }
  return { chaos, prod, socket: world.socket('prod'), standStill }
}
