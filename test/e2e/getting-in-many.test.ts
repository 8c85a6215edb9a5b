import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { World } from '../testbed/cli.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { openEngine } from './getting-in.js'
import { describeOurs, hostOf, statusOf } from './lifecycle.js'

describeOurs('getting in to many hosts at once', () => {
  test('twenty behind a server that lets two log in at a time all come up', async () => {
    await using scope = new Scope()
    const engine = await openEngine(scope)
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxStartups 2'] }))
    const world = scope.use(await World.create())
    const names = Array.from({ length: 20 }, (_, index) => `h${index}`)
    const hosts = names.map((name) => [name, world.entry(name, hostOf(sshd, engine))])
    await world.config({ hosts: Object.fromEntries(hosts) })
    await world.dproxy(['up', '--all'])
    await until(
      'all are up',
      async () => (await statusOf(world)).hosts.every(({ state }) => state === 'up'),
      40_000,
    )
    expect((await statusOf(world)).hosts).toHaveLength(20)
  })
})
