import { expect, inject, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { describeOurs } from '../testbed/describe-with.js'
import { buildkitCli, HOST_PARTS } from '../testbed/parts.js'
import { StuckRegistry } from '../testbed/stuck-registry.js'
import { until } from '../testbed/until.js'
import { BUILDKIT } from './cut-commands-data.js'
import { COMMANDS } from './cut-commands.js'
import { stockOf } from './cut-stock.js'
import { cutAll, type Harm, startAll } from './cut-matrix.js'
import { CutScene } from './cut.js'

const HARMS: readonly (Harm & { more?: object })[] = [
  { name: 'the connection is reset', harm: async ({ chaos }) => chaos.reset() },
  { name: 'the connection is closed', harm: async ({ chaos }) => chaos.close() },
  {
    name: 'the network goes silent',
    more: { keepAlive: { interval: '300ms', misses: 2 } },
    harm: async (scene) => {
      scene.chaos.blackhole(true)
      await until('the silence is noticed', async () => (await scene.status()).state !== 'up')
    },
  },
  {
    name: 'the session of sshd is killed',
    harm: async ({ sshd }) => {
      for (const pid of sshd.sessions()) process.kill(pid, 'SIGKILL')
    },
  },
  {
    name: 'dproxy restart --drain 0s',
    harm: async (scene) => {
      const restarting = scene.world.dproxy(['restart', 'prod', '--drain', '0s'])
      await until('the host is a new one', async () => (await scene.status()).streams.total === 0)
      await scene.chaos.heal()
      expect(await restarting).toMatchObject({ exitCode: 0 })
    },
  },
]

const ALL = [...COMMANDS, ...(buildkitCli() ? [BUILDKIT] : [])]

describeOurs([...HOST_PARTS, 'script'], 'a docker command under way', () => {
  test.for(HARMS)('never says that it succeeded when its link is lost: $name [T24]', async (harm) => {
    await using registry = await StuckRegistry.start()
    await using scene = await start(harm.more)
    await cutAll(await stockOf(scene, registry.address), ALL, harm)
    await until('it is up again', async () => (await scene.status()).state === 'up', 20_000)
    await until('it serves again', async () => (await scene.world.docker('prod', ['ps'])).exitCode === 0)
  })

  test('that starts while the link is down says why it fails [T24]', async () => {
    await using registry = await StuckRegistry.start()
    await using scene = await start()
    const stock = await stockOf(scene, registry.address)
    const follower = await scene.start(['logs', '-f', stock.ticker])
    await until('a stream is open', () => follower.text !== '')
    await scene.chaos.door('refuse')
    scene.chaos.reset()
    await until('the loss is noticed', async () => (await scene.status()).state !== 'up')
    await startAll(stock, ALL, 'the link is down')
  })

  test('never says that it succeeded when its streams are cut by hand [T24]', async () => {
    await using registry = await StuckRegistry.start()
    await using scene = await start()
    const commands = ALL.map((command) => ({
      ...command,
      stages: command.stages.filter((stage) => stage !== 'before its channel'),
    }))
    await cutAll(await stockOf(scene, registry.address), commands, {
      name: 'its streams are cut: DELETE /v1/streams/{id}',
      harm: async ({ control }) => {
        const ids = (await control.streams('prod')).map(({ id }) => id)
        // The youngest first: of the connections of one command, its work is on the last.
        // Some are gone by then: a client that has lost one closes its others.
        for (const id of ids.toReversed()) await control.cut(id).catch(unlessGone)
      },
    })
  })
})

const start = (more: object = {}) => CutScene.start(inject('hosts')!.prod.engineSocket!, { more })

const unlessGone = (failure: unknown): void => {
  if (!(failure instanceof DproxyError) || failure.code !== 'STREAM_UNKNOWN') throw failure
}
