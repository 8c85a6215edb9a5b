import { existsSync } from 'node:fs'
import { chmod, readFile } from 'node:fs/promises'
import { hostname, userInfo } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ownUid, ownUserName } from '../../../src/base/paths.js'
import { resolveTarget } from '../../../src/ssh/config/resolve.js'
import type { Resolved } from '../../../src/ssh/target.js'
import { describeWith } from '../../testbed/describe-with.js'
import { isAlive } from '../../testbed/processes.js'
import { until } from '../../testbed/until.js'
import { Desk, never, target } from './support.js'

const HOME = userInfo().homedir
const ANY_TEXT = expect.any(String) as string

describeWith(['sshd'], "ssh's own configuration", () => {
  test('fills in whatever the target leaves open', async () => {
    await using desk = await Desk.create('Host other\n  User wrong\n')
    expect(await desk.resolve('Somewhere.Example.COM')).toEqual({
      typed: 'prod',
      alias: 'Somewhere.Example.COM',
      host: 'somewhere.example.com',
      port: 22,
      user: ownUserName(),
      route: { kind: 'direct' },
      identityFiles: expect.arrayContaining([
        `${HOME}/.ssh/id_rsa`,
        `${HOME}/.ssh/id_ecdsa`,
        `${HOME}/.ssh/id_ed25519`,
      ]) as string[],
      identitiesNamed: false,
      identitiesOnly: false,
      agent: 'environment',
      methods: ['publickey', 'keyboard-interactive', 'password'],
      knownHostsFiles: [
        `${HOME}/.ssh/known_hosts`,
        `${HOME}/.ssh/known_hosts2`,
        '/etc/ssh/ssh_known_hosts',
        '/etc/ssh/ssh_known_hosts2',
      ],
      revokedHostKeysFile: null,
      neverAskHostKey: false,
      hostKeyName: { host: 'somewhere.example.com', port: 22, alias: null },
      algorithms: {},
      connectTimeoutMs: 10_000,
      keepAlive: { intervalMs: 15_000, misses: 3 },
      onlyOpenssh: null,
    } satisfies Resolved)
  })

  const TOLD: [line: string, told: Partial<Resolved>][] = [
    ['HostName PROD.example.com', { host: 'prod.example.com', alias: 'prod' }],
    ['HostName %h.example.com', { host: 'prod.example.com' }],
    ['HostName 0:0::1', { host: '::1', hostKeyName: { host: '::1', port: 22, alias: null } }],
    ['User deploy', { user: 'deploy' }],
    ['User "a user"', { user: 'a user' }],
    ['Port 2222', { port: 2222, hostKeyName: { host: 'prod', port: 2222, alias: null } }],
    ['IdentityFile ~/.ssh/prod', { identityFiles: [`${HOME}/.ssh/prod`], identitiesNamed: false }],
    ['IdentityFile "/keys/with blank"', { identityFiles: ['/keys/with blank'] }],
    ['IdentityFile none', { identityFiles: [] }],
    ['IdentitiesOnly yes', { identitiesOnly: true }],
    ['IdentityAgent none', { agent: 'none' }],
    ['IdentityAgent SSH_AUTH_SOCK', { agent: 'environment' }],
    ['IdentityAgent /run/%r@%h.sock', { agent: { socket: `/run/${ownUserName()}@prod.sock` } }],
    ['IdentityAgent ~/agent', { agent: { socket: `${HOME}/agent` } }],
    ['IdentityAgent $MINE', { agent: { socket: '/run/mine.sock' } }],
    ['IdentityAgent ${MINE}', { agent: { socket: '/run/mine.sock' } }],
    ['IdentityAgent $NOT_SET', { agent: 'none' }],
    ['HostKeyAlias The-Alias', { hostKeyName: { host: 'prod', port: 22, alias: 'the-alias' } }],
    [
      'UserKnownHostsFile none',
      // Not the machine's file first, where a key that is accepted would be stored.
      { knownHostsFiles: ['/dev/null', '/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2'] },
    ],
    ['RevokedHostKeys /etc/ssh/revoked', { revokedHostKeysFile: '/etc/ssh/revoked' }],
    ['RevokedHostKeys "~/those revoked"', { revokedHostKeysFile: `${HOME}/those revoked` }],
    ['StrictHostKeyChecking yes', { neverAskHostKey: true }],
    ['StrictHostKeyChecking accept-new', { neverAskHostKey: false }],
    ['RevokedHostKeys none', { revokedHostKeysFile: null }],
    ['ServerAliveInterval 2m', { keepAlive: { intervalMs: 120_000, misses: 3 } }],
    ['ServerAliveInterval 0', { keepAlive: { intervalMs: 15_000, misses: 3 } }],
    ['ServerAliveInterval 4000000', { keepAlive: { intervalMs: 86_400_000, misses: 3 } }],
    ['ConnectTimeout 4000000', { connectTimeoutMs: 86_400_000 }],
    ['ServerAliveCountMax 7', { keepAlive: { intervalMs: 15_000, misses: 7 } }],
    ['ConnectTimeout 1m', { connectTimeoutMs: 60_000 }],
    ['PubkeyAuthentication no', { methods: ['keyboard-interactive', 'password'] }],
    ['PasswordAuthentication no', { methods: ['publickey', 'keyboard-interactive'] }],
    ['KbdInteractiveAuthentication no', { methods: ['publickey', 'password'] }],
    ['BatchMode yes', { methods: ['publickey'] }],
    ['PreferredAuthentications password,gssapi-with-mic,publickey', { methods: ['password', 'publickey'] }],
    ['ProxyJump none', { route: { kind: 'direct' } }],
    ['ProxyCommand none', { route: { kind: 'direct' } }],
    ['# Port 2222', { port: 22 }],
  ]
  test.each(TOLD)('counts: %s', async (line, told) => {
    await using desk = await Desk.create(`Host prod\n  ${line}\n`)
    const env = { MINE: '/run/mine.sock' }
    expect(await desk.resolve('prod', {}, env)).toMatchObject(told)
    expect(await desk.resolve('other', {}, env)).toMatchObject({ host: 'other', port: 22, onlyOpenssh: null })
  })

  test('names known_hosts files with blanks, several of them, for the user and for the machine', async () => {
    await using desk = await Desk.create(`
      UserKnownHostsFile "/my hosts/of %h" ~/.ssh/kh_%n \${PLACE}/kh
      GlobalKnownHostsFile /etc/x "/etc/y z"`)
    expect(await desk.resolve('prod', {}, { PLACE: '/some/where' })).toMatchObject({
      knownHostsFiles: ['/my hosts/of prod', `${HOME}/.ssh/kh_prod`, '/some/where/kh', '/etc/x', '/etc/y z'],
    })
  })

  test('has every token of ssh_config(5) in the names of identity files', async () => {
    await using desk = await Desk.create(`
      Host prod
        HostName 10.0.0.7
        User deploy
        Port 2200
        HostKeyAlias its-name
        IdentityFile %%/%d/%h/%i/%k/%L/%l/%n/%p/%r/%u/\${PLACE}
        IdentityFile /%C`)
    const [first, second] = (await desk.resolve('prod', {}, { PLACE: '%h' })).identityFiles
    const short = hostname().split('.')[0]
    expect(first).toBe(
      `%/${HOME}/10.0.0.7/${ownUid()}/its-name/${short}/${hostname()}/prod/2200/deploy/${ownUserName()}/%h`,
    )
    expect(second).toMatch(/^\/[0-9a-f]{40}$/u)
  })

  test.each([
    ['IdentityFile /keys/%z', /IdentityFile has the token %z, which ssh does not know/u],
    ['IdentityFile /keys/%', /IdentityFile has the token %, /u],
    ['IdentityFile ${NOT_SET}/key', /IdentityFile .*needs the environment variable NOT_SET/u],
    ['UserKnownHostsFile ${NOT_SET}/kh', /NOT_SET/u],
    ['ProxyCommand nc %h %z', /ProxyCommand has the token %z/u],
    ['NoSuchWord yes', /config: line 2: Bad configuration option: nosuchword/u],
    ['Port many', /config line 2: Bad number|config line 2:.*many/u],
    ['HostName a;b', /HostName "a;b".* must not have ; in the host name/u],
    ['HostName -oProxyCommand=x', /must not have a host name that begins with "-"/u],
  ])('is an error that says what and where, with: %s', async (line, message) => {
    await using desk = await Desk.create(`Host prod\n  ${line}\n`)
    expect(await desk.failure('prod')).toMatchObject({
      code: 'CONFIG_INVALID',
      stage: 'resolve',
      message: expect.stringMatching(message) as string,
      hint: ANY_TEXT,
    })
  })

  test('follows Host with negation, Match and Include, and takes the first value', async () => {
    await using desk = await Desk.create()
    const more = await desk.write('more config', 'Host *.internal\n  Port 2200\n  User included\n')
    await desk.write(
      'config',
      `Include "${more}"
       Host *.example.com !bad.example.com
         User outside
       Match host *.internal user me
         IdentityFile /keys/of-me
       Match originalhost box exec "test %h = box"
         HostName 10.0.0.1
       Host *
         Port 2222`,
    )
    expect(await desk.resolve('db.internal')).toMatchObject({ user: 'included', port: 2200 })
    expect(await desk.resolve('db.internal', { user: 'me' })).toMatchObject({
      user: 'me',
      identityFiles: ['/keys/of-me'],
    })
    expect(await desk.resolve('a.example.com')).toMatchObject({ user: 'outside', port: 2222 })
    expect(await desk.resolve('bad.example.com')).toMatchObject({ user: ownUserName() })
    expect(await desk.resolve('box')).toMatchObject({ host: '10.0.0.1' })
  })

  test('is not waited for when a command of Match exec hangs, and the command does not stay behind', async () => {
    await using desk = await Desk.create()
    await desk.write('config', `Match exec "echo $$ >${desk.path('pid')}; exec sleep 600"\n  Port 2222\n`)
    const started = performance.now()
    const failure = await desk.failure('prod', { connectTimeoutMs: 700 })
    expect(performance.now() - started).toBeLessThan(3000)
    expect(failure).toMatchObject({ code: 'RESOLVE_FAILED', stage: 'resolve' })
    expect(failure.message).toBe('ssh did not tell its configuration for prod within 700 ms')
    expect(failure.hint).toContain('Match exec')
    const pid = Number(await readFile(desk.path('pid'), 'utf8'))
    expect(pid).toBeGreaterThan(0)
    await until('the command is gone', () => !isAlive(pid))
  })

  test('is not asked at all when the wait for it was given up before', async () => {
    await using desk = await Desk.create('Host other\n  User wrong\n')
    const unheard: unknown[] = []
    const hear = (failure: unknown) => unheard.push(failure)
    process.on('unhandledRejection', hear)
    try {
      const over = AbortSignal.abort(new Error('given up'))
      await expect(resolveTarget(target('prod'), desk.env(), over)).rejects.toThrow('given up')
      // A child that was started all the same would be killed, and tell so a moment later.
      await sleep(300)
      expect(unheard).toEqual([])
    } finally {
      process.off('unhandledRejection', hear)
    }
  })

  test('is not asked for by whoever has left, and no longer by whoever leaves meanwhile', async () => {
    await using desk = await Desk.create()
    const asked = desk.path('asked')
    await chmod(await desk.write('ssh', `#!/bin/sh\necho $$ >${asked}\nexec sleep 600\n`), 0o755)
    const env = desk.env({ PATH: `${desk.dir}:${process.env.PATH}` })
    const left = AbortSignal.abort(new Error('left'))
    await expect(resolveTarget(target('prod'), env, left)).rejects.toThrow('left')
    const leaving = new AbortController()
    const resolving = resolveTarget(target('prod'), env, leaving.signal)
    resolving.catch(() => undefined)
    const pid = await until('ssh is asked', async () => Number(await readFile(asked, 'utf8')))
    leaving.abort(new Error('gone meanwhile'))
    await expect(resolving).rejects.toThrow('gone meanwhile')
    await until('ssh is gone', () => !isAlive(pid))
  })

  test('gives way to each thing that the target says itself', async () => {
    await using desk = await Desk.create(`
      User deploy
      Port 2222
      IdentityFile /their/key
      IdentitiesOnly yes
      UserKnownHostsFile /their/hosts
      GlobalKnownHostsFile /their/global
      ConnectTimeout 60
      ServerAliveInterval 60
      ServerAliveCountMax 9`)
    const said = {
      user: 'me',
      port: 22,
      identityFiles: ['/my/key'],
      knownHostsFiles: ['/my/hosts'],
      connectTimeoutMs: 5000,
      keepAlive: { intervalMs: 1000, misses: 2 },
    }
    expect(await desk.resolve('prod', said)).toMatchObject({
      ...said,
      identitiesNamed: true,
      // The IdentitiesOnly of ssh_config belongs to its own identity files.
      identitiesOnly: false,
    })
    expect(await desk.resolve('prod', { keepAlive: { intervalMs: 1000, misses: null } })).toMatchObject({
      keepAlive: { intervalMs: 1000, misses: 9 },
    })
  })

  test('knows IPv6 addresses', async () => {
    await using desk = await Desk.create()
    expect(await desk.resolve('::1', { port: 2222 })).toMatchObject({
      host: '::1',
      hostKeyName: { host: '::1', port: 2222, alias: null },
    })
  })

  test.each([
    ['-oProxyCommand=touch owned', {}],
    ['$(id)', {}],
    ['a;b', {}],
    ['a\nb', {}],
    ['a\u001b[2Jb', {}],
    ['prod', { user: '-oProxyCommand=x' }],
    ['prod', { user: '$(id)' }],
    ['prod', { user: 'a;b' }],
    ['prod', { user: 'a\nb' }],
  ])('is never asked about a name that OpenSSH itself would refuse: %j %j', async (name, changes) => {
    await using desk = await Desk.create()
    // Stands in for ssh, and tells on us.
    await chmod(await desk.write('ssh', `#!/bin/sh\necho asked >>${desk.path('asked')}\n`), 0o755)
    const failure = await desk.failure(name, changes, { PATH: desk.dir })
    expect(existsSync(desk.path('asked'))).toBe(false)
    await desk.resolve('good', {}, { PATH: desk.dir })
    expect(existsSync(desk.path('asked'))).toBe(true)
    expect(failure).toMatchObject({ code: 'CONFIG_INVALID', stage: 'resolve' })
    expect(failure.message).toMatch(/ must not have /u)
    // eslint-disable-next-line no-control-regex
    expect(failure.message + failure.hint).not.toMatch(/[\u0000-\u001f]/u)
  })
})

test('without ssh on the machine its defaults count', async () => {
  const env = { PATH: '/nonexistent', DPROXY_SSH_CONFIG: 'none' }
  expect(await resolveTarget(target('Example.com', { port: 2222 }), env, never)).toMatchObject({
    host: 'example.com',
    port: 2222,
    user: ownUserName(),
    route: { kind: 'direct' },
    identityFiles: ['id_rsa', 'id_ecdsa', 'id_ed25519'].map((name) => `${HOME}/.ssh/${name}`),
    agent: 'environment',
    methods: ['publickey', 'keyboard-interactive', 'password'],
    knownHostsFiles: [
      `${HOME}/.ssh/known_hosts`,
      `${HOME}/.ssh/known_hosts2`,
      '/etc/ssh/ssh_known_hosts',
      '/etc/ssh/ssh_known_hosts2',
    ],
    hostKeyName: { host: 'example.com', port: 2222, alias: null },
    algorithms: {},
    connectTimeoutMs: 10_000,
    keepAlive: { intervalMs: 15_000, misses: 3 },
  })
})

test('without ssh on the machine a configuration that says something is not passed over', async () => {
  await using desk = await Desk.create('# nothing\n\n')
  const gone = { PATH: '/nonexistent' }
  expect(await desk.resolve('prod', {}, gone)).toMatchObject({ host: 'prod' })
  await desk.write('config', '# nothing\nHost prod\n  HostName elsewhere\n')
  expect(await desk.failure('prod', {}, gone)).toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(
      /config cannot be obeyed, since the ssh program .* was not found/u,
    ) as string,
    hint: expect.stringMatching(/DPROXY_SSH_CONFIG=none/u) as string,
  })
})
