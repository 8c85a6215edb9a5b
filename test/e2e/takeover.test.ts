import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { behind } from '../testbed/behind.js'
import { Chaos } from '../testbed/chaos.js'
import { World } from '../testbed/cli.js'
import { IMAGE } from '../testbed/image.js'
import { commandOf, isAlive } from '../testbed/processes.js'
import { Pty } from '../testbed/pty.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { describeOurs, DPROXY, hostOf, must, statusOf, supervisors } from './lifecycle.js'

const RENEW = ['restart', '--supervisor']

/** The supervisors that get ready to take another one's place. */
const successors = (world: World): number[] =>
  supervisors(world).filter((pid) => commandOf(pid).includes('--take-over'))

const pidOf = async (world: World) => (await statusOf(world)).supervisor?.pid

describeOurs('a new supervisor takes the place of the running one', (hosts) => {
  const withBoth = async (more: object = {}): Promise<World> => {
    const world = await World.create()
    await world.configure(hosts(), more)
    await must(world, ['up', '--all'])
    return world
  }

  /** A container of prod's engine that sleeps. */
  const sleeper = async (world: World, script = 'exec sleep 60') => {
    const engine = ['-H', `unix://${hosts().prod.engineSocket}`]
    const { stdout: id } = await world.spawn('docker', [
      ...engine,
      'run',
      '-d',
      '--rm',
      IMAGE,
      'sh',
      '-c',
      script,
    ])
    return {
      id,
      [Symbol.asyncDispose]: () => world.spawn('docker', [...engine, 'rm', '-f', id]).then(() => {}),
    }
  }

  test('no client fails meanwhile, and streams end where they began [L8]', async () => {
    await using world = await withBoth()
    await using box = await sleeper(world, 'i=0; while sleep 0.2; do i=$((i+1)); echo line $i; done')
    const before = await pidOf(world)
    const rows = (['prod', 'prod', 'staging'] as const).map((name) => clientsInARow(world, name))
    const logs = world.startDocker('prod', ['logs', '-f', box.id])
    let text = ''
    logs.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    const exec = world.docker('prod', ['exec', box.id, 'sh', '-c', 'sleep 6; exit 7'])
    await until('all are served', () => text.includes('line 1\n') && rows.every(({ served }) => served > 0))

    const renewed = await must(world, [...RENEW, '--drain', '30s'])
    expect(renewed.stderr).toMatch(
      /a new supervisor \(pid \d+\) has taken over from the old one \(pid \d+\)/u,
    )
    expect(renewed.stderr).toMatch(/prod: \d streams? still open there, for up to 30 s/u)
    expect(renewed.stdout.match(/● up/gu)).toHaveLength(2)
    const after = await pidOf(world)
    expect(after).not.toBe(before)
    expect(isAlive(before!)).toBe(true)

    const servedBefore = rows.map(({ served }) => served)
    await until('the new one serves', () => rows.every(({ served }, row) => served > servedBefore[row]! + 1))
    for (const row of rows) expect((await row.stop()).failures).toEqual([])
    expect((await exec).exitCode).toBe(7)
    const lines = text.split('\n').length
    await until('the log goes on', () => text.split('\n').length > lines)
    expect(text.split('\n').slice(0, lines)).toEqual(
      Array.from({ length: lines }, (_, at) => (at === lines - 1 ? expect.any(String) : `line ${at + 1}`)),
    )
    await box[Symbol.asyncDispose]()
    await logs
    await until('the old one is gone', () => !isAlive(before!))
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
    expect(await statusOf(world)).toMatchObject({
      supervisor: { pid: after },
      hosts: [{ state: 'up' }, { state: 'up' }],
    })
    await must(world, ['down', '--all'])
    await until('nothing runs', () => world.processes().length === 0)
  })

  test('what is cut at the end of the drain is no success', async () => {
    await using world = await withBoth()
    await using box = await sleeper(world)
    const before = await pidOf(world)
    const scripts = ['sleep 20; exit 7', 'sleep 20; exit 0', 'sleep 20; echo done']
    const clients = scripts.map((script) => world.docker('prod', ['exec', box.id, 'sh', '-c', script]))
    const waiting = world.docker('prod', ['wait', box.id])
    await until('they run', async () => (await statusOf(world, 'prod')).hosts[0]!.streams.open >= 4)
    await must(world, [...RENEW, '--drain', '1s'])
    for (const client of [...clients, waiting]) expect((await client).exitCode).not.toBe(0)
    await until('the old one is gone', () => !isAlive(before!))
    await until('it serves', async () => (await world.docker('prod', ['ps'])).exitCode === 0)
  })

  test('what the old one loses meanwhile, to a lost link or its own death, is no success', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    for (const lost of ['link', 'process'] as const) {
      await using world = await World.create()
      await world.config({ hosts: { prod: world.entry('prod', hostOf(sshd, hosts().prod.engineSocket!)) } })
      await must(world, ['up', 'prod'])
      await using box = await sleeper(world)
      const before = await pidOf(world)
      const sessions = new Set(sshd.sessions())
      const clients = ['exit 0', 'exit 7', 'echo done'].map((script) =>
        world.docker('prod', ['exec', box.id, 'sh', '-c', `sleep 20; ${script}`]),
      )
      await until('they run', async () => (await statusOf(world, 'prod')).hosts[0]!.streams.open >= 3)
      await must(world, RENEW)
      expect(isAlive(before!)).toBe(true)
      if (lost === 'link') for (const pid of sessions) process.kill(pid, 'SIGKILL')
      else process.kill(before!, 'SIGKILL')
      for (const client of clients) expect((await client).exitCode, lost).not.toBe(0)
      await until('it serves', async () => (await world.docker('prod', ['ps'])).exitCode === 0)
    }
  })

  test('what the old one has is no success when the new one is killed and another comes', async () => {
    await using world = await withBoth()
    await using box = await sleeper(world)
    const before = await pidOf(world)
    const scripts = ['sleep 40; exit 7', 'sleep 40; exit 0']
    const clients = scripts.map((script) => world.docker('prod', ['exec', box.id, 'sh', '-c', script]))
    await until('they run', async () => (await statusOf(world, 'prod')).hosts[0]!.streams.open >= 2)
    await must(world, [...RENEW, '--drain', '8s'])
    process.kill((await pidOf(world))!, 'SIGKILL')
    await must(world, ['up', 'prod'])
    for (const client of clients) expect((await client).exitCode).not.toBe(0)
    await until('the old one is gone', () => !isAlive(before!))
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
  })

  test('two commands at once do not end each other’s supervisor', async () => {
    await using world = await withBoth()
    const before = await pidOf(world)
    const row = clientsInARow(world, 'prod')
    const commands = await Promise.all([world.dproxy(RENEW), world.dproxy(RENEW)])
    const refused = commands.filter(({ exitCode }) => exitCode !== 0)
    for (const { exitCode, stderr } of refused) {
      expect(exitCode).toBe(5)
      expect(stderr).toContain('another command is just renewing the supervisor')
    }
    expect(refused.length).toBeLessThan(2)
    const { failures, served } = await row.stop()
    expect(failures).toEqual([])
    expect(served).toBeGreaterThan(0)
    const after = await pidOf(world)
    expect(after).not.toBe(before)
    await until('one is left', () => supervisors(world).length === 1)
    expect(supervisors(world)).toEqual([after])
    expect(await statusOf(world)).toMatchObject({ hosts: [{ state: 'up' }, { state: 'up' }] })
  })

  test('a host that does not come up in the new one calls it off, and nothing has changed', async () => {
    await using world = await withBoth()
    const before = await pidOf(world)
    const key = join(world.dir, 'key')
    await writeFile(
      key,
      await world.spawn('cat', [hosts().prod.keyFile]).then(({ stdout }) => `${stdout}\n`),
      {
        mode: 0o600,
      },
    )
    const { prod, staging } = hosts()
    const entry = { ...world.entry('prod', prod), identityFile: key }
    await world.config({ hosts: { prod: entry, staging: world.entry('staging', staging) } })
    await must(world, ['up', '--all'])
    await chmod(key, 0o644)
    const row = clientsInARow(world, 'prod')
    const refused = await world.dproxy(RENEW)
    expect(refused).toMatchObject({ exitCode: 3, stdout: '' })
    expect(refused.stderr).toMatch(/dproxy: prod: .*is open to others/u)
    expect(refused.stderr).toContain(
      'nothing was changed: the running supervisor serves all its hosts as before',
    )
    expect((await row.stop()).failures).toEqual([])
    expect(await statusOf(world)).toMatchObject({
      supervisor: { pid: before },
      hosts: [{ state: 'up' }, { state: 'up' }],
    })
    expect(supervisors(world)).toEqual([before])
  })

  test('hosts that are not up come along as they are', async () => {
    await using world = await World.create()
    const { prod } = hosts()
    const hole = { ssh: 'ssh://me@127.0.0.1:1', socket: world.socket('hole') }
    await world.config({ hosts: { prod: world.entry('prod', prod), lazy: world.entry('lazy', prod), hole } })
    await must(world, ['up', 'prod'])
    await must(world, ['up', 'lazy', '--lazy'])
    expect((await world.dproxy(['up', 'hole'])).exitCode).toBe(1)
    await must(world, RENEW)
    const states = Object.fromEntries((await statusOf(world)).hosts.map(({ name, state }) => [name, state]))
    expect(states).toMatchObject({ prod: 'up', lazy: 'idle' })
    expect(['retrying', 'connecting']).toContain(states.hole)
    const ask = ['-H', `unix://${world.socket('lazy')}`, 'version']
    expect(await world.spawn('docker', ask)).toMatchObject({ exitCode: 0 })
  })

  test('down ends what the old one still has', async () => {
    await using world = await withBoth()
    await using box = await sleeper(world)
    const before = await pidOf(world)
    const logs = world.startDocker('prod', ['logs', '-f', box.id])
    await until('it follows', async () => (await statusOf(world, 'prod')).hosts[0]!.streams.open === 1)
    await must(world, RENEW)
    const started = performance.now()
    await must(world, ['down', '--all', '--drain', '0s'])
    expect((await logs).exitCode).not.toBe(0)
    expect(performance.now() - started).toBeLessThan(10_000)
    await until('nothing runs', () => world.processes().length === 0)
    expect(isAlive(before!)).toBe(false)
  })

  test('whoever dies before the switch leaves everything as it was', async () => {
    await using world = await withBoth()
    // prod answers at once; slow lets nobody in any more: the new supervisor waits for it.
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using chaos = await Chaos.start(sshd)
    const slow = await behind(world, chaos, sshd, hosts().prod.engineSocket!)
    await world.config({
      hosts: {
        prod: world.entry('prod', hosts().prod),
        slow: { ...world.entry('slow', slow), connectTimeout: '60s' },
      },
    })
    await must(world, ['down', 'staging'])
    await must(world, ['up', '--all'])
    const before = await pidOf(world)
    await chaos.door('silent')
    const next = ['-s', '--unix-socket', join(world.dir, 'run/next.sock'), 'http://d/v1/status']
    const ready = async () => {
      const command = world.start(RENEW)
      const pid = await until('the new one is there', () => successors(world)[0])
      await until('it dials', async () => (await world.spawn('curl', next)).stdout.includes('"connecting"'))
      return { command, pid }
    }
    for (const [who, signal] of [
      ['new', 'SIGKILL'],
      ['command', 'SIGKILL'],
      ['command', 'SIGINT'],
    ] as const) {
      const row = clientsInARow(world, 'prod')
      const { command, pid } = await ready()
      if (who === 'new') process.kill(pid, signal)
      else command.kill(signal)
      const ended = await command
      if (signal === 'SIGINT') expect(ended.exitCode).toBe(130)
      if (who === 'new') {
        expect(ended.exitCode).toBe(5)
        expect(ended.stderr).toContain('the new supervisor ended before it had taken over')
      }
      await until('no new one is left', () => successors(world).length === 0)
      expect((await row.stop()).failures, `${who} ${signal}`).toEqual([])
      expect(await statusOf(world)).toMatchObject({
        supervisor: { pid: before },
        hosts: [{ state: 'up' }, { state: 'up' }],
      })
    }
    await chaos.heal()
    await must(world, RENEW)
    expect(await pidOf(world)).not.toBe(before)
  })

  test('protected hosts are asked for, and what makes no sense is refused', async () => {
    await using world = await withBoth({ protected: true })
    const before = await pidOf(world)
    expect(await world.dproxy(RENEW)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/(?:prod and staging|staging and prod) are protected/u),
    })
    expect(await world.dproxy([...RENEW, 'prod'])).toMatchObject({ exitCode: 2 })
    await using terminal = Pty.start([...DPROXY, ...RENEW], { env: world.env, cwd: join(world.dir, 'work') })
    await terminal.sees(/are protected: restart anyway\? \[y\/N\]/u)
    terminal.type('n\r')
    expect(await terminal.exitCode).toBe(1)
    expect(await pidOf(world)).toBe(before)
    const renewed = await must(world, [...RENEW, '--yes', '--json'])
    expect(JSON.parse(renewed.stdout)).toMatchObject({ schemaVersion: 1, hosts: [{}, {}], failures: [] })
    expect(renewed.stderr).toBe('')
    expect(await pidOf(world)).not.toBe(before)
    expect(await must(world, [...RENEW, '--yes', '--quiet'])).toMatchObject({ stdout: '', stderr: '' })
  })

  test('where none runs, or one in the foreground, there is none to renew', async () => {
    await using world = await World.create()
    await world.configure(hosts())
    expect(await world.dproxy(RENEW)).toMatchObject({
      exitCode: 5,
      stderr: expect.stringContaining('no supervisor is running'),
    })
    const running = world.start(['up', 'prod', '--foreground'])
    await until('prod is up', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'up')
    const refused = await world.dproxy(RENEW)
    expect(refused).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('was started with --foreground'),
    })
    running.kill('SIGTERM')
    expect((await running).exitCode).toBe(0)
  })
})

/** Docker clients one after the other, until told to stop: how many there were, and what those said that failed. */
const clientsInARow = (world: World, name: 'prod' | 'staging') => {
  const stopped = new AbortController()
  let served = 0
  const failures: string[] = []
  const done = (async () => {
    while (!stopped.signal.aborted) {
      const { exitCode, stderr } = await world.docker(name, ['version', '--format', '{{.Server.Version}}'])
      if (exitCode === 0) served += 1
      else failures.push(stderr)
    }
  })()
  return {
    get served() {
      return served
    },
    stop: async () => {
      stopped.abort()
      await done
      return { served, failures }
    },
  }
}
