import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Desk, problemsIn } from './support.js'

test('a single-host file becomes the host default', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText(`
local_socket: ~/docker.sock
ssh_user: deploy
ssh_host: prod.example.com:2222
ssh_key_path: ~/.ssh/key
remote_socket: /var/run/docker.sock
timeout: 30
`)
  expect(hosts).toEqual([
    {
      name: 'default',
      typed: 'default',
      destination: 'prod.example.com',
      user: 'deploy',
      port: 2222,
      identityFiles: [join(desk.home, '.ssh/key')],
      identitiesOnly: false,
      knownHostsFiles: null,
      remoteSocket: '/var/run/docker.sock',
      socket: join(desk.home, 'docker.sock'),
      connectTimeoutMs: 30_000,
      lanes: null,
      proxyJump: null,
      proxyCommand: null,
      passphraseCommand: null,
      passwordCommand: null,
      secretStore: 'keychain',
      transport: 'auto',
      keepAlive: { intervalMs: null, misses: null },
      protected: false,
      description: null,
      tags: [],
    },
  ])
})

test('only the host is needed, and the timeout may have a unit', async () => {
  await using desk = await Desk.create()
  const { hosts } = await desk.loadText('ssh_host: "[::1]:22"\ntimeout: 500ms\nssh_user:\n')
  expect(hosts[0]).toMatchObject({
    destination: '::1',
    port: 22,
    user: null,
    socket: '/tmp/docker-default.sock',
    remoteSocket: 'auto',
    connectTimeoutMs: 500,
    identityFiles: [],
  })
})

test('all of its problems are told at once, with the nearest of its own keys', async () => {
  expect(
    await problemsIn(`ssh_usr: me
remote_socket: docker.sock
timeout: soon
ssh_key_path: [a]
ssh_user: -rf
`),
  ).toEqual([
    'line 1: unknown key "ssh_usr", did you mean "ssh_user"?',
    'line 1: ssh_host: is missing',
    'line 2: remote_socket: must be auto or an absolute path',
    'line 3: timeout: must be a duration with its unit, such as 500ms, 10s or 2m',
    'line 4: ssh_key_path: must be text',
    'line 5: ssh_user: must not have a user name that begins with "-"',
  ])
})

test.each([
  ['ssh_host:\nssh_user: me\n', 'line 1: ssh_host: is empty; it must be a host or host:port'],
  ['ssh_host: ""\n', 'line 1: ssh_host: must name a host'],
  ['ssh_host: me@box\n', 'line 1: ssh_host: must be a host alone; its user is named beside it'],
  ['ssh_host: box:99999\n', 'line 1: ssh_host: must have a port from 1 to 65535 behind the ":"'],
  ['ssh_host: box\ntimeout: 0\n', 'line 2: timeout: must be a duration from 1ms to 24h'],
])('%j is refused', async (text, problem) => {
  expect(await problemsIn(text)).toEqual([problem])
})

test('beside hosts, the keys of a single-host file are unknown', async () => {
  expect(await problemsIn('hosts: {a: {ssh: a}}\nssh_host: box\n')).toEqual([
    'line 2: unknown key "ssh_host"',
  ])
})

test('a socket path too long is a problem of its key', async () => {
  const [problem] = await problemsIn(`ssh_host: box\nlocal_socket: /tmp/${'s'.repeat(200)}\n`)
  expect(problem).toMatch(/^line 2: local_socket: the socket path .* has 205 bytes/u)
})
