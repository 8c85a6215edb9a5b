import { createServer } from 'node:http'
import { rm } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { startEngine } from '../proxy/support.js'
import { Machine, PLACES } from '../ssh/engine/machine.js'
import { describeWith } from '../testbed/describe-with.js'
import { namespaces } from '../testbed/parts.js'
import { skippedTitle } from '../testbed/skipped.js'
import { until } from '../testbed/until.js'
import { ask, Rig } from './rig.js'
import { livingEngine } from './support.js'

const [DOCKER, , , , , USER_PODMAN] = PLACES

const tests = (): void => {
  test(
    'is found once: a link made again while that engine is away does not settle on another',
    { timeout: 60_000 },
    async () => {
      await using scope = new Scope()
      const rig = scope.use(await Rig.start())
      const machine = scope.use(await Machine.start())
      const { sshd } = machine
      const engineAt = async (place: string): Promise<Scope> => {
        const engine = scope.use(new Scope())
        const http = createServer(livingEngine)
        await startEngine(engine, machine.behind(place), (client) => http.emit('connection', client))
        return engine
      }
      const host = () => rig.supervisor.status().hosts[0]
      const saysOfIt = (code: string) =>
        until(
          `it says ${code}`,
          () => host()?.lastError?.code === code && host()?.state === 'retrying',
          20_000,
        )

      const first = await engineAt(DOCKER)
      await rig.up(
        rig.host('prod', {
          port: sshd.port,
          user: sshd.user,
          identityFiles: [sshd.keyFile],
          knownHostsFiles: [sshd.knownHostsFile],
          remoteSocket: 'auto',
        }),
      )
      await rig.reaches('prod', 'up')
      expect(host()?.remoteSocket).toBe(DOCKER)
      await engineAt(USER_PODMAN)

      await first[Symbol.asyncDispose]()
      await sshd.stop()
      await until('the link is lost', () => host()?.state === 'retrying' && host()?.lanes === 0)
      expect(host()?.remoteSocket).toBe(DOCKER)
      await sshd.restart()
      await saysOfIt('ENGINE_SOCKET_MISSING')
      expect(host()?.lastError?.message).toContain(DOCKER)
      expect(await ask(rig.socket('prod'))).toBe(503)
      await machine.deadAt(scope, DOCKER)
      await saysOfIt('ENGINE_DOWN')
      expect(host()?.remoteSocket).toBe(DOCKER)

      await rm(machine.behind(DOCKER))
      const again = await engineAt(DOCKER)
      await until('it is up again', () => host()?.state === 'up', 20_000)
      expect(host()?.remoteSocket).toBe(DOCKER)
      await again[Symbol.asyncDispose]()
      await rig.supervisor.restart('prod', 0)
      await rig.reaches('prod', 'up')
      expect(host()?.remoteSocket).toBe(USER_PODMAN)
    },
  )
}

const title = "the engine's socket"
if (namespaces()) describeWith(['sshd'], title, tests)
else describe.skip(skippedTitle(title, 'needs root, with the right to mount'), tests)
