import { createServer } from 'node:http'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { ControlClient } from '../../../src/control/client.js'
import { must } from '../../e2e/lifecycle.js'
import { World } from '../../testbed/cli.js'
import { describeWith } from '../../testbed/describe-with.js'
import { until } from '../../testbed/until.js'
import { answerExec } from './exec-engine.js'
import { startScene } from './support.js'

describeWith(['docker'], 'one stream that is cut in a link that stays up', () => {
  test('does not let docker exec hear a success, not even in the connection that it still has [T24]', async () => {
    await using scope = new Scope()
    const docker = createServer()
    const { asked } = answerExec(docker)
    const { host } = await startScene(scope, docker)
    const world = scope.use(await World.create())
    await world.config({ hosts: { prod: world.entry('prod', host) } })
    await must(world, ['up', 'prod'])
    const client = new ControlClient(world.controlSocket)
    const running = world.docker('prod', ['exec', 'box', 'sleep', '60'])
    // The first is kept for what docker asks next, and the second carries the command's output.
    const streams = await until('it runs', async () => {
      const open = await client.streams('prod')
      return open.length === 2 && open
    })
    await client.cut(streams[1]!.id)
    const { exitCode, stderr } = await running
    expect(exitCode).not.toBe(0)
    // Refused in a connection of its own, or cut in the one that it has kept.
    expect(stderr).toMatch(/requests were cut off a moment ago|EOF/u)
    expect(asked).not.toContain('/exec/it/json')
    const [prod] = (await client.status()).hosts
    expect(prod).toMatchObject({ state: 'up', reconnects: 0 })
  })
})
