/** Supervisors that start at the same moment. */
import { existsSync, readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { Status } from '../../../src/control/messages.js'
import { World } from '../../testbed/cli.js'
import { commandOf } from '../../testbed/processes.js'
import { until } from '../../testbed/until.js'

const RACERS = 20

const supervisors = (world: World): number[] =>
  world.processes().filter((pid) => commandOf(pid).includes('__supervise'))

test('of twenty supervisors exactly one wins, over the socket of one that was killed [S7] [S1]', async () => {
  await using scope = new Scope()
  const world = scope.use(await World.create())
  await world.config({ hosts: { prod: { ssh: 'ssh://deploy@127.0.0.1:9', socket: world.socket('prod') } } })
  const killed = world.start(['__supervise'])
  await until('the first one serves', () => existsSync(world.controlSocket))
  killed.kill('SIGKILL')
  await killed
  expect(existsSync(world.controlSocket)).toBe(true)
  const racers = Array.from({ length: RACERS }, () => world.start(['__supervise']))
  const ended: (number | undefined)[] = []
  for (const racer of racers) void racer.then(({ exitCode }) => ended.push(exitCode))
  // One that serves nobody leaves by itself.
  const up = await world.dproxy(['up', '--lazy', 'prod'])
  expect([up.exitCode, up.stderr]).toEqual([0, expect.anything()])
  await until('all but one have given up', () => supervisors(world).length === 1, 30_000)
  const status = Status.parse(JSON.parse((await world.dproxy(['status', '--json'])).stdout))
  expect(supervisors(world)).toEqual([status.supervisor?.pid])
  expect(status.hosts).toMatchObject([{ name: 'prod', state: 'idle' }])
  await until('their ends are heard of', () => ended.length >= RACERS - 1)
  expect(ended.filter((exitCode) => exitCode !== 0)).toEqual([])
  // Neither a lock nor a socket that lost is left.
  const left = readdirSync(dirname(world.controlSocket), { withFileTypes: true })
  expect(left.filter((found) => found.isSocket()).map(({ name }) => name)).toEqual(['control.sock'])
  expect(left.filter(({ name }) => name.endsWith('.lock'))).toEqual([])
}, 60_000)
