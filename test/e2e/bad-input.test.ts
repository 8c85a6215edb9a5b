import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, lstat, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LONGEST_SOCKET_PATH, ownUid } from '../../src/base/paths.js'
import { Status } from '../../src/control/messages.js'
import { type Finished, World } from '../testbed/cli.js'
import { describeWith } from '../testbed/describe-with.js'
import { freePort } from '../testbed/free-port.js'
import { Pty } from '../testbed/pty.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { DPROXY, hostOf } from './lifecycle.js'

/** One clear complaint on stderr with a next step, nothing on stdout, no stack, and what `said` names. */
const complains = (result: Finished, exitCode: number, ...said: (string | RegExp)[]): void => {
  expect(result).toMatchObject({ exitCode, stdout: '', timedOut: false })
  expect(result.stderr).toMatch(/^dproxy: /mu)
  expect(result.stderr).toMatch(/^ {2}next: \S/mu)
  expect(result.stderr).not.toMatch(/^ {4}at /mu)
  for (const each of said) expect(result.stderr).toMatch(each)
}

/** Nothing runs, and no socket stands where one was asked for or anywhere else of ours. */
const leavesNothing = async (world: World, sockets: string[] = []): Promise<void> => {
  await until('nothing runs', () => world.processes().length === 0)
  expect(existsSync(world.controlSocket)).toBe(false)
  expect(await readdir(join(world.dir, 's'))).toEqual(sockets)
}

describe.concurrent('a command line that cannot be right is refused', () => {
  test.for<[string[], ...(string | RegExp)[]]>([
    [['staus'], 'there is no command "staus"; did you mean "status"?'],
    [['frobnicate'], 'there is no command "frobnicate"', 'dproxy --help'],
    [['status', '--jsn'], 'did you mean "--json"?'],
    [['up', '--local-sokcet', '/tmp/x'], 'did you mean "--local-socket"?'],
    [['status', '--config', 'a', '--config', 'b'], '--config was given more than once'],
    [['down', '--drain', '1s', '--drain', '2s'], '--drain was given more than once'],
    [['down', '--drain', 'soon'], '--drain takes a duration'],
    [['down', '--drain', '5'], '--drain takes a duration'],
    [['down', '--drain', '-1s'], /--drain/u],
    [['down', '--drain', '2h'], '--drain takes a duration up to 1h'],
    [['down', '--drain'], /drain/u],
    [['up', '--ssh-host', 'x', '--timeout', 'soon'], '--timeout'],
    [['up', '--ssh-host', 'x', '--timeout', '0s'], '--timeout'],
    [['up', '--ssh-user', 'me'], '--ssh-host is missing'],
    [['up', '--ssh-host=-oProxyCommand=x'], '--ssh-host'],
    [['up', '--ssh-host', 'x:99999'], '--ssh-host', 'port'],
    [['up', '--ssh-host', 'x', '--ssh-user', '$(id)'], '--ssh-user'],
    [['up', '--ssh-host', 'x', 'prod'], '--ssh-host describes a host that is in no file'],
    [['up', 'ssh://u:secret@x'], 'password'],
    [['up', 'ssh://'], 'the ssh:// address'],
    [['up', '--ssh-host', 'x', '--local-socket', `/tmp/${'x'.repeat(120)}`], 'too long'],
    [['env'], /which host\?[^]*dproxy env prod/],
    [['env', 'a', 'b'], 'a shell talks to one host at a time'],
    [['logs', 'a', 'b'], 'one host at a time'],
    [['up', '--config', 'nowhere.yaml', 'prod'], /nowhere\.yaml does not exist/u],
  ])('%j', async ([args, ...said]) => {
    await using world = await World.create()
    const result = await world.dproxy(args)
    complains(result, 2, ...said)
    expect(result.stderr).not.toContain('secret')
    await leavesNothing(world)
  })
})

describe.concurrent('a config that cannot be right is refused with the place in the file', () => {
  const prod = 'ssh: ssh://deploy@127.0.0.1:22'
  test.for<[string, string, ...(string | RegExp)[]]>([
    [
      'an unknown key',
      `hosts:\n  prod:\n    ${prod}\n    prot: 22\n`,
      /line 4: hosts\.prod: unknown key "prot"/u,
    ],
    ['a syntax error', 'hosts:\n  prod: [\n', /line [23]: /u],
    ['a tab', 'hosts:\n\tprod: x\n', /line 2: /u],
    ['a name twice', `hosts:\n  prod:\n    ${prod}\n  prod:\n    ${prod}\n`, /line 4: .*prod/u],
    [
      'names that differ only in case',
      `hosts:\n  prod:\n    ${prod}\n  PROD:\n    ${prod}\n`,
      /line 4: .*PROD/u,
    ],
    ['a name with a path in it', `hosts:\n  ../../x:\n    ${prod}\n`, /line 2: .*\.\.\/\.\.\/x/u],
    ['a name that is an option', `hosts:\n  -rf:\n    ${prod}\n`, /line 2: .*-rf/u],
    [
      'a socket path that is too long',
      `hosts:\n  prod:\n    ${prod}\n    socket: /tmp/${'x'.repeat(120)}.sock\n`,
      /line 4: hosts\.prod: the socket path .* has 130 bytes/u,
    ],
    [
      'a bad duration',
      `hosts:\n  prod:\n    ${prod}\n    connectTimeout: soon\n`,
      /line 4: hosts\.prod\.connectTimeout: /u,
    ],
  ])('%s', async ([, text, ...said]) => {
    await using world = await World.create()
    await world.config(text)
    for (const args of [['up', 'prod'], ['status'], ['env', 'prod']]) {
      const result = await world.dproxy(args)
      complains(result, 2, world.configPath, ...said)
    }
    await leavesNothing(world)
  })
})

describe.concurrent('hosts that are not there', () => {
  test('an unknown host is refused with the nearest name and all there are', async () => {
    await using world = await World.create()
    await world.config({ hosts: { prod: { ssh: 'a.invalid' }, staging: { ssh: 'b.invalid' } } })
    for (const verb of ['up', 'down', 'restart', 'status', 'env'])
      complains(
        await world.dproxy([verb, 'prd']),
        2,
        'no host is named "prd"; did you mean "prod"?',
        'prod and staging',
      )
    complains(await world.dproxy(['up', '@eu']), 2, 'no host has the tag "@eu"')
    complains(await world.dproxy(['up']), 2, 'which host? There are prod and staging', '--all')
    complains(await world.dproxy(['up', '--', '-rf']), 2, 'no host is named "-rf"')
    complains(await world.dproxy(['up', '../../x']), 2, 'no host is named "../../x"')
    complains(await world.dproxy(['up', '\u001b[31mprod']), 2, String.raw`"\x1b[31mprod"`)
    await leavesNothing(world)
  })

  test('without any config, it is said how to make one', async () => {
    await using world = await World.create()
    complains(await world.dproxy(['up', 'prod']), 2, 'no host is configured', world.configPath, 'ssh: ssh://')
    complains(await world.dproxy(['up', '--all']), 2, 'no host is configured')
    const status = await world.dproxy(['status'])
    expect(status).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: expect.stringContaining(world.configPath),
    })
    const json = await world.dproxy(['status', '--json'])
    expect(Status.parse(JSON.parse(json.stdout))).toMatchObject({ supervisor: null, hosts: [] })
    await leavesNothing(world)
  })
})

describe.concurrent('a local socket that cannot be made', () => {
  test.for(['file', 'directory', 'symlink', 'dangling symlink', 'live socket'])(
    'a %s in its place is named and left untouched',
    async (kind) => {
      await using world = await at('prod.sock')
      const path = world.socket('prod')
      const theirs = createServer((client) => client.on('error', () => undefined).end('theirs'))
      if (kind === 'file') await writeFile(path, 'mine')
      if (kind === 'directory') await mkdir(path)
      if (kind === 'symlink') await symlink(join(world.dir, 'home'), path)
      if (kind === 'dangling symlink') await symlink(join(world.dir, 'nowhere'), path)
      if (kind === 'live socket') await once(theirs.listen(path), 'listening')
      const before = await lstat(path)
      complains(await world.dproxy(['up', 'prod']), 1, `prod: socket: ${path} is taken`, 'left untouched')
      const after = await lstat(path)
      expect([after.ino, after.mode, after.ctimeMs]).toEqual([before.ino, before.mode, before.ctimeMs])
      await leavesNothing(world, ['prod.sock'])
      theirs.close()
    },
  )

  test.runIf(ownUid() === 0)('a dead socket of another user is named and left untouched', async () => {
    await using world = await at('prod.sock')
    const path = world.socket('prod')
    const script = `require('net').createServer().listen('${path}', () => process.kill(process.pid, 'SIGKILL'))`
    await world.spawn(process.execPath, ['-e', script])
    await chown(path, 65_534, 65_534)
    complains(await world.dproxy(['up', 'prod']), 1, path, 'uid 65534', 'left untouched')
    await leavesNothing(world, ['prod.sock'])
  })

  test('a directory that does not exist is named', async () => {
    await using world = await at('/tmp/dptb-nowhere/prod.sock')
    complains(await world.dproxy(['up', 'prod']), 1, 'prod: socket: ', '/tmp/dptb-nowhere does not exist')
    await leavesNothing(world)
  })

  test('the longest path there is can be used, and one byte more cannot', async () => {
    await using world = await World.create()
    const room = LONGEST_SOCKET_PATH - join(world.dir, 's', '/').length
    const [fits, tooLong] = ['x'.repeat(room), 'x'.repeat(room + 1)].map((name) => join(world.dir, 's', name))
    complains(await world.dproxy(lazily(tooLong!)), 2, 'too long', `${LONGEST_SOCKET_PATH}`)
    expect(await world.dproxy(lazily(fits!))).toMatchObject({ exitCode: 0 })
    expect(existsSync(fits!)).toBe(true)
  })

  test('a run directory that is open to others is refused', async () => {
    await using world = await at('prod.sock')
    const run = join(world.dir, 'run')
    await mkdir(run)
    await chmod(run, 0o777)
    for (const args of [['up', 'prod'], ['status'], ['down', '--all']])
      complains(await world.dproxy(args), 5, run)
    await leavesNothing(world)
  })
})

describe.concurrent('servers that are not there', () => {
  test('a refused connection is said with its address, and tried again in the background', async () => {
    await using world = await World.create()
    const port = await freePort()
    await world.config({
      hosts: { prod: { ssh: `ssh://me@127.0.0.1:${port}`, socket: world.socket('prod') } },
    })
    const up = await world.dproxy(['up', 'prod'])
    expect(up.exitCode).toBe(1)
    expect(up.stderr).toContain(`dproxy: prod: connect: connection refused by 127.0.0.1:${port}`)
    expect(up.stderr).toContain(
      `next: is sshd running there (there: systemctl status ssh), and is ${port} its port?`,
    )
    expect(up.stderr).toContain('prod is tried again in the background; to stop that: dproxy down prod')
    expect((await world.dproxy(['status'])).stdout).toMatch(/prod +◐ (?:retrying|connecting)/u)
    const docker = await world.spawn('curl', [
      '-s',
      '--unix-socket',
      world.socket('prod'),
      'http://d/version',
    ])
    expect(JSON.parse(docker.stdout)).toEqual({
      message: expect.stringMatching(/^dproxy: prod: connect: .*refused/u),
    })
    expect(await world.dproxy(['down', 'prod'])).toMatchObject({ exitCode: 0 })
    await leavesNothing(world)
  })

  test('a name that does not resolve is said to be one', async () => {
    await using world = await World.create()
    await world.config({ hosts: { prod: { ssh: 'no-such-host.invalid', socket: world.socket('prod') } } })
    const up = await world.dproxy(['up', 'prod'])
    expect(up.exitCode).toBe(1)
    expect(up.stderr).toContain('dproxy: prod: resolve: the name no-such-host.invalid does not resolve')
    await world.dproxy(['down', '--all'])
    await leavesNothing(world)
  })

  test('a port on which something else answers is said to be no SSH server', async () => {
    await using world = await World.create()
    const server = createServer((client) => client.on('error', () => undefined).end('220 mail\r\n'))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    await world.config({
      hosts: { prod: { ssh: `ssh://me@127.0.0.1:${port}`, socket: world.socket('prod') } },
    })
    const up = await world.dproxy(['up', 'prod'])
    expect(up.exitCode).toBe(1)
    expect(up.stderr).toMatch(/dproxy: prod: (?:host key|connect): 127\.0\.0\.1:\d+ /u)
    expect(up.stderr).toContain("is that port an SSH server's?")
    server.close()
  })
})

describeWith(['sshd'], 'a server that lets nobody in, or has no engine', () => {
  test('keys that cannot be used, and host keys that are not known: 4, and nothing stays', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const loose = join(sshd.dir, 'loose')
    await writeFile(loose, await readFile(sshd.keyFile), { mode: 0o644 })
    await chmod(loose, 0o644)
    const empty = join(sshd.dir, 'empty')
    await writeFile(empty, '')
    const cases: [object, ...(string | RegExp)[]][] = [
      [{ identityFile: '/nowhere/key' }, 'prod: login: ', '/nowhere/key does not exist'],
      [
        { identityFile: loose },
        `prod: login: `,
        `${loose} is open to others (mode 644)`,
        `chmod 600 ${loose}`,
      ],
      [{ identityFile: join(sshd.dir, 'host_ed25519_key') }, 'prod: login: ', 'refused the only key'],
      [{ knownHostsFile: empty }, 'prod: host key: ', /SHA256:\S{43}/u],
    ]
    for (const [more, ...said] of cases) {
      await using world = await worldOf(sshd, more)
      complains(await world.dproxy(['up', 'prod']), 4, ...said)
      await leavesNothing(world)
    }
  })

  test('a remote socket that is missing, no socket or closed to the user is told apart', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await writeFile(join(sshd.dir, 'file'), '')
    for (const [remoteSocket, said] of [
      ['/nowhere/docker.sock', 'there is no /nowhere/docker.sock on '],
      [join(sshd.dir, 'file'), 'is not a socket'],
    ] as const) {
      await using world = await worldOf(sshd, { remoteSocket })
      const up = await world.dproxy(['up', 'prod'])
      expect(up.exitCode).toBe(1)
      expect(up.stderr).toContain('dproxy: prod: engine: ')
      expect(up.stderr).toContain(said)
      expect(up.stderr).toContain('remoteSocket:')
      expect(up.stderr).toContain('tried again in the background')
    }
  })

  test('one host that fails stops no other: 3', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using world = await worldOf(sshd, { identityFile: '/nowhere/key' })
    const good = world.entry('good', hostOf(sshd, 'auto'))
    const config = { hosts: { prod: { ssh: 'ssh://me@127.0.0.1:1', socket: world.socket('prod') }, good } }
    await world.config(config)
    await writeFile(world.socket('prod'), 'mine')
    const up = await world.dproxy(['up', '--all', '--lazy'])
    expect(up).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('dproxy: prod: socket: ') })
    expect(up.stdout).toContain('○ idle')
    expect(up.stdout).not.toContain('prod.sock')
  })
})

describe.concurrent('outputs that nobody reads', () => {
  test('a closed pipe, a closed or full output end quietly or in one sentence', async () => {
    await using world = await World.create()
    await world.config({ hosts: { prod: { ssh: 'prod.invalid', socket: world.socket('prod') } } })
    for (const line of ['dproxy status | true', 'dproxy status --json | head -c 1', 'dproxy --help | true']) {
      const result = await sh(world, line)
      expect(result, line).toMatchObject({ exitCode: 0, stderr: '' })
    }
    const closed = await sh(world, 'dproxy status >&-')
    expect(closed.stderr).not.toMatch(/^ {4}at /mu)
    expect([0, 1]).toContain(closed.exitCode)
    const closedBoth = await sh(world, 'dproxy frobnicate >&- 2>&-')
    expect(closedBoth).toMatchObject({ exitCode: 2 })
    const full = await sh(world, 'dproxy status > /dev/full')
    expect(full).toMatchObject({ exitCode: 1, stderr: 'dproxy: cannot write to standard output: ENOSPC' })
    const manyWrites = await sh(world, 'dproxy doctor > /dev/full')
    expect(manyWrites).toMatchObject({
      exitCode: 1,
      stderr: 'dproxy: cannot write to standard output: ENOSPC',
    })
    const fullErr = await sh(world, 'dproxy frobnicate 2> /dev/full')
    expect(fullErr.exitCode).not.toBe(0)
    await leavesNothing(world)
  })

  test('a secret that is not UTF-8 is refused, not stored as something else', async () => {
    await using world = await World.create()
    await world.config({ hosts: { prod: { ssh: 'prod.invalid' } }, secretStore: 'file' })
    const words = ['secret', 'set', 'prod', '--stdin']
    const refused = await world.dproxy(words, { input: Buffer.from('p\xe4ss', 'latin1') })
    expect(refused).toMatchObject({ exitCode: 2, stdout: '' })
    expect(refused.stderr).toMatch(/^dproxy: standard input is not UTF-8 text\n {2}next: /u)
  })

  test('a watcher whose reader leaves ends too', async () => {
    await using world = await World.create()
    await world.config({ hosts: { prod: { ssh: 'prod.invalid', socket: world.socket('prod') } } })
    const result = await sh(world, 'dproxy status --watch --json | head -n 1')
    expect(result).toMatchObject({ exitCode: 0, timedOut: false, stderr: '' })
    expect(Status.parse(JSON.parse(result.stdout)).hosts).toMatchObject([{ name: 'prod', state: 'stopped' }])
    await leavesNothing(world)
  })

  test('without a terminal there are no colours, no redrawing and no question', async () => {
    await using world = await World.create()
    const port = await freePort()
    const entry = { ssh: `ssh://me@127.0.0.1:${port}`, socket: world.socket('prod'), protected: true }
    await world.config({ hosts: { prod: entry } })
    const up = await world.dproxy(['up', 'prod'])
    // eslint-disable-next-line no-control-regex
    expect(up.stderr + up.stdout).not.toMatch(/\u001b/u)
    complains(await world.dproxy(['down', 'prod']), 2, 'prod is protected', 'no terminal to ask at', '--yes')
    expect((await world.dproxy(['status', '--json'])).stdout).toContain('"name":"prod"')
    expect(await world.dproxy(['down', 'prod', '--yes'])).toMatchObject({ exitCode: 0 })
    await leavesNothing(world)
  })
})

describeWith(['script'], 'a question at a terminal', () => {
  test('no means no, and yes means yes', async () => {
    await using world = await World.create()
    const entry = { ssh: 'ssh://me@127.0.0.1:1', socket: world.socket('prod'), protected: true }
    await world.config({ hosts: { prod: entry } })
    await world.dproxy(['up', 'prod', '--lazy'])
    for (const [answer, code] of [
      ['n\r', 1],
      ['\x03', 130],
      ['y\r', 0],
    ] as const) {
      await using terminal = Pty.start([...DPROXY, 'down', 'prod'], {
        env: { ...world.env },
        cwd: world.dir,
      })
      await terminal.sees(/prod is protected: stop anyway\? \[y\/N\]/u)
      terminal.type(answer)
      expect(await terminal.exitCode).toBe(code)
      expect(existsSync(world.socket('prod'))).toBe(code !== 0)
    }
    await leavesNothing(world)
  })
})

/** A world whose host `prod` is to be served at `path`. */
const at = async (path: string): Promise<World> => {
  const world = await World.create()
  const socket = path.startsWith('/') ? path : join(world.dir, 's', path)
  await world.config({ hosts: { prod: { ssh: 'ssh://me@127.0.0.1:1', socket } } })
  return world
}

const lazily = (socket: string) => ['up', '--ssh-host', '127.0.0.1:1', '--local-socket', socket, '--lazy']

const worldOf = async (sshd: Sshd, more: object): Promise<World> => {
  const world = await World.create()
  const entry = world.entry('prod', hostOf(sshd, '/nowhere/docker.sock'))
  await world.config({ hosts: { prod: { ...entry, ...more } } })
  return world
}

const sh = (world: World, line: string) =>
  world.spawn('sh', ['-c', line.replaceAll('dproxy', DPROXY.join(' '))])
