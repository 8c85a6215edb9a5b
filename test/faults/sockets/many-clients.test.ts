/** More clients than the process may have files open: turned away while descriptors are left, told and counted. */
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { Status, type HostStatus } from '../../../src/control/messages.js'
import type { World } from '../../testbed/cli.js'
import { describeWith } from '../../testbed/describe-with.js'
import { program } from '../../testbed/parts.js'
import { openFiles } from '../../testbed/processes.js'
import { until } from '../../testbed/until.js'
import { DPROXY, worldWith } from './support.js'

const LIMIT = 160
const CLIENTS = 300

interface Fate {
  readonly how: 'served' | 'told' | 'closed'
  /** What it was told. */
  readonly message?: string
}

/** What a client that asks for an endless answer meets. */
const meet = (path: string, held: Set<Socket>): Promise<Fate> =>
  new Promise((resolve) => {
    const client = connect(path)
    held.add(client)
    let heard = ''
    client.on('error', () => undefined)
    client.on('data', (piece) => {
      heard += String(piece)
      if (heard.startsWith('HTTP/1.1 200 ')) resolve({ how: 'served' })
    })
    client.on('close', () => {
      if (!heard.startsWith('HTTP/1.1 503 ')) return resolve({ how: 'closed' })
      const body = JSON.parse(heard.slice(heard.indexOf('{'))) as { message: string }
      return resolve({ how: 'told', message: body.message })
    })
    client.write('GET /events HTTP/1.1\r\nHost: docker\r\n\r\n')
  })

const sum = (all: readonly HostStatus[], of: (host: HostStatus) => number) =>
  all.reduce((total, host) => total + of(host), 0)

describeWith(['prlimit'], 'a supervisor that may have 160 files open', () => {
  let scope: Scope
  let world: World
  beforeEach(async () => {
    scope = new Scope()
    world = await worldWith(scope, ['prod', 'lab'])
    const limited = [`--nofile=${LIMIT}:${LIMIT}`, ...DPROXY, 'up', '--all']
    const up = await world.spawn(program('prlimit')!, limited)
    expect([up.exitCode, up.stderr]).toEqual([0, expect.anything()])
  })
  afterEach(() => scope[Symbol.asyncDispose]())

  const hosts = async (): Promise<[Status, ...HostStatus[]]> => {
    const { stdout, exitCode } = await world.dproxy(['status', '--json'])
    expect(exitCode).toBe(0)
    const status = Status.parse(JSON.parse(stdout))
    return [status, ...status.hosts]
  }
  test('serves as many clients as it can and counts every other, over two hosts; then it serves again [S10]', async () => {
    const held = scope.add(new Set<Socket>(), (all) => all.forEach((client) => client.destroy()))
    const fates = await Promise.all(
      Array.from({ length: CLIENTS }, (_, at) => meet(world.socket(at % 2 ? 'prod' : 'lab'), held)),
    )
    const of = (how: Fate['how']) => fates.filter((each) => each.how === how).length
    const [full, ...both] = await hosts()
    expect(of('served')).toBe(sum(both, ({ streams }) => streams.open))
    expect(of('told') + of('closed')).toBe(sum(both, ({ turnedAway }) => turnedAway))
    expect(of('served')).toBeGreaterThan(30)
    expect(of('told')).toBeGreaterThan(0)
    const told = new Set(fates.flatMap(({ message = [] }) => message))
    for (const message of told) {
      expect(message).toMatch(
        /^dproxy: (?:prod|lab): socket: \d+ clients are open and this process may open 160 files \(raise it with `ulimit -n`/u,
      )
    }
    expect(both.every(({ turnedAway }) => turnedAway > 0)).toBe(true)
    const { pid } = full.supervisor!
    expect(openFiles(pid)).toBeLessThan(LIMIT)
    const log = await world.dproxy(['logs'])
    expect(log.stdout + log.stderr).toMatch(/clients are open and this process may open 160 files/u)
    // What is kept back is there for what must go on: another login, beside all these clients.
    expect((await world.dproxy(['restart', 'lab', '--drain', '0s'])).exitCode).toBe(0)
    for (const client of held) client.destroy()
    await until(
      'all streams are gone',
      async () => sum((await hosts()).slice(1) as HostStatus[], ({ streams }) => streams.open) === 0,
    )
    for (const name of ['prod', 'lab']) {
      await until(`${name} serves again`, async () => (await meet(world.socket(name), held)).how === 'served')
    }
    const [after] = await hosts()
    expect(after.supervisor?.pid).toBe(pid)
  }, 60_000)
})
