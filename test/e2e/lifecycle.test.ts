import { createServer } from 'node:net'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { expect, test } from 'vitest'
import { ControlClient } from '../../src/control/client.js'
import { LogEntry, Status } from '../../src/control/messages.js'
import { World } from '../testbed/cli.js'
import { IMAGE } from '../testbed/image.js'
import { isAlive, openFiles, residentBytes } from '../testbed/processes.js'
import { until } from '../testbed/until.js'
import { describeOurs, DPROXY, must, stands, statusOf, supervisors } from './lifecycle.js'

describeOurs('hosts come up, are told of, and go down', (hosts) => {
  const withBoth = async (more: object = {}): Promise<World> => {
    const world = await World.create()
    await world.configure(hosts(), more)
    return world
  }

  test('up, status, env, logs, restart and down say and do the same thing', async () => {
    await using world = await withBoth()
    const up = await must(world, ['up', 'prod', 'staging'])
    expect(up.stdout).toMatch(/^HOST +STATE/u)
    expect(up.stdout.match(/● up/gu)).toHaveLength(2)
    expect(up.stderr).toMatch(
      /^prod +✓ up +Docker \d.*resolve \d+ ms, connect .*, host key .*, login .*, engine /mu,
    )

    const status = await statusOf(world)
    expect(status.supervisor).toMatchObject({ control: world.controlSocket })
    expect(supervisors(world)).toEqual([status.supervisor?.pid])
    expect(status.hosts).toMatchObject([
      {
        name: 'prod',
        state: 'up',
        reason: null,
        socket: world.socket('prod'),
        ssh: `${hosts().prod.user}@127.0.0.1:${hosts().prod.port}`,
        remoteSocket: hosts().prod.remoteSocket,
        lanes: 1,
        lastError: null,
      },
      { name: 'staging', state: 'up' },
    ])
    expect(status.hosts[0]?.engine?.version).toMatch(/^\d+\./u)
    expect(status.hosts[0]?.rttMs).toBeGreaterThan(0)
    expect((await statusOf(world, 'staging')).hosts.map(({ name }) => name)).toEqual(['staging'])

    const env = await must(world, ['env', 'prod'])
    expect(env.stdout).toBe(`export DOCKER_HOST=unix://${world.socket('prod')}`)
    const evaluated = await world.spawn('sh', [
      '-c',
      `${env.stdout}; docker version --format '{{.Server.Version}}'`,
    ])
    expect(evaluated.stdout).toBe(status.hosts[0]?.engine?.version)
    expect(JSON.parse((await must(world, ['env', 'PROD', '--json'])).stdout)).toEqual({
      schemaVersion: 1,
      name: 'prod',
      DOCKER_HOST: `unix://${world.socket('prod')}`,
    })

    const logs = await must(world, ['logs', 'prod', '--json'])
    const entries = logs.stdout.split('\n').map((line) => LogEntry.parse(JSON.parse(line)))
    expect(new Set(entries.map(({ host }) => host))).toEqual(new Set(['prod']))
    expect(entries.map(({ message }) => message).join('\n')).toContain(`listening on ${world.socket('prod')}`)

    const version = JSON.parse((await must(world, ['version', '--json'])).stdout) as object
    expect(version).toMatchObject({ schemaVersion: 1, supervisor: { pid: status.supervisor?.pid } })

    expect((await must(world, ['restart', 'prod'])).stderr).toMatch(/^prod +✓ up +restarted/u)
    await until('it is up again', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'up')
    expect(supervisors(world)).toEqual([status.supervisor?.pid])

    expect((await must(world, ['down', 'prod'])).stderr).toBe('prod stopped')
    expect([stands(world, 'prod'), stands(world, 'staging')]).toEqual([false, true])
    expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['stopped', 'up'])
    const down = await must(world, ['down', '--all', '--json'])
    expect(JSON.parse(down.stdout)).toMatchObject({
      schemaVersion: 1,
      supervisor: null,
      hosts: [],
      failures: [],
    })
    expect([stands(world, 'staging'), stands(world)]).toEqual([false, false])
    await until('the supervisor is gone', () => supervisors(world).length === 0)
    expect(await readdir(join(world.dir, 's'))).toEqual([])

    // The log outlives the supervisor, and tells nothing that is secret.
    expect((await must(world, ['logs'])).stdout).toContain('the supervisor leaves')
    const key = await readFile(hosts().prod.keyFile, 'utf8')
    const told = await world.spawn('sh', ['-c', `cat ${world.dir}/state/dproxy/*`])
    for (const line of key.split('\n').filter((each) => each.length > 20))
      expect(told.stdout).not.toContain(line)
  })

  test('up twice is harmless, and a changed definition restarts that host alone [L3]', async () => {
    await using world = await withBoth()
    await must(world, ['up', '--all'])
    const before = await statusOf(world)
    await must(world, ['up', '--all'])
    const same = await statusOf(world)
    expect(same.hosts.map(({ since }) => since)).toEqual(before.hosts.map(({ since }) => since))
    const { prod, staging } = hosts()
    const changed = { ...world.entry('prod', prod), connectTimeout: '7s', protected: true }
    await world.config({ hosts: { prod: changed, staging: world.entry('staging', staging) } })
    await must(world, ['up', '--all'])
    const after = await statusOf(world)
    expect(after.supervisor).toEqual(before.supervisor)
    expect(after.hosts[0]?.since).not.toBe(before.hosts[0]?.since)
    expect(after.hosts[1]?.since).toBe(before.hosts[1]?.since)

    await world.config({ hosts: { prod: { ...changed, connectTimeout: '8s' } } })
    const refused = await world.dproxy(['up', 'prod'])
    expect(refused).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringContaining('prod is protected'),
    })
    expect((await statusOf(world, 'prod')).hosts[0]?.since).toBe(after.hosts[0]?.since)
    await must(world, ['up', 'prod', '--yes'])
    expect((await statusOf(world, 'prod')).hosts[0]?.since).not.toBe(after.hosts[0]?.since)
  })

  test('up returns at once with --no-wait, and with --lazy the first docker client dials', async () => {
    await using world = await withBoth()
    const lazy = await must(world, ['up', 'prod', '--lazy'])
    expect(lazy.stdout).toContain('○ idle')
    await must(world, ['up', 'staging', '--no-wait'])
    await until('staging is up', async () => (await statusOf(world, 'staging')).hosts[0]?.state === 'up')
    expect((await statusOf(world, 'prod')).hosts).toMatchObject([{ state: 'idle', lanes: 0, engine: null }])
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
    expect((await statusOf(world, 'prod')).hosts).toMatchObject([{ state: 'up', lanes: 1 }])
  })

  test('a host that is in no file comes up by its address or by flags', async () => {
    await using world = await World.create()
    const { prod } = hosts()
    await world.spawn('sh', [
      '-c',
      `mkdir -m 700 ~/.ssh && cp ${prod.keyFile} ~/.ssh/id_ed25519 && cp ${prod.knownHostsFile} ~/.ssh/known_hosts`,
    ])
    const ssh = { DPROXY_SSH_CONFIG: join(world.dir, 'ssh_config') }
    await writeFile(
      ssh.DPROXY_SSH_CONFIG,
      `IdentityFile ${prod.keyFile}\nUserKnownHostsFile ${prod.knownHostsFile}\n`,
    )
    const flags = ['--ssh-host', `127.0.0.1:${prod.port}`, '--ssh-user', prod.user, '--ssh-key', prod.keyFile]
    const sockets = ['--local-socket', world.socket('lab'), '--remote-socket', prod.remoteSocket]
    await must(world, ['up', ...flags, ...sockets, '--timeout', '9s'], { env: ssh })
    const name = `127.0.0.1-${prod.port}`
    expect((await statusOf(world)).hosts).toMatchObject([{ name, state: 'up', socket: world.socket('lab') }])
    const asked = await world.spawn('docker', ['-H', `unix://${world.socket('lab')}`, 'version'])
    expect(asked.exitCode).toBe(0)
    await must(world, ['down', name])

    const { staging } = hosts()
    await writeFile(
      ssh.DPROXY_SSH_CONFIG,
      `IdentityFile ${staging.keyFile}\nUserKnownHostsFile ${staging.knownHostsFile}\n`,
    )
    await must(world, ['up', `ssh://${staging.user}@127.0.0.1:${staging.port}`], { env: ssh })
    const [host] = (await statusOf(world)).hosts
    expect(host).toMatchObject({ name: `127.0.0.1-${staging.port}`, state: 'up' })
    expect(host?.socket).toBe(`/tmp/docker-127.0.0.1-${staging.port}.sock`)
    await must(world, ['down'])
  })

  test('a single-host file of the old kind is read as it is', async () => {
    await using world = await World.create()
    const { prod } = hosts()
    const old = {
      local_socket: world.socket('old'),
      ssh_user: prod.user,
      ssh_host: `127.0.0.1:${prod.port}`,
      ssh_key_path: prod.keyFile,
      remote_socket: prod.remoteSocket,
      timeout: '10s',
    }
    const path = join(world.dir, 'work', 'config.yaml')
    await writeFile(path, stringify(old))
    const sshConfig = join(world.dir, 'ssh_config')
    await writeFile(sshConfig, `UserKnownHostsFile ${prod.knownHostsFile}\n`)
    const up = await must(world, ['up', '--config', 'config.yaml'], { env: { DPROXY_SSH_CONFIG: sshConfig } })
    expect(up.stdout).toMatch(/^default +● up/mu)
    const asked = await world.spawn('docker', ['-H', `unix://${world.socket('old')}`, 'version'])
    expect(asked.exitCode).toBe(0)
  })

  test('what only looks, never dials', async () => {
    await using world = await World.create()
    let dialled = 0
    const blackhole = createServer(() => (dialled += 1))
    await once(blackhole.listen(0, '127.0.0.1'), 'listening')
    const { port } = blackhole.address() as AddressInfo
    await world.config({
      hosts: { prod: { ssh: `ssh://me@127.0.0.1:${port}`, socket: world.socket('prod') } },
    })
    for (const args of [['status'], ['status', 'prod', '--json'], ['env', 'prod'], ['version'], ['logs']])
      await must(world, args)
    await must(world, ['up', 'prod', '--lazy'])
    for (const args of [['status'], ['status', '--json'], ['env', 'prod'], ['version'], ['logs']])
      await must(world, args)
    expect(dialled).toBe(0)
    await must(world, ['down', 'prod'])
    expect(dialled).toBe(0)
    blackhole.close()
  })

  test('a silent host delays no other, and both ends are told: 3', async () => {
    await using world = await World.create()
    const silent = createServer(() => undefined)
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const { port } = silent.address() as AddressInfo
    const hole = { ssh: `ssh://me@127.0.0.1:${port}`, socket: world.socket('hole'), connectTimeout: '8s' }
    await world.config({ hosts: { hole, prod: world.entry('prod', hosts().prod) } })
    const running = world.start(['up', '--all'])
    let other: string | undefined
    await until('prod is up', async () => {
      const [first, second] = (await statusOf(world, 'hole', 'prod')).hosts
      other = first?.state
      return second?.state === 'up'
    })
    expect(other).toBe('connecting')
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
    const up = await running
    expect(up.exitCode).toBe(3)
    expect(up.stderr).toMatch(
      /dproxy: hole: host key: 127\.0\.0\.1:\d+ did not finish the SSH handshake within 8 s/u,
    )
    expect(up.stdout).toMatch(/prod +● up/u)
    silent.close()
  })

  test('an interrupted up takes back what was not up yet', async () => {
    await using world = await World.create()
    const silent = createServer(() => undefined)
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const { port } = silent.address() as AddressInfo
    const hole = { ssh: `ssh://me@127.0.0.1:${port}`, socket: world.socket('hole') }
    await world.config({ hosts: { hole, prod: world.entry('prod', hosts().prod) } })
    await must(world, ['up', 'prod'])
    const up = world.start(['up', '--all'])
    await until('it connects', async () => (await statusOf(world, 'hole')).hosts[0]?.state === 'connecting')
    up.kill('SIGINT')
    expect(await up).toMatchObject({ exitCode: 130, stdout: '' })
    expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['stopped', 'up'])
    expect([stands(world, 'hole'), stands(world, 'prod')]).toEqual([false, true])
    silent.close()
  })

  test('a watcher and a follower see what happens until they are interrupted: 130', async () => {
    await using world = await withBoth()
    await must(world, ['up', 'prod', '--lazy'])
    const watch = world.start(['status', '--watch', '--json'])
    const follow = world.start(['logs', '-f', '--json'])
    let [states, events] = ['', '']
    watch.stdout.setEncoding('utf8').on('data', (text: string) => (states += text))
    follow.stdout.setEncoding('utf8').on('data', (text: string) => (events += text))
    await until('both look', () => states.includes('"idle"') && events.includes('listening on'))
    await must(world, ['down', 'prod'])
    await must(world, ['up', 'staging'])
    await until('the watcher saw it', () => states.includes('"connecting"') || states.includes('"up"'))
    for (const line of states.trim().split('\n')) Status.parse(JSON.parse(line))
    watch.kill('SIGINT')
    expect(await watch).toMatchObject({ exitCode: 130, stderr: '' })
    // Whom it followed has left.
    expect(await follow).toMatchObject({ stderr: expect.stringContaining('supervisor') })
    const again = world.start(['logs', 'staging', '-f'])
    let text = ''
    again.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    await until('it follows', () => text.includes('up: '))
    again.kill('SIGINT')
    expect(await again).toMatchObject({ exitCode: 130, stderr: '' })
  })

  test('twenty hosts come up at once', async () => {
    await using world = await World.create()
    const names = Array.from({ length: 20 }, (_, index) => `h${index}`)
    await world.config({
      hosts: Object.fromEntries(names.map((name) => [name, world.entry(name, hosts().prod)])),
    })
    const up = await must(world, ['up', '--all'])
    expect(up.stdout.match(/● up/gu)).toHaveLength(20)
    expect(up.stderr).not.toMatch(/warning/iu)
    expect((await statusOf(world)).hosts.every(({ state }) => state === 'up')).toBe(true)
    await must(world, ['down', '--all'])
    expect(await readdir(join(world.dir, 's'))).toEqual([])
  })

  test('ten that start at once end with one supervisor, and every host is up', async () => {
    await using world = await withBoth()
    const names = Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? 'prod' : 'staging'))
    const results = await Promise.all(names.map((name) => world.dproxy(['up', name])))
    expect(results.map(({ exitCode }) => exitCode)).toEqual(names.map(() => 0))
    await until('one is left', () => supervisors(world).length === 1)
    expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['up', 'up'])
  })

  test('a supervisor killed with -9 leaves nothing in the way of the next [L2]', async () => {
    await using world = await withBoth()
    const { prod, staging } = hosts()
    const throughSsh = { ...world.entry('staging', staging), transport: 'openssh' }
    await world.config({ hosts: { prod: world.entry('prod', prod), staging: throughSsh } })
    await must(world, ['up', '--all'])
    const [first] = supervisors(world)
    expect(world.processes().length).toBeGreaterThan(1)
    process.kill(first!, 'SIGKILL')
    await until('it is gone, and the ssh it had with it', () => world.processes().length === 0)
    expect([stands(world), stands(world, 'prod')]).toEqual([true, true])
    expect(await statusOf(world)).toMatchObject({ supervisor: null, hosts: [{ state: 'stopped' }, {}] })
    expect(await world.docker('prod', ['ps'])).not.toMatchObject({ exitCode: 0 })
    await must(world, ['up', 'prod'])
    expect(supervisors(world)).toHaveLength(1)
    expect(await world.docker('prod', ['ps'])).toMatchObject({ exitCode: 0 })
    await must(world, ['down', '--all'])
    await until('nothing runs', () => world.processes().length === 0)
    expect([stands(world), stands(world, 'prod')]).toEqual([false, false])
  })

  test('a host that goes up and down fifty times costs its supervisor nothing [L5]', async () => {
    await using world = await withBoth()
    await must(world, ['up', '--all'])
    const [pid] = supervisors(world)
    const control = new ControlClient(world.controlSocket)
    const { hosts: running } = await control.running()
    const { definition } = running.find((host) => host.definition.name === 'prod')!
    const cycle = async (transport: 'ssh2' | 'openssh') => {
      const request = { agent: null, lazy: false, person: false, evenProtected: true }
      await control.up({ definition: { ...definition, transport }, ...request })
      expect(await world.docker('prod', ['version'])).toMatchObject({ exitCode: 0 })
      // The client's end is on its way: nothing is cut.
      await control.down('prod', 5000)
    }
    for (let times = 0; times < 10; times += 1) await cycle('ssh2')
    for (let times = 0; times < 3; times += 1) await cycle('openssh')
    const before = { files: openFiles(pid!), bytes: residentBytes(pid!), processes: world.processes().length }
    for (let times = 0; times < 45; times += 1) await cycle('ssh2')
    for (let times = 0; times < 5; times += 1) await cycle('openssh')
    await until('its descriptors are closed', () => openFiles(pid!) <= before.files)
    expect(world.processes()).toHaveLength(before.processes)
    expect(residentBytes(pid!) - before.bytes).toBeLessThan(32 * 1024 * 1024)
    expect((await statusOf(world, 'staging')).hosts[0]?.state).toBe('up')
  })

  test('up right after the last host went finds or starts a supervisor, whenever it comes', async () => {
    await using world = await withBoth()
    for (const delay of [50, 150]) {
      await must(world, ['up', 'prod', '--lazy'])
      // The supervisor leaves a moment after its last host: meet it at every point of leaving.
      const stop = [
        '-s',
        '-X',
        'POST',
        '--unix-socket',
        world.controlSocket,
        'http://d/v1/hosts/prod/down',
        '-d',
        '{}',
      ]
      const [, up] = await Promise.all([
        world.spawn('curl', stop),
        world.spawn('sh', [
          '-c',
          `sleep 0.${String(delay).padStart(3, '0')}; exec "$@"`,
          'sh',
          ...DPROXY,
          'up',
          'staging',
          '--lazy',
        ]),
      ])
      expect(up, `after ${delay} ms`).toMatchObject({ exitCode: 0 })
      await must(world, ['down', 'staging'])
    }
  })
})

describeOurs('hosts are stopped under load', (hosts) => {
  /** A world with prod up, and a `docker logs -f` that has shown its first line. */
  const following = async () => {
    const world = await World.create()
    await world.configure(hosts())
    await must(world, ['up', 'prod'])
    return { world, ...(await follow(world)), [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
  }

  const follow = async (world: World) => {
    const words = ['run', '-d', '--rm', IMAGE, 'sh', '-c', 'echo one; exec sleep 60']
    const { stdout: box } = await world.docker('prod', words)
    const logs = world.startDocker('prod', ['logs', '-f', box])
    let text = ''
    logs.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    await until('the first line', () => text === 'one\n')
    const remove = () => world.spawn('docker', ['-H', `unix://${hosts().prod.engineSocket}`, 'rm', '-f', box])
    return { logs, remove }
  }

  test('down while a stream is open waits for the drain, then cuts it: the client fails [L4]', async () => {
    await using scene = await following()
    const { world, logs, remove } = scene
    const started = performance.now()
    const down = await must(world, ['down', 'prod', '--drain', '1s'])
    expect(down.stderr).toMatch(/prod: 1 stream open, waiting for up to 1 s\nprod stopped, 1 stream cut/u)
    expect(performance.now() - started).toBeLessThan(4000)
    expect((await logs).exitCode).not.toBe(0)
    expect([stands(world, 'prod'), stands(world)]).toEqual([false, false])
    await remove()
  })

  test('down without a drain fails the client within a second [L4]', async () => {
    await using scene = await following()
    const { world, logs, remove } = scene
    const control = new ControlClient(world.controlSocket)
    const ended = logs.then(({ exitCode }) => ({ exitCode, atMs: performance.now() }))
    const started = performance.now()
    expect(await control.down('prod', 0)).toEqual({ cut: 1 })
    const { exitCode, atMs } = await ended
    expect(exitCode).not.toBe(0)
    expect(atMs - started).toBeLessThan(1000)
    await remove()
  })

  test('a supervisor told to end drains first; told again, it ends at once [L1]', async () => {
    for (const signals of [1, 2]) {
      await using scene = await following()
      const { world, logs, remove } = scene
      const [pid] = supervisors(world)
      process.kill(pid!, 'SIGTERM')
      await until('it drains', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'draining')
      expect(stands(world, 'prod')).toBe(false)
      if (signals === 2) {
        const started = performance.now()
        process.kill(pid!, 'SIGTERM')
        await until('it is gone', () => !isAlive(pid!))
        expect(performance.now() - started).toBeLessThan(1500)
        expect((await logs).exitCode).not.toBe(0)
      } else {
        // The container ends, the stream with it: a clean end within the drain.
        await remove()
        await logs
        await until('it is gone', () => !isAlive(pid!))
      }
      await remove()
      expect(stands(world)).toBe(false)
    }
  })

  test('in the foreground, SIGINT ends with 130 and SIGTERM with 0; a second one is immediate [L1]', async () => {
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 0],
    ] as const) {
      await using world = await World.create()
      await world.configure(hosts())
      const running = world.start(['up', 'prod', '--foreground'])
      let text = ''
      running.stderr.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      await until('prod is up', () => /prod.* up: /u.test(text))
      expect(supervisors(world)).toEqual([])
      const { logs, remove } = await follow(world)
      running.kill(signal)
      await until('it drains', () => text.includes('draining 1 stream'))
      const started = performance.now()
      running.kill(signal)
      const ended = await running
      expect(performance.now() - started).toBeLessThan(1500)
      expect(ended).toMatchObject({ exitCode: code, stdout: '' })
      expect((await logs).exitCode).not.toBe(0)
      expect([stands(world, 'prod'), stands(world)]).toEqual([false, false])
      await remove()
    }
  })

  test('in the foreground it ends by itself when every host waits for the user, and says why', async () => {
    await using world = await World.create()
    const unknown = (name: 'prod' | 'staging') => ({
      ...world.entry(name, hosts()[name]),
      knownHostsFile: '/dev/null',
    })
    await world.config({ hosts: { prod: unknown('prod'), staging: unknown('staging') } })
    const { exitCode, stderr } = await world.dproxy(['up', '--all', '--foreground'])
    expect(exitCode).toBe(4)
    for (const name of ['prod', 'staging']) {
      expect(stderr).toMatch(new RegExp(`^dproxy: ${name}: host key: `, 'mu'))
      expect(stands(world, name)).toBe(false)
    }
  })
})
