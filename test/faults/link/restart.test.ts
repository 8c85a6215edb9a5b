import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { hostOf, must } from '../../e2e/lifecycle.js'
import { World } from '../../testbed/cli.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { until } from '../../testbed/until.js'
import { Watch } from '../network/watch.js'
import { ask, hold, startScene } from './support.js'

describeWith(['sshd'], 'an SSH server that is started anew', () => {
  test('at once: the link is up again within its back-off and 2 s, and its clients are cut [T14]', async () => {
    await using scope = new Scope()
    const { sshd, prod, socket } = await startHost(scope)
    const client = await hold(scope, socket)
    await sshd.restart()
    const backMs = performance.now()
    await client.ended
    await until('it is lost and up again', () => prod.now.state === 'up' && prod.now.reconnects === 1)
    // It may have been refused once, before the server listened.
    expect(performance.now() - backMs).toBeLessThan(500 + 1000 + 2000)
    await until('it serves', async () => (await ask(socket)) === 200)
  })

  test('after a while: the next try is told, and by then and 2 s the link is up again [T14]', async () => {
    await using scope = new Scope()
    const { sshd, prod, socket } = await startHost(scope)
    await sshd.stop()
    await until('it waits longer and longer', () => (prod.now.nextTryMs ?? 0) > 1500)
    expect(prod.now.lastError?.code).toBe('CONNECT_REFUSED')
    await sshd.restart()
    await until('it waits, or is up', () => prod.now.state !== 'connecting')
    const [waitMs, backMs] = [prod.now.nextTryMs ?? 0, performance.now()]
    await until('it is up again', () => prod.now.state === 'up', waitMs + 5000)
    expect(performance.now() - backMs).toBeLessThan(waitMs + 2000)
    expect(await ask(socket)).toBe(200)
  })
})

/** The host `prod` behind a real SSH server, up. */
const startHost = async (scope: Scope) => {
  const { host } = await startScene(scope)
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
  const world = scope.use(await World.create())
  await world.config({ hosts: { prod: world.entry('prod', hostOf(sshd, host.remoteSocket)) } })
  await must(world, ['up', 'prod'])
  const prod = scope.use(await Watch.start(world, 'prod'))
  return { sshd, prod, socket: world.socket('prod') }
}
