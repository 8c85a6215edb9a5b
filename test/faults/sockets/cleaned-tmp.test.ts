/** A whole dproxy whose sockets a cleaner of /tmp has deleted. */
import { existsSync, statSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { Status } from '../../../src/control/messages.js'
import { World } from '../../testbed/cli.js'
import { until } from '../../testbed/until.js'

const NOTICED_MS = 5000

/** A host that nobody dials, and the supervisor that serves it. */
const serving = async (scope: Scope): Promise<World> => {
  const world = scope.use(await World.create())
  await world.config({ hosts: { prod: { ssh: 'ssh://deploy@127.0.0.1:9', socket: world.socket('prod') } } })
  expect((await world.dproxy(['up', '--lazy', 'prod'])).exitCode).toBe(0)
  return world
}

const statusOf = async (world: World): Promise<Status> =>
  Status.parse(JSON.parse((await world.dproxy(['status', '--json'])).stdout))

test('the control socket comes back with its directory, and the same supervisor is found again [S11]', async () => {
  await using scope = new Scope()
  const world = await serving(scope)
  const before = await statusOf(world)
  const runDir = dirname(world.controlSocket)
  await rm(runDir, { recursive: true })
  await rm(dirname(world.socket('prod')), { recursive: true })
  const both = () => existsSync(world.controlSocket) && existsSync(world.socket('prod'))
  await until('both sockets are there again', both, NOTICED_MS)
  expect(statSync(runDir).mode & 0o777).toBe(0o700)
  expect(statSync(world.controlSocket).mode & 0o777).toBe(0o600)
  expect(statSync(world.socket('prod')).mode & 0o777).toBe(0o600)
  const after = await statusOf(world)
  expect(after.supervisor?.pid).toBe(before.supervisor!.pid)
  expect(after.hosts).toMatchObject([{ name: 'prod', state: 'idle', lastError: null }])
  const { stdout } = await world.dproxy(['logs'])
  expect(stdout).toContain('somebody had deleted the control socket: it is there again')
  expect(stdout).toContain(`somebody had deleted ${world.socket('prod')}: it is there again`)
})

test('what stands in the place of a host socket is left alone and shown, until it is gone [S11]', async () => {
  await using scope = new Scope()
  const world = await serving(scope)
  const socket = world.socket('prod')
  await rm(socket)
  await writeFile(socket, 'theirs')
  const lost = await until(
    'the loss is shown',
    async () => (await statusOf(world)).hosts[0]?.lastError ?? undefined,
  )
  expect(lost).toMatchObject({
    code: 'SOCKET_BUSY',
    message: `${socket} is taken: it is a file, not a socket; it was left untouched`,
  })
  expect(await readFile(socket, 'utf8')).toBe('theirs')
  await rm(socket)
  await until('it is there again', () => existsSync(socket), NOTICED_MS)
  await until('nothing is shown any more', async () => (await statusOf(world)).hosts[0]?.lastError === null)
  const log = await readFile(join(world.dir, 'state/dproxy/dproxy.log'), 'utf8')
  expect(log.match(/is taken/gu)).toHaveLength(1)
})
