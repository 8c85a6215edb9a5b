import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { World } from '../testbed/cli.js'
import { IMAGE } from '../testbed/image.js'
import { isAlive } from '../testbed/processes.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { describeOurs, hostOf, must, stands, statusOf, supervisors } from './lifecycle.js'

const BREAKS = `--import=${fileURLToPath(new URL('breaks.mjs', import.meta.url))}`

const recordOf = (world: World) => join(world.dir, 'run/running.json')

const logOf = (world: World) => readFile(join(world.dir, 'state/dproxy/dproxy.log'), 'utf8')

const isUp = async (world: World, name: string) => (await statusOf(world, name)).hosts[0]?.state === 'up'

describeOurs('a supervisor that crashes', (hosts) => {
  /** A world whose supervisors can be broken, with both hosts up. */
  const breakable = async (env: Record<string, string> = {}): Promise<World> => {
    const world = await World.create()
    Object.assign(world.env, { NODE_OPTIONS: BREAKS, ...env })
    await world.configure(hosts())
    await must(world, ['up', '--all'])
    return world
  }

  const logs = async (world: World) => {
    const engine = ['-H', `unix://${hosts().prod.engineSocket}`]
    const { stdout: id } = await world.spawn('docker', [...engine, 'run', '-d', '--rm', IMAGE, 'sleep', '60'])
    const exec = world.docker('prod', ['exec', id, 'sh', '-c', 'sleep 10; exit 0'])
    await until('it runs', async () => (await statusOf(world, 'prod')).hosts[0]!.streams.open > 0)
    return {
      exec,
      [Symbol.asyncDispose]: () => world.spawn('docker', [...engine, 'rm', '-f', id]).then(() => {}),
    }
  }

  test.for(['SIGUSR2', 'SIGPIPE'] as const)(
    'is followed by another one that serves the same hosts, and what it cut is no success (%s) [L6]',
    async (signal) => {
      await using world = await breakable()
      const [first] = supervisors(world)
      await using box = await logs(world)
      process.kill(first!, signal)
      expect((await box.exec).exitCode).not.toBe(0)
      await until('it is gone', () => !isAlive(first!))
      const second = await until('another one serves', async () => (await statusOf(world)).supervisor?.pid)
      expect(second).not.toBe(first)
      for (const name of ['prod', 'staging'] as const) {
        await until(`${name} is up`, () => isUp(world, name))
        await until('it serves', async () => (await world.docker(name, ['ps'])).exitCode === 0)
      }
      expect(supervisors(world)).toEqual([second])
      const log = await logOf(world)
      expect(log).toMatch(/the supervisor crashed: (?:TypeError: broken|Error: rejected) on demand\\n +at /u)
      await must(world, ['down', '--all'])
      await until('nothing runs', () => world.processes().length === 0)
      await expect(stat(recordOf(world))).rejects.toThrow('ENOENT')
    },
  )

  test.for(['down --all', 'SIGTERM'] as const)(
    'while it stops its hosts, told so by %s, leaves nobody to bring them back [L6]',
    async (how) => {
      await using world = await breakable()
      const [pid] = supervisors(world)
      await using box = await logs(world)
      const down = how === 'SIGTERM' ? undefined : world.start(['down', '--all', '--drain', '8s'])
      if (!down) process.kill(pid!, 'SIGTERM')
      await until('prod drains', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'draining')
      process.kill(pid!, 'SIGUSR2')
      expect((await box.exec).exitCode).not.toBe(0)
      await down
      // Another one would have been started before this one is gone.
      await until('nothing runs', () => world.processes().length === 0)
      expect([stands(world), stands(world, 'prod')]).toEqual([false, false])
      await expect(stat(recordOf(world))).rejects.toThrow('ENOENT')
      expect(await logOf(world)).toContain('the supervisor crashed: TypeError: broken on demand')
    },
  )

  test('again and again pauses longer each time, then gives up and says so [L6]', async () => {
    const world = await World.create()
    try {
      const always = join(world.dir, 'always')
      Object.assign(world.env, { NODE_OPTIONS: BREAKS, BREAKS_ALWAYS: always })
      await world.configure(hosts())
      await must(world, ['up', '--all'])
      await writeFile(always, '')
      const crashes = async () => (await logOf(world)).match(/the supervisor crashed/gu)?.length ?? 0
      await until(
        'it has given up',
        async () => (await logOf(world)).includes('gave up after 5 crashes'),
        40_000,
      )
      await until('nothing runs', () => world.processes().length === 0)
      expect(await crashes()).toBe(5)
      expect([stands(world), stands(world, 'prod'), stands(world, 'staging')]).toEqual([false, false, false])
      expect((await must(world, ['status'])).stderr).toMatch(
        /note: the supervisor gave up after 5 crashes within a minute \(TypeError: broken as always\); it ran (?:prod and staging|staging and prod); to start them again: dproxy up (?:prod staging|staging prod)/u,
      )
      await rm(always)
      const up = await must(world, ['up', 'prod'])
      expect(up.stderr).toContain('gave up after 5 crashes')
      expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['up', 'stopped'])
      expect((await must(world, ['status'])).stderr).toBe('')
    } finally {
      await world[Symbol.asyncDispose]()
    }
  })

  test('in the foreground says why, removes its sockets and ends', async () => {
    await using world = await World.create()
    await world.configure(hosts())
    const running = world.start(['up', 'prod', '--foreground'], { env: { NODE_OPTIONS: BREAKS } })
    await until('prod is up', () => isUp(world, 'prod'))
    process.kill(running.pid!, 'SIGUSR2')
    const ended = await running
    expect(ended.exitCode).toBe(1)
    expect(ended.stderr).toContain('TypeError: broken on demand')
    expect([stands(world, 'prod'), stands(world)]).toEqual([false, false])
    expect(world.processes()).toEqual([])
  })

  test('one that is killed is missed by the next command, which says how to get its hosts back [L2]', async () => {
    await using world = await breakable()
    const record = await until('it is written down', () => readFile(recordOf(world), 'utf8'))
    expect((await stat(recordOf(world))).mode & 0o777).toBe(0o600)
    const key = await readFile(hosts().prod.keyFile, 'utf8')
    for (const line of key.split('\n').filter((each) => each.length > 20)) expect(record).not.toContain(line)
    const [pid] = supervisors(world)
    process.kill(pid!, 'SIGKILL')
    await until('it is gone', () => !isAlive(pid!))
    const { stderr } = await must(world, ['status'])
    expect(stderr).toContain(`note: the supervisor (pid ${pid}) was ended before it could stop; it ran `)
    expect(stderr).toMatch(/to start them again: dproxy up (?:prod staging|staging prod)/u)
    expect((await must(world, ['status', '--json'])).stderr).toBe('')
    await must(world, ['up', 'prod'])
    expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['up', 'stopped'])
    expect((await must(world, ['status'])).stderr).toBe('')
  })

  test('one that is killed is missed in words that work when they are pasted', async () => {
    await using world = await World.create()
    const { prod, staging } = hosts()
    await world.config({ hosts: { prod: world.entry('prod', prod) } })
    const other = join(world.dir, 'the other.json')
    await writeFile(other, JSON.stringify({ hosts: { staging: world.entry('staging', staging) } }))
    const lab = ['--ssh-host', `127.0.0.1:${prod.port}`, '--local-socket', world.socket('lab'), '--lazy']
    await must(world, ['up', 'prod'])
    await must(world, ['up', 'staging', '--config', other])
    await must(world, ['up', ...lab])
    await until('it is written down', async () =>
      (await readFile(recordOf(world), 'utf8')).includes('"lazy":true'),
    )
    const [pid] = supervisors(world)
    process.kill(pid!, 'SIGKILL')
    await until('it is gone', () => !isAlive(pid!))
    const own = (await must(world, ['status'])).stderr
    expect(own).toMatch(
      /; start staging and \S+ again with the same options as before; to start prod again: /u,
    )
    expect(own).toMatch(/: dproxy up prod$/u)
    const theirs = (await must(world, ['status', '--config', other])).stderr
    expect(theirs).toContain(`; to start staging again: dproxy up --config '${other}' staging`)
    await must(world, ['up', '--config', other, 'staging'])
    expect((await statusOf(world, 'staging')).hosts[0]?.state).toBe('up')
  })

  test('one whose control socket was deleted a moment ago is used by the next command, and stays the only one', async () => {
    await using world = await World.create()
    await world.configure(hosts())
    await must(world, ['up', 'prod'])
    const [pid] = supervisors(world)
    await rm(world.controlSocket)
    await must(world, ['up', 'staging'])
    expect(supervisors(world)).toEqual([pid])
    expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['up', 'up'])
    await until(
      'both are written down',
      async () => JSON.parse(await readFile(recordOf(world), 'utf8')).hosts.length === 2,
    )
    expect(JSON.parse(await readFile(recordOf(world), 'utf8'))).toMatchObject({ pid })
  })

  test('the code of one host that throws costs that host its link, and no other anything [L7]', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using world = await World.create()
    Object.assign(world.env, { NODE_OPTIONS: BREAKS, BREAKS_PORT: String(sshd.port) })
    const { prod, staging } = hosts()
    await world.config({
      hosts: {
        bad: world.entry('bad', hostOf(sshd, prod.engineSocket!)),
        staging: world.entry('staging', staging),
      },
    })
    await must(world, ['up', '--all'])
    const [pid] = supervisors(world)
    const before = (await statusOf(world, 'staging')).hosts[0]
    const events = world.startDocker('staging', ['events'])
    await until('it follows', async () => (await statusOf(world, 'staging')).hosts[0]!.streams.open === 1)
    const visit = () => world.spawn('docker', ['-H', `unix://${world.socket('bad')}`, 'ps'])

    process.kill(pid!, 'SIGURG')
    expect((await visit()).exitCode).not.toBe(0)
    await until('it is up again', async () => (await visit()).exitCode === 0)
    expect(await logOf(world)).toMatch(/an internal error: TypeError: the lane broke\\n +at /u)

    await writeFile(join(world.dir, 'breaks-on'), '')
    process.kill(pid!, 'SIGURG')
    await visit()
    const failed = await until(
      'it waits for the user',
      async () => {
        const [host] = (await statusOf(world, 'bad')).hosts
        return host?.state === 'failed' && host
      },
      40_000,
    )
    expect(failed.lastError).toMatchObject({
      code: 'HOST_CRASHED',
      message: 'dproxy itself failed 5 times within a minute over this host: TypeError: the lane broke',
      hint: expect.stringContaining('dproxy up bad'),
    })

    expect((await statusOf(world, 'staging')).hosts[0]).toMatchObject({
      since: before!.since,
      reconnects: 0,
      streams: { open: 1 },
    })
    expect(supervisors(world)).toEqual([pid])
    events.kill('SIGKILL')
    await events
  })
})
