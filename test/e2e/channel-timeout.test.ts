import { expect, test } from 'vitest'
import { World } from '../testbed/cli.js'
import { describeSince } from '../testbed/describe-since.js'
import { IMAGE } from '../testbed/image.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { describeOurs, hostOf, must, statusOf } from './lifecycle.js'

describeSince(9.2, 'a server that cuts what is idle', (title) => {
  describeOurs(title, (hosts) => {
    /** A host whose SSH server has these options, in front of prod's engine; and a container that runs there. */
    const ours = async (transport: string, ...options: string[]) => {
      const { engineSocket } = hosts().prod
      const sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options })
      const world = await World.create()
      const entry = world.entry('prod', hostOf(sshd, engineSocket!))
      await world.config({ hosts: { prod: { ...entry, transport } } })
      await must(world, ['up', 'prod'])
      const engine = ['-H', `unix://${engineSocket}`]
      const run = [...engine, 'run', '-d', '--rm', IMAGE, 'sleep', '120']
      const { stdout: box } = await world.spawn('docker', run)
      return {
        world,
        box,
        [Symbol.asyncDispose]: async () => {
          await world.spawn('docker', [...engine, 'rm', '-f', box])
          await world[Symbol.asyncDispose]()
          await sshd[Symbol.asyncDispose]()
        },
      }
    }

    test.each(['ssh2', 'openssh'])(
      'never lets a silent command look like a success, through %s [T20]',
      async (transport) => {
        await using scene = await ours(transport, 'ChannelTimeout direct-streamlocal@openssh.com=3s')
        const { world, box } = scene
        const exec = (...words: string[]) => world.docker('prod', ['exec', ...words])
        expect(await exec(box, 'sh', '-c', 'exit 7')).toMatchObject({ exitCode: 7 })
        const silent = await Promise.all([
          exec(box, 'sh', '-c', 'sleep 6; exit 7'),
          exec(box, 'sh', '-c', 'sleep 6; exit 0'),
          exec('-i', box, 'sh', '-c', 'sleep 6; exit 7'),
          world.docker('prod', ['wait', box]),
          world.docker('prod', ['run', '--rm', IMAGE, 'sh', '-c', 'sleep 6; exit 0']),
        ])
        for (const { exitCode } of silent) expect(exitCode).not.toBe(0)
        expect((await must(world, ['logs', 'prod'])).stdout).toContain('(ChannelTimeout)')
        await until('it serves', async () => (await exec(box, 'true')).exitCode === 0)
        // What is never silent is not cut.
        const talking = 'for i in $(seq 24); do echo; sleep .25; done; exit 7'
        expect(await exec(box, 'sh', '-c', talking)).toMatchObject({ exitCode: 7 })
        const [host] = (await statusOf(world, 'prod')).hosts
        expect(host).toMatchObject({ state: 'up', reconnects: 0 })
      },
    )

    test('is connected to again after it closed an unused connection, and the next command does not notice [T20]', async () => {
      await using scene = await ours('ssh2', 'ChannelTimeout *=1s', 'UnusedConnectionTimeout 2s')
      const { world } = scene
      const reconnects = async () => (await statusOf(world, 'prod')).hosts[0]!.reconnects
      await until('it is lost', async () => (await reconnects()) === 1, 20_000)
      const version = await world.docker('prod', ['version', '--format', 'ok'])
      expect(version).toMatchObject({ exitCode: 0, stdout: 'ok' })
    })
  })
})
