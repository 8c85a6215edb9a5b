import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { chmod, readdir, stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { HostDefinition } from '../../src/control/messages.js'
import { checkHosts } from '../../src/demo/check.js'
import { startDemoHosts, type DemoHost } from '../../src/demo/hosts.js'
import { describeWith } from '../testbed/describe-with.js'
import { Dockerd } from '../testbed/dockerd.js'
import { IMAGE, imageArchive, importArguments } from '../testbed/image.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'

const start = async (
  scope: Scope,
  env: Record<string, string> = {},
  engine: 'embedded' | 'local' = 'embedded',
) => {
  const dir = scope.use(await TempDir.create()).path
  return { dir, demo: scope.use(await startDemoHosts({ dir: join(dir, 'demo'), engine, env })) }
}

const refusesConnections = (port: number) =>
  new Promise<boolean>((resolve) => {
    const probe = connect(port, '127.0.0.1')
    probe.once('error', () => resolve(true)).once('connect', () => resolve(probe.destroy() && false))
  })

/** What dproxy itself does, done by the reference: the socket of `host` served by `ssh -L`. */
const tunnel = async (scope: Scope, host: DemoHost) => {
  const options = [
    `-F none -N -p ${host.port} -i ${host.identityFiles.join()}`,
    `-o UserKnownHostsFile=${host.knownHostsFiles.join()} -o StrictHostKeyChecking=yes`,
    '-o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none',
    `-L ${host.socket}:${host.remoteSocket} ${host.user}@${host.destination}`,
  ]
  const ssh = execa(
    'ssh',
    options.flatMap((line) => line.split(' ')),
    { reject: false },
  )
  scope.add(undefined, async () => {
    ssh.kill()
    await ssh
  })
  await until('ssh serves the socket', () => existsSync(host.socket))
}

describe('the demo hosts', () => {
  test('are definitions that the supervisor takes, with all their files in one private directory', async () => {
    await using scope = new Scope()
    const { dir, demo } = await start(scope)
    expect(demo.hosts.map((host) => HostDefinition.parse(host))).toEqual(demo.hosts)
    expect(demo.hosts.map(({ name }) => name)).toEqual(['prod', 'staging'])
    expect(new Set(demo.hosts.map(({ port }) => port)).size).toBe(2)
    for (const { socket, remoteSocket, identityFiles, knownHostsFiles } of demo.hosts) {
      for (const path of [socket, remoteSocket, ...identityFiles, ...knownHostsFiles]) {
        expect(path.startsWith(`${dir}/demo/`)).toBe(true)
      }
    }
    expect((await stat(join(dir, 'demo'))).mode & 0o777).toBe(0o700)
    for (const file of await readdir(join(dir, 'demo'))) {
      expect((await stat(join(dir, 'demo', file))).mode & 0o077).toBe(0)
    }
  })

  test('are gone when they are closed', async () => {
    await using scope = new Scope()
    const { demo } = await start(scope)
    await demo.close()
    for (const { port, remoteSocket } of demo.hosts) {
      expect(await refusesConnections(port)).toBe(true)
      expect(existsSync(remoteSocket)).toBe(false)
    }
  })

  test('do not start in a directory that others may enter', async () => {
    await using dir = await TempDir.create()
    await chmod(dir.path, 0o755)
    await expect(startDemoHosts({ dir: dir.path, engine: 'embedded', env: {} })).rejects.toThrow(
      /open to others/u,
    )
    expect(await readdir(dir.path)).toEqual([])
  })

  test('lead to the local engine when asked to, if one answers', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const socket = join(dir, 'docker.sock')
    const local = createServer((_, response) => response.end('OK'))
    await new Promise<void>((resolve) => local.listen(socket, resolve))
    scope.add(local, (taken) => taken.close())
    const { demo } = await start(scope, { DOCKER_HOST: `unix://${socket}` }, 'local')
    expect(demo.hosts.map(({ remoteSocket }) => remoteSocket)).toEqual([socket, socket])
  })

  test('say what is wrong with the local engine', async () => {
    await using scope = new Scope()
    const missing = { DOCKER_HOST: 'unix:///tmp/there-is-no-such.sock' }
    await expect(start(scope, missing, 'local')).rejects.toMatchObject({
      code: 'ENGINE_SOCKET_MISSING',
      message: expect.stringContaining('/tmp/there-is-no-such.sock') as string,
      hint: expect.stringContaining('--engine local') as string,
    })
    await expect(start(scope, { DOCKER_HOST: 'tcp://127.0.0.1:2375' }, 'local')).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
    })
  })
})

describeWith(['sshd'], 'the demo hosts, behind OpenSSH', () => {
  test('pass every check, both at the same time', async () => {
    await using scope = new Scope()
    const { demo } = await start(scope)
    await Promise.all(demo.hosts.map((host) => tunnel(scope, host)))
    const rows = await checkHosts(demo.hosts)
    expect(rows.filter(({ result }) => result !== 'passed')).toEqual([])
    expect(rows.length).toBe(16)
    expect(rows.find(({ host, check }) => host === 'prod' && check === 'containers')?.detail).toContain('5')
    expect(rows.find(({ host, check }) => host === 'staging' && check === 'containers')?.detail).toContain(
      '3',
    )
  })
})

describeWith(['sshd', 'dockerd', 'docker', 'busybox'], 'the demo hosts, in front of a real engine', () => {
  test('pass every check that leaves the engine as it is', { timeout: 60_000 }, async () => {
    await using scope = new Scope()
    const archive = scope.use(await TempDir.create()).path
    const engine = scope.use(await Dockerd.start())
    const docker = (...words: string[]) => execa('docker', ['-H', `unix://${engine.socket}`, ...words])
    await docker(...importArguments(await imageArchive(archive)))
    await docker('run', '-d', IMAGE, 'sh', '-c', 'echo one; echo two >&2; sleep 1000')
    const { demo } = await start(scope, { DOCKER_HOST: `unix://${engine.socket}` }, 'local')
    await Promise.all(demo.hosts.map((host) => tunnel(scope, host)))
    const rows = await checkHosts(demo.hosts)
    expect(rows.filter(({ result }) => result === 'failed')).toEqual([])
    expect(rows.filter(({ result }) => result === 'skipped').map(({ check }) => check)).toEqual([
      'download',
      'upload',
      'download',
      'upload',
    ])
    expect((await docker('images', '-q')).stdout.split('\n').length).toBe(1)
  })
})
