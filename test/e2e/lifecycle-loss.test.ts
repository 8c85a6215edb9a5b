import { expect, test } from 'vitest'
import { World } from '../testbed/cli.js'
import { IMAGE } from '../testbed/image.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { describeOurs, hostOf, must, statusOf } from './lifecycle.js'

describeOurs('a link that is lost', (hosts) => {
  /** A host whose SSH server may be harmed, in front of prod's engine. */
  const ours = async (more: object = {}) => {
    const sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const world = await World.create()
    const { engineSocket } = hosts().prod
    const entry = world.entry('prod', hostOf(sshd, engineSocket!))
    await world.config({ hosts: { prod: { ...entry, ...more } } })
    await must(world, ['up', 'prod'])
    return {
      sshd,
      world,
      engine: ['-H', `unix://${engineSocket}`],
      [Symbol.asyncDispose]: async () => {
        await world[Symbol.asyncDispose]()
        await sshd[Symbol.asyncDispose]()
      },
    }
  }

  test.for([
    ['SIGKILL', 1],
    ['SIGTERM', 1],
    ['dproxy restart', 0],
  ] as const)(
    'by %s never lets a command under way look like a success, and comes back by itself',
    async ([how, reconnects]) => {
      await using scene = await ours()
      const { sshd, world, engine } = scene
      const { stdout: box } = await world.spawn('docker', [
        ...engine,
        'run',
        '-d',
        '--rm',
        IMAGE,
        'sleep',
        '60',
      ])
      try {
        const clients = ['sleep 3; exit 7', 'sleep 3; exit 0', 'sleep 3; echo done'].map((script) =>
          world.docker('prod', ['exec', box, 'sh', '-c', script]),
        )
        const waiting = world.docker('prod', ['wait', box])
        await until('they run', async () => (await statusOf(world, 'prod')).hosts[0]!.streams.open >= 4)
        if (how === 'dproxy restart') await must(world, ['restart', 'prod', '--drain', '0s'])
        else killSessions(sshd, how)
        const codes = await Promise.all([...clients, waiting].map(async (client) => (await client).exitCode))
        for (const code of codes) expect(code).not.toBe(0)
        await until('it is up again', () => isUp(world))
        await until('it serves', async () => (await world.docker('prod', ['ps'])).exitCode === 0)
        const [host] = (await statusOf(world, 'prod')).hosts
        expect(host?.reconnects).toBe(reconnects)
      } finally {
        await world.spawn('docker', [...engine, 'rm', '-f', box])
      }
    },
  )

  test('with nothing under way is not even noticed by the next client', async () => {
    await using scene = await ours()
    const { sshd, world } = scene
    killSessions(sshd)
    await until('the loss is noticed', async () => (await statusOf(world, 'prod')).hosts[0]!.reconnects === 1)
    expect(await world.docker('prod', ['version', '--format', '{{.Server.Version}}'])).toMatchObject({
      exitCode: 0,
    })
  })

  test('says why it is away and when it tries again, answers docker with that, and returns with its server', async () => {
    await using scene = await ours()
    const { sshd, world } = scene
    await sshd.stop()
    await until('it is retrying', async () => {
      const [host] = (await statusOf(world, 'prod')).hosts
      return host?.state === 'retrying' && host.lastError?.code === 'CONNECT_REFUSED'
    })
    const table = await must(world, ['status'])
    expect(table.stdout).toMatch(/prod +◐ (?:retrying|connecting)/u)
    expect(table.stdout).toContain(`connection refused by 127.0.0.1:${sshd.port}`)
    const docker = await world.docker('prod', ['ps'])
    expect(docker.exitCode).not.toBe(0)
    expect(docker.stderr).toMatch(/dproxy: prod: .*connection refused/u)
    await sshd.restart()
    await until('it is up again', () => isUp(world), 15_000)
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
  })

  test('a server that hangs is found out by its silence', async () => {
    await using scene = await ours({ keepAlive: { interval: '300ms', misses: 2 } })
    const { sshd, world } = scene
    for (const pid of sshd.sessions()) process.kill(pid, 'SIGSTOP')
    await until(
      'it is found out',
      async () => (await statusOf(world, 'prod')).hosts[0]!.reconnects === 1,
      5000,
    )
    await until('it is up again', () => isUp(world))
    expect((await must(world, ['logs', 'prod'])).stdout).toContain('no sign of life')
  })

  test('whose server no longer lets us in is given up, until the user asks again', async () => {
    await using scene = await ours()
    const { sshd, world } = scene
    await world.spawn('mv', [sshd.authorizedKeysFile, `${sshd.authorizedKeysFile}.away`])
    killSessions(sshd)
    await until('it has failed', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'failed')
    const tried = logins(await sshd.log())
    expect(await world.docker('prod', ['ps'])).toMatchObject({
      stderr: expect.stringContaining('refused the only key'),
    })
    await world.spawn('mv', [`${sshd.authorizedKeysFile}.away`, sshd.authorizedKeysFile])
    expect(logins(await sshd.log())).toBe(tried)
    expect((await statusOf(world, 'prod')).hosts[0]?.state).toBe('failed')
    await must(world, ['up', 'prod'])
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
  })
})

const isUp = async (world: World) => (await statusOf(world, 'prod')).hosts[0]?.state === 'up'

const killSessions = (sshd: Sshd, signal: NodeJS.Signals = 'SIGKILL') => {
  for (const pid of sshd.sessions()) process.kill(pid, signal)
}

const logins = (log: string) =>
  log.match(/Failed publickey|Connection closed by authenticating/gu)?.length ?? 0
