import { once } from 'node:events'
import { chmod } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import { World } from '../testbed/cli.js'
import { describeWith } from '../testbed/describe-with.js'
import { Dockerd } from '../testbed/dockerd.js'
import { namespaces } from '../testbed/parts.js'
import { skippedTitle } from '../testbed/skipped.js'
import { Sshd, type SshdOptions } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { diagnose, listening, ordinaryUser } from './doctor.js'
import { hostOf, must, statusOf } from './lifecycle.js'

interface Expected {
  code: string
  /** What is wrong, in the words of every view. */
  said: string | RegExp
  /** What to do about it. */
  next: string
}

/** `up`, a Docker client, `status` and `doctor` all say the same. */
const everyViewSays = async (world: World, { code, said, next }: Expected): Promise<void> => {
  const hint = expect.stringContaining(next) as string
  const up = await world.dproxy(['up', 'prod'])
  expect(up.stderr).toMatch(said)
  expect(up.stderr).toContain('\n  next: ')
  expect(up.stderr).toContain(next)
  expect(up.exitCode).toBe(1)
  const [docker, status, table, doctor] = await Promise.all([
    world.docker('prod', ['ps']),
    statusOf(world, 'prod'),
    world.dproxy(['status', 'prod']),
    diagnose(world, ['prod']),
  ])
  expect(docker.exitCode).toBe(1)
  expect(docker.stderr).toContain('dproxy: prod: ')
  expect(docker.stderr).toMatch(said)
  expect(docker.stderr).toContain(next)
  // Only away: it is tried again by itself.
  const [host] = status.hosts
  expect(['retrying', 'connecting']).toContain(host?.state)
  expect(host?.lastError).toMatchObject({ code, hint })
  expect(host?.lastError?.message).toMatch(said)
  expect(table.stdout).toMatch(said)
  expect(table.stdout).toContain(next)
  const failed = doctor.hosts[0]?.stages.filter(({ state }) => state === 'failed')
  expect(failed).toMatchObject([{ error: { code, hint } }])
  expect(failed?.[0]?.error?.message).toMatch(said)
  expect(doctor.exitCode).toBe(1)
}

const TRANSPORTS = ['ssh2', 'openssh'] as const

/** A server and a world whose host `prod` goes there. */
const placeOf = async (
  scope: Scope,
  entry: { transport: string; remoteSocket?: string; ssh?: string; connectTimeout?: string },
  options: SshdOptions = {},
) => {
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], ...options }))
  const world = scope.use(await World.create())
  const host = world.entry('prod', hostOf(sshd, entry.remoteSocket ?? 'auto'))
  await world.config({ hosts: { prod: { ...host, ...entry } } })
  return { sshd, world }
}

describeWith(['sshd', 'docker'], 'why a host cannot be served is told alike everywhere:', () => {
  test.each(TRANSPORTS)('forwarding is forbidden (%s)', async (transport) => {
    await using scope = new Scope()
    const engine = scope.use(await listening())
    // Sessions may look, and run nothing that could stand in for sshd.
    const looksOnly = 'case "$SSH_ORIGINAL_COMMAND" in *readlink*) eval "$SSH_ORIGINAL_COMMAND";; esac'
    const forbidding = ['AllowStreamLocalForwarding no', `ForceCommand ${looksOnly}`]
    const { world } = await placeOf(scope, { transport, remoteSocket: engine.path }, { options: forbidding })
    await everyViewSays(world, {
      code: 'FORWARDING_FORBIDDEN',
      said: new RegExp(`forward\\S* to ${engine.path}`, 'u'),
      next: 'AllowStreamLocalForwarding yes',
    })
  })

  test.each(TRANSPORTS)('there is no socket at the path that was told (%s)', async (transport) => {
    await using scope = new Scope()
    const { world } = await placeOf(scope, { transport, remoteSocket: '/nowhere/docker.sock' })
    await everyViewSays(world, {
      code: 'ENGINE_SOCKET_MISSING',
      said: /there is no \/nowhere\/docker\.sock on \S+@127\.0\.0\.1:\d+/u,
      next: 'remoteSocket:',
    })
  })

  test.runIf(namespaces()).each(TRANSPORTS)(
    'there is no engine at any usual place (%s)',
    async (transport) => {
      await using scope = new Scope()
      const { world } = await placeOf(scope, { transport })
      await everyViewSays(world, {
        code: 'ENGINE_SOCKET_MISSING',
        said: /there is no \/var\/run\/docker\.sock on \S+@127\.0\.0\.1:\d+, nor a socket where .*Podman/u,
        next: 'systemctl status docker',
      })
      expect((await statusOf(world, 'prod')).hosts[0]?.remoteSocket).toBe('auto')
    },
  )

  const ordinary = ownUid() === 0 ? ordinaryUser() : undefined
  const why = 'needs root, and another user who has a shell'
  for (const transport of TRANSPORTS) {
    const title = `the user may not use the engine (${transport})`
    test.skipIf(!ordinary)(ordinary ? title : skippedTitle(title, why), async () => {
      await using scope = new Scope()
      const engine = scope.use(await listening())
      await chmod(engine.dir, 0o755)
      await chmod(engine.path, 0o660)
      const options = { options: ['UsePAM yes'], dockerSocket: engine.path }
      const { sshd, world } = await placeOf(scope, { transport }, options)
      await chmod(sshd.dir, 0o755)
      await chmod(sshd.authorizedKeysFile, 0o644)
      const entry = world.entry('prod', { ...hostOf(sshd, 'auto'), user: ordinary! })
      await world.config({ hosts: { prod: { ...entry, transport } } })
      await everyViewSays(world, {
        code: 'ENGINE_SOCKET_DENIED',
        said: `${ordinary} may not use /var/run/docker.sock on ${ordinary}@127.0.0.1:${sshd.port}: permission denied`,
        next: `sudo usermod -aG docker ${ordinary}`,
      })
    })
  }

  test.runIf(namespaces()).each(TRANSPORTS)('the engine is down (%s)', async (transport) => {
    await using scope = new Scope()
    const engine = scope.use(await listening())
    await engine.die()
    const { world } = await placeOf(scope, { transport }, { dockerSocket: engine.path })
    await everyViewSays(world, {
      code: 'ENGINE_DOWN',
      said: 'no Docker daemon answers behind /var/run/docker.sock',
      next: 'systemctl status docker',
    })
  })

  test.each(TRANSPORTS)('the engine takes connections and never answers (%s)', async (transport) => {
    await using scope = new Scope()
    const engine = scope.use(await listening())
    const entry = { transport, remoteSocket: engine.path, connectTimeout: '1s' }
    const { world } = await placeOf(scope, entry)
    await everyViewSays(world, {
      code: 'ENGINE_TIMEOUT',
      said: new RegExp(`engine behind ${engine.path} did not answer within 1 s`, 'u'),
      next: 'docker version',
    })
  })

  test.each(TRANSPORTS)('too many wait for their login there (%s)', async (transport) => {
    await using scope = new Scope()
    const { sshd, world } = await placeOf(scope, { transport }, { options: ['MaxStartups 1'] })
    const other = scope.add(connect(sshd.port, '127.0.0.1'), (socket) => socket.destroy())
    other.on('error', () => undefined)
    await once(other, 'data')
    await everyViewSays(world, {
      code: 'LOGIN_THROTTLED',
      said: `127.0.0.1:${sshd.port} takes no login for now`,
      next: 'MaxStartups',
    })
  })

  test.each(TRANSPORTS)('the server has a penalty for our address (%s)', async (transport) => {
    await using scope = new Scope()
    const server = createServer((client) => {
      // As sshd from OpenSSH 9.8 on does: drop_connection() in sshd.c.
      client.on('error', () => undefined).write('Not allowed at this time\r\n', () => client.destroy())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    scope.add(server, (each) => each.close())
    const { port } = server.address() as AddressInfo
    const { world } = await placeOf(scope, { transport, ssh: `ssh://deploy@127.0.0.1:${port}` })
    await everyViewSays(world, {
      code: 'LOGIN_THROTTLED',
      said: `127.0.0.1:${port} takes no login for now`,
      next: 'PerSourcePenalties',
    })
  })
})

describeWith(['sshd', 'dockerd', 'docker'], 'an engine that hangs', () => {
  test('is told apart from one that is down, and served again when it goes on', async () => {
    await using scope = new Scope()
    const engine = scope.use(await Dockerd.start())
    const entry = { transport: 'ssh2', connectTimeout: '2s' }
    const { world } = await placeOf(scope, entry, { dockerSocket: engine.socket })
    const pid = engine.pid()
    process.kill(pid, 'SIGSTOP')
    try {
      await everyViewSays(world, {
        code: 'ENGINE_TIMEOUT',
        said: 'engine behind /var/run/docker.sock did not answer within 2 s',
        next: 'docker version',
      })
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await must(world, ['up', 'prod'])
    expect((await world.docker('prod', ['ps', '-q'])).exitCode).toBe(0)
    await engine.kill()
    await must(world, ['down', 'prod'])
    await everyViewSays(world, {
      code: 'ENGINE_DOWN',
      said: 'no Docker daemon answers behind /var/run/docker.sock',
      next: 'systemctl status docker',
    })
  })
})

describeWith(['sshd', 'dockerd', 'docker'], 'an engine that has to be looked for', () => {
  test.each(TRANSPORTS)('is found, used, and told of: %s', async (transport) => {
    await using scope = new Scope()
    const engine = scope.use(await Dockerd.start())
    const other = scope.use(await TempDir.create())
    const podman = createServer((client) => client.on('error', () => undefined).resume())
    await once(podman.listen(join(other.path, 'podman.sock')), 'listening')
    scope.add(podman, (each) => each.close())
    const rootless = '/run/user/0/docker.sock'
    const sockets = { [rootless]: engine.socket, '/run/podman/podman.sock': join(other.path, 'podman.sock') }
    const { world } = await placeOf(scope, { transport }, { sockets })
    await must(world, ['up', 'prod'])
    expect((await world.docker('prod', ['ps', '-q'])).exitCode).toBe(0)
    expect((await statusOf(world, 'prod')).hosts[0]?.remoteSocket).toBe(rootless)
    const { stdout } = await must(world, ['status'])
    expect(stdout).toContain(`prod: its engine's socket there is ${rootless}`)
    const { hosts } = await diagnose(world, ['prod'])
    expect(hosts[0]?.stages.find(({ stage }) => stage === 'remote socket')).toMatchObject({
      state: 'ok',
      facts: [
        `found at ${rootless} (rootless Docker)`,
        'another engine listens at /run/podman/podman.sock (Podman)',
      ],
    })
  })
})
