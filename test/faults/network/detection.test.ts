import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import type { Netlab } from '../../testbed/netlab.js'
import { startClients, type Work } from './clients.js'
import { startEngine } from './engine.js'
import { expectWhole, untilServes } from './requests.js'
import { describeNetwork, FOUND_OUT_MS, MARGIN_MS, PATIENCE, startScene } from './scene.js'

const FAULTS: Record<string, (lab: Netlab) => Promise<void>> = {
  'whose packets vanish both ways': (lab) => lab.drop('both'),
  'that hears nothing any more': (lab) => lab.drop('in'),
  'that is not heard any more': (lab) => lab.drop('out'),
  'whose cable is pulled': (lab) => lab.linkDown(),
}
const LOADS: Record<string, readonly Work[]> = { idle: ['follow'], loaded: ['follow', 'pour', 'drink'] }

const CASES = Object.keys(FAULTS).flatMap((fault) => Object.keys(LOADS).map((load) => [fault, load] as const))

describeNetwork('a network that goes silent', ['iptables'], () => {
  test.concurrent.for(CASES)(
    'a link %s, %s, is found dead within interval x (misses + 1) + 1 s, its clients are cut off, and its socket serves again by itself [T15]',
    PATIENCE,
    async ([fault, load]) => {
      await using scope = new Scope()
      const engine = await startEngine(scope, 1_000_000)
      const scene = await startScene(scope, engine.socket)
      const { lab, prod, socket } = scene
      const inode = scene.inode()
      const clients = await startClients(scope, scene, LOADS[load]!)
      const faultMs = performance.now()
      await FAULTS[fault]!(lab)
      await prod.leaves('up', faultMs, FOUND_OUT_MS + MARGIN_MS)
      expect(prod.now.lastError?.code).toBe('LINK_LOST')
      for (const { ended } of clients) expect((await ended).how).toBe('cut')
      await lab.heal()
      await untilServes(socket)
      expect(scene.inode()).toBe(inode)
      await expectWhole(socket, engine)
    },
  )
})
