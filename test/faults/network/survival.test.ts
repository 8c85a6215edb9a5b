import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { until } from '../../testbed/until.js'
import { startClients } from './clients.js'
import { startEngine } from './engine.js'
import { expectWhole } from './requests.js'
import { describeNetwork, PATIENCE, startScene, type Scene } from './scene.js'

/** The link is the one that there was at the start. */
const expectNothingLost = ({ prod }: Scene): void => {
  expect(prod.states.map(({ state }) => state)).toEqual(['up'])
  expect(prod.now).toMatchObject({ reconnects: 0, lastError: null })
}

describeNetwork('a link on a bad network', ['iptables', 'tun'], () => {
  test.concurrent('outlives an outage inside the limit, and loses nothing [T16]', PATIENCE, async () => {
    await using scope = new Scope()
    const engine = await startEngine(scope, 4_000_000)
    const scene = await startScene(scope, engine.socket)
    const { lab, prod } = scene
    const moved = () => [prod.now.bytes.up, prod.now.bytes.down]
    const transfers = expectWhole(scene.socket, engine, 'slowly')
    transfers.catch(() => undefined)
    await until('both are under way', () => Math.min(...moved()) > 200_000)
    await lab.drop('both')
    // The outage is the case, not a wait for something.
    await sleep(2500)
    await lab.heal()
    expect(Math.max(...moved())).toBeLessThan(engine.payload.length)
    await transfers
    expectNothingLost(scene)
  })

  test.concurrent('outlives such an outage also while nothing is under way [T16]', PATIENCE, async () => {
    await using scope = new Scope()
    const engine = await startEngine(scope, 1)
    const scene = await startScene(scope, engine.socket)
    const [client] = await startClients(scope, scene, ['follow'])
    let isCut = false
    void client!.ended.then(() => (isCut = true))
    // Wherever in the second between two signs of life it begins.
    for (const phaseMs of [0, 350, 700]) {
      const { rttMs } = scene.prod.now
      await until('a sign of life came', () => scene.prod.now.rttMs !== rttMs)
      await sleep(phaseMs)
      await scene.lab.drop('both')
      await sleep(2500)
      await scene.lab.heal()
      await until('it is heard again', () => scene.prod.now.rttMs !== rttMs)
    }
    expect(isCut).toBe(false)
    expectNothingLost(scene)
  })

  test.concurrent('is slow at 1 Mbit/s, busy both ways, but not dead [T17]', PATIENCE, async () => {
    await using scope = new Scope()
    const engine = await startEngine(scope, 700_000)
    const scene = await startScene(scope, engine.socket)
    await scene.lab.rate(1000, 2000)
    const started = performance.now()
    await expectWhole(scene.socket, engine)
    // The line was as slow as ordered, and busy for longer than a silent link would have lived.
    expect(performance.now() - started).toBeGreaterThan(5000)
    expectNothingLost(scene)
  })

  test.concurrent(
    'that is late, lossy, out of order and double carries every byte [T21]',
    PATIENCE,
    async () => {
      await using scope = new Scope()
      const wire = { delayMs: 50, loss: 0.01, reorder: 0.02, duplicate: 0.02 }
      const engine = await startEngine(scope, 1_000_000)
      const scene = await startScene(scope, engine.socket, { wire })
      // As late as ordered: the wire is the one that was meant.
      expect(scene.prod.now.rttMs).toBeGreaterThan(100)
      await expectWhole(scene.socket, engine)
      expectNothingLost(scene)
    },
  )
})
