import { expect, test } from 'vitest'
import { commandOf, parentOf } from '../testbed/processes.js'
import { StuckRegistry } from '../testbed/stuck-registry.js'
import { until } from '../testbed/until.js'
import { COMMANDS } from './cut-commands.js'
import { stockOf } from './cut-stock.js'
import { cutAll } from './cut-matrix.js'
import { CutScene, type SceneOptions } from './cut.js'
import { describeOurs } from './lifecycle.js'

const SOME = [
  'exec … exit 7',
  'exec … exit 0',
  'exec -i … exit 0',
  'run -i',
  'attach',
  'logs -f',
  'cp, in',
  'save',
]
const commands = COMMANDS.filter(({ name }) => SOME.includes(name))

// Each stream is a session of its own there.
const FALLBACK = { sshd: ['AllowStreamLocalForwarding no', 'MaxSessions 100'] }

const WAYS: readonly (readonly [string, SceneOptions, (scene: CutScene) => Promise<void>])[] = [
  [
    'the ssh program',
    { more: { transport: 'openssh' } },
    async (scene) => expect((await scene.status()).transport).toMatchObject({ kind: 'openssh' }),
  ],
  ['a command on the other side', FALLBACK, async (scene) => expect(await isFallback(scene)).toBe(true)],
]

const isFallback = async (scene: CutScene): Promise<boolean> => {
  const method = (await scene.status()).forwarding?.method
  return method !== undefined && method !== 'streamlocal'
}

describeOurs('a docker command under way, whatever the way to its engine', (hosts) => {
  test.for(WAYS)(
    'never says that it succeeded when %s carries it, and the link is lost [T24]',
    async (way) => {
      const [name, options, isIt] = way
      await using registry = await StuckRegistry.start()
      await using scene = await CutScene.start(hosts().prod.engineSocket!, options)
      await isIt(scene)
      await cutAll(await stockOf(scene, registry.address), commands, {
        name: `${name}: the connection is reset`,
        harm: async ({ chaos }) => chaos.reset(),
      })
      await until('it is up again', async () => (await scene.status()).state === 'up', 20_000)
    },
  )

  test('does not say that it succeeded when the command on the other side that carries it is killed [T24]', async () => {
    await using scene = await CutScene.start(hosts().prod.engineSocket!, FALLBACK)
    expect(await isFallback(scene)).toBe(true)
    const box = await scene.container('box', 'exec sleep 1000')
    const client = await scene.start(['exec', box, 'sh', '-c', 'echo begun; sleep 300'])
    await until('it runs', () => client.text === 'begun\n')
    process.kill(youngestCarrier(scene), 'SIGKILL')
    const { code, text, hung } = await client.end
    expect(hung).toBe(false)
    expect(code, text).not.toBe(0)
  })

  test('does not say that it succeeded when one of several connections is lost, and it is on that one [T24]', async () => {
    const sshd = ['AllowStreamLocalForwarding no', 'MaxSessions 2']
    await using scene = await CutScene.start(hosts().prod.engineSocket!, { sshd })
    const box = await scene.container('box', 'echo begun; exec sleep 1000')
    const follower = await scene.start(['logs', '-f', box])
    await until('one session is taken', () => follower.text === 'begun\n')
    // Its first connection takes the other, and what runs the command needs a new one.
    const client = await scene.start(['exec', box, 'sh', '-c', 'echo begun; sleep 300'])
    await until('it runs', () => client.text === 'begun\n')
    expect((await scene.status()).lanes).toBe(2)
    process.kill(sessionOf(youngestCarrier(scene)), 'SIGKILL')
    const { code, text, hung } = await client.end
    expect(hung).toBe(false)
    expect(code, text).not.toBe(0)
    expect((await scene.status()).streams.open).toBe(1)
  })
})

/** The command that carries the last stream there; of a docker exec, its second: its first only asks. */
const youngestCarrier = ({ sshd }: CutScene): number =>
  Math.max(...sshd.sessions().filter((pid) => CARRIERS.test(commandOf(pid))))

const CARRIERS = /^\S*(?:docker system dial-stdio|socat |nc )/u

/** The process of sshd's that serves the connection in which a command runs. */
const sessionOf = (pid: number): number =>
  commandOf(pid).startsWith('sshd: ') ? pid : sessionOf(parentOf(pid))
