import { chown, mkdir, symlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HostDefinition } from '../../src/control/messages.js'
import { loadRegistry } from '../../src/registry/load.js'
import { Desk, failureOf } from './support.js'

const ONE = (name: string, ssh = 'ssh://me@box.example') => `hosts:\n  ${name}:\n    ssh: ${ssh}\n`

test('without any file there is no host and no error', async () => {
  await using desk = await Desk.create()
  expect(await desk.load()).toEqual({ files: [], hosts: [] })
})

test('every key of a host arrives checked, with paths absolute and durations in milliseconds', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText(`
hosts:
  prod:
    ssh: ssh://deploy@prod.example.com:2222
    description: |
      Production,
      Frankfurt
    tags: [eu, live]
    protected: true
    identityFile: [~/.ssh/id_ed25519, keys/second]
    identitiesOnly: true
    knownHostsFile: ~/.ssh/known_hosts
    remoteSocket: /run/user/1000/docker.sock
    socket: '{home}/{name}-{uid}.sock'
    connectTimeout: 1.5m
    keepAlive: {interval: 500ms, misses: 7}
    lanes: 3
    transport: ssh2
`)
  expect(hosts).toEqual([
    {
      name: 'prod',
      typed: 'prod',
      destination: 'prod.example.com',
      user: 'deploy',
      port: 2222,
      description: 'Production, Frankfurt',
      tags: ['eu', 'live'],
      protected: true,
      identityFiles: [join(desk.home, '.ssh/id_ed25519'), join(desk.project, 'given/keys/second')],
      identitiesOnly: true,
      knownHostsFiles: [join(desk.home, '.ssh/known_hosts')],
      remoteSocket: '/run/user/1000/docker.sock',
      socket: join(desk.home, `prod-${process.getuid?.()}.sock`),
      connectTimeoutMs: 90_000,
      lanes: 3,
      proxyJump: null,
      proxyCommand: null,
      passphraseCommand: null,
      passwordCommand: null,
      secretStore: 'keychain',
      transport: 'ssh2',
      keepAlive: { intervalMs: 500, misses: 7 },
    },
  ])
})

test('a host that says only where to log in gets every default, and fits a request to the supervisor', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText(ONE('lab', 'lab-alias'))
  expect(hosts).toEqual([
    {
      name: 'lab',
      typed: 'lab',
      destination: 'lab-alias',
      user: null,
      port: null,
      description: null,
      tags: [],
      protected: false,
      identityFiles: [],
      identitiesOnly: false,
      knownHostsFiles: null,
      remoteSocket: 'auto',
      socket: '/tmp/docker-lab.sock',
      proxyJump: null,
      proxyCommand: null,
      passphraseCommand: null,
      passwordCommand: null,
      secretStore: 'keychain',
      transport: 'auto',
      connectTimeoutMs: null,
      lanes: null,
      keepAlive: { intervalMs: null, misses: null },
    },
  ])
  const definition: HostDefinition[] = [...hosts]
  expect(HostDefinition.parse(definition[0])).toEqual(hosts[0])
})

test('the defaults and the socket template of a file hold for hosts that do not say otherwise', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText(`
socket: '{runtime}/{name}.sock'
defaults: {connectTimeout: 3s, identityFile: ~/k, keepAlive: {interval: 5s, misses: 9}}
hosts:
  a: {ssh: a}
  b: {ssh: b, connectTimeout: 4s, identityFile: ~/own, keepAlive: {misses: 2}, socket: b.sock}
`)
  expect(hosts).toMatchObject([
    {
      connectTimeoutMs: 3000,
      identityFiles: [join(desk.home, 'k')],
      keepAlive: { intervalMs: 5000, misses: 9 },
      socket: join(desk.env.DPROXY_RUNTIME_DIR ?? '', 'a.sock'),
    },
    {
      connectTimeoutMs: 4000,
      identityFiles: [join(desk.home, 'own')],
      keepAlive: { intervalMs: 5000, misses: 2 },
      socket: join(desk.project, 'given/b.sock'),
    },
  ])
})

test('JSON is read as well, indented with tabs or not', async () => {
  await using desk = await Desk.create()
  const text = '{\n\t"$schema": "./config.schema.json",\n\t"hosts": {\n\t\t"j": {"ssh": "box"}\n\t}\n}\n'
  expect((await desk.loadText(text, 'config.json')).hosts).toMatchObject([{ name: 'j', destination: 'box' }])
})

test('hosts stay in the order of their file', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText('hosts:\n  z: {ssh: z}\n  a: {ssh: a}\n  m: {ssh: m}\n')
  expect(hosts.map(({ name }) => name)).toEqual(['z', 'a', 'm'])
})

test('anchors and aliases are data, and work', async () => {
  await using desk = await Desk.create()
  const text = 'hosts:\n  a: {ssh: a, keepAlive: &slow {interval: 1m}}\n  b: {ssh: b, keepAlive: *slow}\n'
  expect((await desk.loadText(text)).hosts[1]?.keepAlive.intervalMs).toBe(60_000)
})

test.each([
  '.dproxyrc',
  '.dproxyrc.yaml',
  '.dproxyrc.yml',
  '.dproxyrc.json',
  'dproxy.config.yaml',
  'dproxy.config.yml',
  'dproxy.config.json',
])("a project's %s is found from a directory below it, and merged with the user's file", async (name) => {
  await using desk = await Desk.create()
  const project = await desk.write(join(desk.project, name), '{"hosts": {"ours": {"ssh": "ours"}}}')
  await desk.write(desk.userConfig, ONE('mine'))
  await desk.write(join(desk.project, 'package.json'), '{"dproxy": {"hosts": {}}}')
  const deep = join(desk.project, 'a/b/c')
  await mkdir(deep, { recursive: true })
  const registry = await loadRegistry({ env: desk.env, cwd: deep })
  expect(registry.files).toEqual([project, desk.userConfig])
  expect(registry.hosts.map((host) => host.name)).toEqual(['ours', 'mine'])
})

test('the nearest project file is the one that counts', async () => {
  await using desk = await Desk.create()
  await desk.write(join(desk.project, '.dproxyrc'), ONE('far'))
  await desk.write(join(desk.project, 'sub/.dproxyrc'), ONE('near'))
  const { hosts } = await loadRegistry({ env: desk.env, cwd: join(desk.project, 'sub') })
  expect(hosts.map(({ name }) => name)).toEqual(['near'])
})

test('a file named by --config or DPROXY_CONFIG is the only one read, and --config wins', async () => {
  await using desk = await Desk.create()
  await desk.write(desk.userConfig, ONE('mine'))
  await desk.write(join(desk.project, '.dproxyrc'), ONE('ours'))
  const flag = await desk.write(join(desk.project, 'flag.conf'), ONE('flag'))
  const variable = await desk.write(join(desk.home, 'variable.yaml'), ONE('variable'))
  expect(await desk.load('flag.conf')).toMatchObject({ files: [flag], hosts: [{ name: 'flag' }] })
  const byVariable = await desk.load(undefined, { DPROXY_CONFIG: '~/variable.yaml' })
  expect(byVariable).toMatchObject({ files: [variable], hosts: [{ name: 'variable' }] })
  const both = await desk.load('flag.conf', { DPROXY_CONFIG: variable })
  expect(both.files).toEqual([flag])
  expect((await desk.load(undefined, { DPROXY_CONFIG: '' })).files).toHaveLength(2)
})

test('$XDG_CONFIG_HOME moves the file of the user', async () => {
  await using desk = await Desk.create()
  const moved = await desk.write(join(desk.home, 'elsewhere/dproxy/config.yaml'), ONE('moved'))
  await desk.write(desk.userConfig, ONE('mine'))
  const { files } = await desk.load(undefined, { XDG_CONFIG_HOME: join(desk.home, 'elsewhere') })
  expect(files).toEqual([moved])
})

test('a named file that does not exist is told by its whole path and by what named it', async () => {
  await using desk = await Desk.create()
  await desk.write(desk.userConfig, ONE('mine'))
  const byFlag = await failureOf(() => desk.load('nope.yaml'))
  expect(byFlag.code).toBe('CONFIG_MISSING')
  expect(byFlag.message).toBe(`the config file ${join(desk.project, 'nope.yaml')} does not exist`)
  expect(byFlag.hint).toContain('--config')
  const byVariable = await failureOf(() => desk.load(undefined, { DPROXY_CONFIG: '/no/where' }))
  expect(byVariable).toMatchObject({
    code: 'CONFIG_MISSING',
    message: 'the config file /no/where does not exist',
  })
  expect(byVariable.hint).toContain('DPROXY_CONFIG')
  expect((await failureOf(() => desk.load(''))).code).toBe('CONFIG_MISSING')
})

test('a directory, a device, a huge file and text that is not UTF-8 are refused in a sentence', async () => {
  await using desk = await Desk.create()
  const directory = await failureOf(() => desk.load(desk.home))
  expect(directory).toMatchObject({
    code: 'CONFIG_INVALID',
    message: `the config file ${desk.home} is a directory, not a config file`,
  })
  expect((await failureOf(() => desk.load('/dev/null'))).message).toContain('is not a regular file')
  expect((await failureOf(() => desk.loadText('#'.repeat(256 * 1024 + 1)))).message).toContain(
    'larger than 256 KiB',
  )
  expect((await failureOf(() => desk.loadText(Buffer.from([0x68, 0xff, 0xfe])))).message).toContain(
    'not UTF-8',
  )
})

test.skipIf(process.getuid?.() === 0)('a file that we may not read is told as such', async () => {
  await using desk = await Desk.create()
  const path = await desk.write(desk.userConfig, ONE('mine'), 0o000)
  const failure = await failureOf(() => desk.load())
  expect(failure).toMatchObject({ code: 'CONFIG_INVALID', hint: `chmod u+r ${path}` })
})

test.runIf(process.getuid?.() === 0)(
  "another user's file is refused, also behind a link of our own",
  async () => {
    await using desk = await Desk.create()
    const theirs = await desk.write(join(desk.project, 'theirs'), ONE('theirs'))
    await chown(theirs, 65_534, 65_534)
    await symlink(theirs, join(desk.project, '.dproxyrc'))
    const failure = await failureOf(() => desk.load())
    expect(failure).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(failure.message).toContain('belongs to another user (uid 65534)')
  },
)

test('a project file must not redefine a host of the user, not even in other letter case', async () => {
  await using desk = await Desk.create()
  const project = await desk.write(join(desk.project, '.dproxyrc'), `# ours\n${ONE('Prod', 'evil.example')}`)
  await desk.write(desk.userConfig, ONE('prod'))
  const { message } = await failureOf(() => desk.load())
  expect(message).toBe(
    `${project}: 1 problem\n  line 3: hosts.Prod: must not redefine "prod" of your own file ` +
      `(${desk.userConfig}, line 2); choose another name`,
  )
})

test('a project file must not name commands nor take the socket of a host of the user', async () => {
  await using desk = await Desk.create()
  await desk.write(desk.userConfig, ONE('mine'))
  await desk.write(
    join(desk.project, '.dproxyrc'),
    `hosts:
  a: {ssh: a, proxyCommand: [touch, pwned], socket: /tmp/docker-mine.sock}
  b: {ssh: b, passphraseCommand: [id]}
`,
  )
  const { message } = await failureOf(() => desk.load())
  const lines = message.split('\n').slice(1)
  expect(lines).toEqual([
    '  line 2: hosts.a.proxyCommand: must not be set in a project file: it would run a command',
    `  line 2: hosts.a: has the same local socket as "mine" of ${desk.userConfig}: /tmp/docker-mine.sock`,
    '  line 3: hosts.b.passphraseCommand: must not be set in a project file: it would run a command',
  ])
})

test('the problems of both files are told at once', async () => {
  await using desk = await Desk.create()
  await desk.write(join(desk.project, '.dproxyrc'), 'hosts: {a: {}}\n')
  await desk.write(desk.userConfig, 'hosts: {b: {ssh: b, x: 1}}\n')
  const { message } = await failureOf(() => desk.load())
  expect(message.split('\n')).toEqual([
    `${join(desk.project, '.dproxyrc')}: 1 problem`,
    '  line 1: hosts.a.ssh: is missing',
    `${desk.userConfig}: 1 problem`,
    '  line 1: hosts.b: unknown key "x"',
  ])
})

test('the environment decides where home is, not the machine', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText('hosts: {a: {ssh: a, identityFile: ~/k}}\n')
  expect(hosts[0]?.identityFiles[0]?.startsWith(homedir())).toBe(false)
})
