import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import type { Netlab } from '../../testbed/netlab.js'
import { startClients } from './clients.js'
import { startEngine } from './engine.js'
import { expectWhole, untilServes } from './requests.js'
import { describeNetwork, PATIENCE, startScene } from './scene.js'

const CUTS: readonly [string, (lab: Netlab) => Promise<void>][] = [
  ['closed by its own kernel (ss -K)', (lab) => lab.closeSockets()],
  ['reset by the network', (lab) => lab.reset()],
]

describeNetwork('a busy connection', ['iptables'], () => {
  test.concurrent.for(CUTS)(
    'that is %s ends all its streams in less than a second; the supervisor lives on and serves again by itself [T6]',
    PATIENCE,
    async ([, cut]) => {
      await using scope = new Scope()
      const engine = await startEngine(scope, 1_000_000)
      const scene = await startScene(scope, engine.socket)
      const { lab, prod, socket, world } = scene
      const clients = await startClients(scope, scene, ['follow', 'follow', 'pour', 'pour', 'drink', 'drink'])
      const inode = scene.inode()
      const supervisor = world.processes()
      const cutMs = performance.now()
      await cut(lab)
      for (const { ended } of clients) {
        const { how, atMs } = await ended
        expect(how).toBe('cut')
        expect(atMs - cutMs).toBeLessThan(1000)
      }
      await lab.heal()
      await untilServes(socket)
      expect(prod.now).toMatchObject({ state: 'up', reconnects: 1 })
      expect(scene.inode()).toBe(inode)
      await expectWhole(socket, engine)
      expect(supervisor).toHaveLength(1)
      expect(world.processes()).toEqual(supervisor)
    },
  )
})
