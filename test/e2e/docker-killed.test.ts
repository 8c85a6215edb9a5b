import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { program } from '../testbed/parts.js'
import { until } from '../testbed/until.js'
import { describeHosts } from './both.js'
import { statusOf } from './lifecycle.js'

describeHosts('docker fed from a pipe', (both) => {
  test('and killed with -9 while its command is silent leaves no stream [T4]', () =>
    both(async (host) => {
      await using scope = new Scope()
      const { name } = scope.use(await host.container(['run', '-d'], 'sleep', '1000'))
      const open = async () => (await statusOf(host.world, host.name)).hosts[0]!.streams.open
      const docker = spawn(program('docker')!, ['exec', '-i', name, 'sh', '-c', 'cat; sleep 1000'], {
        env: { ...host.world.env, ...host.world.dockerEnv(host.name) },
        stdio: ['pipe', 'pipe', 'ignore'],
      })
      scope.add(docker, (taken) => taken.kill('SIGKILL'))
      // The end of its input is on its way as well: nothing else will ever be said.
      docker.stdin.end('hello')
      await once(docker.stdout, 'data')
      await until('its stream is open', async () => (await open()) > 0)
      docker.kill('SIGKILL')
      await until('its stream is gone', async () => (await open()) === 0)
    }))
})
