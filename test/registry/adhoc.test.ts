import { expect, test } from 'vitest'
import { HostDefinition } from '../../src/control/messages.js'
import { hostFromFlags, hostFromUrl } from '../../src/registry/adhoc.js'
import { failureOf } from './support.js'

const env = { HOME: '/home/me', DPROXY_RUNTIME_DIR: '/run/me' }

test('an address on the command line becomes a host named after it', () => {
  const host = hostFromUrl('ssh://deploy@prod.example.com:22', env)
  expect(host).toMatchObject({
    name: 'prod.example.com',
    destination: 'prod.example.com',
    user: 'deploy',
    port: 22,
    socket: '/tmp/docker-prod.example.com.sock',
    remoteSocket: 'auto',
    connectTimeoutMs: null,
  })
  expect(HostDefinition.parse(host)).toEqual(host)
})

test.each([
  ['ssh://box', 'box'],
  ['ssh://BOX', 'box'],
  ['ssh://box:2222', 'box-2222'],
  ['ssh://10.0.0.1:2222', '10.0.0.1-2222'],
  ['ssh://[fe80::1%25eth0]', 'fe80-1-eth0'],
  ['ssh://[::1]:2222', '1-2222'],
  ['ssh://_box', 'box'],
  ['ssh://caf\u00e9.example', 'caf-.example'],
  ['ssh://\u00e9', 'host'],
  [`ssh://${'a'.repeat(80)}:2222`, `${'a'.repeat(58)}-2222`],
])('%s is named %s', (url, name) => {
  const host = hostFromUrl(url, env)
  expect(host.name).toBe(name)
  expect(HostDefinition.safeParse(host).success).toBe(true)
})

test.each(['box', 'http://box', 'ssh://', 'ssh://me:hunter2@box', 'ssh://box/x', 'ssh://-oProxyCommand=x'])(
  'the address %s is refused in a sentence that does not repeat it',
  async (url) => {
    const failure = await failureOf(() => hostFromUrl(url, env))
    expect(failure.code).toBe('USAGE')
    expect(failure.message).toMatch(/^the ssh:\/\/ address must /u)
    expect(failure.message).not.toContain('hunter2')
  },
)

test('the flags describe a host', () => {
  const flags = {
    sshHost: 'box:2222',
    sshUser: 'deploy',
    sshKey: 'keys/id',
    localSocket: '~/box.sock',
    remoteSocket: '/run/docker.sock',
    timeout: '3s',
  }
  expect(hostFromFlags(flags, env, '/work')).toMatchObject({
    name: 'box-2222',
    destination: 'box',
    port: 2222,
    user: 'deploy',
    identityFiles: ['/work/keys/id'],
    socket: '/home/me/box.sock',
    remoteSocket: '/run/docker.sock',
    connectTimeoutMs: 3000,
  })
})

test('--ssh-host alone is enough, an IPv6 address included', () => {
  expect(hostFromFlags({ sshHost: '[::1]:22' }, env, '/')).toMatchObject({
    name: '1',
    destination: '::1',
    port: 22,
    user: null,
    socket: '/tmp/docker-1.sock',
  })
  expect(hostFromFlags({ sshHost: 'box', timeout: '7' }, env, '/').connectTimeoutMs).toBe(7000)
})

test.each([
  [{}, '--ssh-host is missing'],
  [{ sshUser: 'me' }, '--ssh-host is missing'],
  [{ sshHost: '' }, '--ssh-host must name a host'],
  [{ sshHost: 'me@box' }, '--ssh-host must be a host alone'],
  [{ sshHost: '-oProxyCommand=x' }, '--ssh-host must not have a host name that begins with "-"'],
  [{ sshHost: 'box:0' }, '--ssh-host must have a port from 1 to 65535'],
  [{ sshHost: '[::1' }, '--ssh-host must have an IPv6 address between'],
  [{ sshHost: 'b', sshUser: '' }, '--ssh-user must name a user'],
  [{ sshHost: 'b', sshUser: '$(id);' }, '--ssh-user must not have ( in the user name'],
  [{ sshHost: 'b', sshKey: '' }, '--ssh-key must not be empty'],
  [{ sshHost: 'b', localSocket: '/tmp/{x}' }, '--local-socket must not have the unknown placeholder {x}'],
  [{ sshHost: 'b', localSocket: `/${'x'.repeat(300)}` }, '--local-socket is too long'],
  [{ sshHost: 'b', remoteSocket: 'docker.sock' }, '--remote-socket must be auto or an absolute path'],
  [{ sshHost: 'b', timeout: 'soon' }, '--timeout must be a duration'],
  [{ sshHost: 'b', timeout: '-1s' }, '--timeout must be a duration'],
])('%j is refused, naming the flag', async (flags, sentence) => {
  const failure = await failureOf(() => hostFromFlags(flags, env, '/'))
  expect(failure.code).toBe('USAGE')
  expect(failure.message.startsWith(sentence)).toBe(true)
})
