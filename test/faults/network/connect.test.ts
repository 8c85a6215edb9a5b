import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { hostOf } from '../../e2e/lifecycle.js'
import { until } from '../../testbed/until.js'
import { startEngine } from './engine.js'
import { ping } from './requests.js'
import { describeNetwork, MARGIN_MS, PATIENCE, startScene } from './scene.js'
import { Watch } from './watch.js'

const LIMIT_MS = 2000

describeNetwork('a host that nothing is heard of', [], () => {
  test(
    'is given up at the connect timeout with a clear sentence, and no other host waits for it [T18]',
    PATIENCE,
    async () => {
      await using scope = new Scope()
      const engine = await startEngine(scope, 0)
      const { lab, sshd, world, prod, socket } = await startScene(scope, engine.socket)
      const lostHost = { ...hostOf(sshd, engine.socket), host: lab.blackhole }
      const entry = { ...world.entry('lost', lostHost), connectTimeout: `${LIMIT_MS}ms` }
      await world.config({ hosts: { lost: entry } })
      const started = performance.now()
      const asked = world.dproxy(['up', 'lost', '--no-wait'])
      const lost = scope.use(await Watch.start(world, 'lost'))
      const pingMs: number[] = []
      const failure = await until('it is given up', async () => {
        const askedMs = performance.now()
        expect(await ping(socket)).toBe('OK')
        pingMs.push(performance.now() - askedMs)
        return lost.now.lastError ?? false
      })
      const [connecting, retrying] = lost.states
      expect(await asked).toMatchObject({ exitCode: 0 })
      expect(failure).toMatchObject({
        code: 'CONNECT_TIMEOUT',
        stage: 'connect',
        message: `${lab.blackhole}:${sshd.port} did not answer within 2 s`,
        hint: 'is the machine up and reachable from here (VPN, firewall, port)?',
      })
      expect([connecting?.state, retrying?.state]).toEqual(['connecting', 'retrying'])
      expect(retrying!.atMs - started).toBeGreaterThanOrEqual(LIMIT_MS)
      expect(retrying!.atMs - connecting!.atMs).toBeLessThan(LIMIT_MS + MARGIN_MS)
      expect(Math.max(...pingMs)).toBeLessThan(1000)
      expect(prod.states.map(({ state }) => state)).toEqual(['up'])
    },
  )
})
