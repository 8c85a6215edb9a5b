import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ownUserName } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import { resolveTarget } from '../../src/ssh/resolve.js'
import type { Resolved, Target } from '../../src/ssh/target.js'
import { describeWith } from '../testbed/describe-with.js'
import { TempDir } from '../testbed/temp-dir.js'
import { never } from './support.js'

const HOME = '/home/of/mine'

const target = (destination: string, changes: Partial<Target> = {}): Target => ({
  destination,
  user: null,
  port: null,
  identityFiles: [],
  identitiesOnly: false,
  knownHostsFiles: null,
  connectTimeoutMs: 5000,
  ...changes,
})

const CONFIG = `
Host prod
  HostName PROD.example.com
  User deploy
  Port 2222
  IdentityFile ~/.ssh/prod
  IdentityFile %d/.ssh/second
  IdentityFile "/keys/with blank"
  IdentitiesOnly yes
  UserKnownHostsFile /my/prod_hosts /etc/prod_hosts
  GlobalKnownHostsFile none
Host aliased
  HostName 10.0.0.1
  Port 2200
  HostKeyAlias The-Alias
Host v6
  HostName ::1
Host jumper
  ProxyJump bastion
Host tunnel
  ProxyCommand nc %h %p
Host direct
  ProxyJump none
Match host *.internal
  User matched
`

const resolve = async (asked: Target, config = CONFIG): Promise<Resolved> => {
  await using scope = new Scope()
  const file = join(scope.use(await TempDir.create()).path, 'config')
  await writeFile(file, config)
  const resolved = await resolveTarget(asked, { HOME, DPROXY_SSH_CONFIG: file }, never)
  return resolved
}

describeWith(['sshd'], "what ssh's own configuration says of a target", () => {
  test('fills in whatever the target leaves open', async () => {
    expect(await resolve(target('prod'))).toEqual({
      host: 'prod.example.com',
      port: 2222,
      user: 'deploy',
      identityFiles: [`${HOME}/.ssh/prod`, `${HOME}/.ssh/second`, '/keys/with blank'],
      identitiesNamed: false,
      identitiesOnly: true,
      knownHostsFiles: ['/my/prod_hosts', '/etc/prod_hosts'],
      hostKeyName: '[prod.example.com]:2222',
    })
  })

  test('gives way to what the target says', async () => {
    const asked = target('prod', {
      user: 'me',
      port: 22,
      identityFiles: ['/my/key'],
      knownHostsFiles: ['/my/hosts'],
    })
    expect(await resolve(asked)).toEqual({
      host: 'prod.example.com',
      port: 22,
      user: 'me',
      identityFiles: ['/my/key'],
      identitiesNamed: true,
      // The IdentitiesOnly of ssh_config belongs to its own identity files.
      identitiesOnly: false,
      knownHostsFiles: ['/my/hosts'],
      hostKeyName: 'prod.example.com',
    })
  })

  test('names the host key by the alias, without a port', async () => {
    expect(await resolve(target('aliased'))).toMatchObject({ host: '10.0.0.1', hostKeyName: 'the-alias' })
  })

  test('is asked as the user who logs in', async () => {
    expect(await resolve(target('db.internal'))).toMatchObject({ host: 'db.internal', user: 'matched' })
    expect(await resolve(target('db.internal', { user: 'me' }))).toMatchObject({ user: 'me' })
  })

  test('may be empty', async () => {
    expect(await resolve(target('Somewhere.Example.COM'), '')).toMatchObject({
      host: 'somewhere.example.com',
      port: 22,
      user: ownUserName(),
      hostKeyName: 'somewhere.example.com',
      knownHostsFiles: expect.arrayContaining(['/etc/ssh/ssh_known_hosts']) as string[],
      identityFiles: expect.arrayContaining([`${HOME}/.ssh/id_ed25519`]) as string[],
    })
  })

  test('knows IPv6 addresses', async () => {
    expect(await resolve(target('v6'))).toMatchObject({ host: '::1', hostKeyName: '::1' })
    expect(await resolve(target('::1', { port: 2222 }))).toMatchObject({
      host: '::1',
      hostKeyName: '[::1]:2222',
    })
  })

  test.each([
    ['jumper', 'ProxyJump bastion'],
    ['tunnel', 'ProxyCommand nc %h %p'],
  ])('that leads through a proxy is refused: %s', async (name, what) => {
    await expect(resolve(target(name))).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
      stage: 'resolve',
      message: expect.stringContaining(what) as string,
    })
  })

  test('that names a list of revoked host keys is refused: the list could not be obeyed', async () => {
    const config = 'Host listed\n  RevokedHostKeys /etc/ssh/revoked\n'
    await expect(resolve(target('listed'), config)).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
      message: expect.stringContaining('RevokedHostKeys /etc/ssh/revoked') as string,
    })
  })

  test('that says "none" of a proxy is no proxy', async () => {
    expect(await resolve(target('direct'))).toMatchObject({ host: 'direct' })
  })

  test('is an error that says file, line and word where it cannot be read', async () => {
    await expect(resolve(target('prod'), 'Host prod\n  NoSuchWord yes\n')).rejects.toMatchObject({
      code: 'RESOLVE_FAILED',
      stage: 'resolve',
      message: expect.stringMatching(/line 2: Bad configuration option: nosuchword/u) as string,
    })
  })

  test('never takes a destination for an option', async () => {
    await expect(resolve(target('-oProxyCommand=touch /tmp/dptb-owned'))).rejects.toMatchObject({
      code: 'RESOLVE_FAILED',
    })
  })
})

test('without ssh on the machine the defaults count', async () => {
  const before = process.env.PATH
  process.env.PATH = '/nonexistent'
  try {
    expect(await resolveTarget(target('Example.com', { port: 2222 }), { HOME }, never)).toEqual({
      host: 'example.com',
      port: 2222,
      user: ownUserName(),
      identityFiles: ['id_ed25519', 'id_ecdsa', 'id_rsa'].map((name) => `${HOME}/.ssh/${name}`),
      identitiesNamed: false,
      identitiesOnly: false,
      knownHostsFiles: [`${HOME}/.ssh/known_hosts`, `${HOME}/.ssh/known_hosts2`, '/etc/ssh/ssh_known_hosts'],
      hostKeyName: '[example.com]:2222',
    })
  } finally {
    process.env.PATH = before
  }
})
