import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { LONGEST_SOCKET_PATH } from '../../src/base/paths.js'
import { World } from './cli.js'
import { isAlive } from './processes.js'
import { until } from './until.js'

test('a world knows nothing of the account that runs the tests', async () => {
  await using world = await World.create()
  const { stdout } = await world.spawn('sh', ['-c', 'env'])
  expect(stdout).toContain(`HOME=${world.dir}/home`)
  expect(stdout).not.toMatch(/^(?:SSH_AUTH_SOCK|DOCKER_HOST|DPROXY_CONFIG|CI)=/mu)
})

test('the sockets of a world fit into a socket address, whatever the host is called', async () => {
  await using world = await World.create()
  expect(existsSync(dirname(world.socket('prod')))).toBe(true)
  expect(world.socket('x'.repeat(63)).length).toBeLessThanOrEqual(LONGEST_SOCKET_PATH)
})

test('what ends badly, never ends or cannot be is a result', async () => {
  await using world = await World.create()
  expect(await world.spawn('sh', ['-c', 'echo no >&2; exit 3'])).toMatchObject({ exitCode: 3, stderr: 'no' })
  expect(await world.spawn('sleep', ['1000'], { timeoutMs: 200 })).toMatchObject({ timedOut: true })
})

test.runIf(process.platform === 'linux')('a daemon started in a world is gone with it', async () => {
  let pids: number[] = []
  let dir = ''
  {
    await using world = await World.create()
    await world.spawn('sh', ['-c', 'setsid sleep 1000 >/dev/null 2>&1 &'])
    pids = await until('it runs', () => world.processes().length > 0 && world.processes())
    dir = world.dir
  }
  await until('it is gone', () => !pids.some(isAlive))
  expect(existsSync(dir)).toBe(false)
})
