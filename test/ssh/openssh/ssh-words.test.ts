import { expect, test } from 'vitest'
import { resolveTarget } from '../../../src/ssh/config/resolve.js'
import { sshEnvironment, sshWords } from '../../../src/ssh/openssh/ssh-words.js'
import type { Target } from '../../../src/ssh/target.js'
import { ANY_TARGET, never } from '../support.js'
import { PLAIN_ENV } from './support.js'

const resolved = await resolveTarget(ANY_TARGET, PLAIN_ENV, never)

const words = (target: Partial<Target>, alias = resolved.alias, version = 9.2) =>
  sshWords({ ...ANY_TARGET, ...target }, { ...resolved, alias }, PLAIN_ENV, version)

test('names that could become an option or a shell word are refused, wherever they stand', () => {
  const bad = ['-oProxyCommand=x', '$(id)', 'a;b', 'a`id`', 'a b', 'a\nb', "a'b", '']
  for (const name of bad) {
    const refused = expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error
    expect(() => words({}, name)).toThrow(refused)
    const hop = { destination: name, user: null, port: null }
    expect(() => words({ proxyJump: [hop] })).toThrow(refused)
  }
  for (const user of ['-oProxyCommand=x', 'a;b', 'a`id`', '']) {
    const refused = expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error
    expect(() => words({ user })).toThrow(refused)
    expect(() => words({ proxyJump: [{ destination: 'bastion', user, port: null }] })).toThrow(refused)
  }
  expect(() => words({ identityFiles: ['/home/${HOME}/key'] })).toThrow(/must not have \$\{/u)
  expect(() => words({ identityFiles: ['/home/"; x'] })).toThrow(/must not have "/u)
})

test('the destination comes last, behind what ends the options', () => {
  expect(words({ user: 'deploy', port: 2222 }).slice(-6)).toEqual([
    '-l',
    'deploy',
    '-p',
    '2222',
    '--',
    '127.0.0.1',
  ])
})

test('jump hosts are named as ssh names them; none at all means none', () => {
  const hops = [
    { destination: 'bastion', user: 'me', port: 22 },
    { destination: '::1', user: null, port: null },
  ]
  expect(words({ proxyJump: hops })).toContain('me@bastion:22,[::1]')
  expect(words({ proxyJump: [] })).toContain('ProxyJump=none')
  expect(words({}).join(' ')).not.toContain('ProxyJump')
})

test('an older ssh is not given options that it does not know', () => {
  expect(words({}, 'prod', 8.4).join(' ')).not.toContain('ForkAfterAuthentication')
  expect(words({}, 'prod', 8.7)).toContain('ForkAfterAuthentication=no')
})

test('the environment is the one given, in the plain locale, without a window to ask in', () => {
  const env = sshEnvironment(ANY_TARGET, resolved, {
    HOME: '/home/me',
    LC_ALL: 'de_DE.UTF-8',
    SSH_AUTH_SOCK: '/agent',
  })
  expect(env).toEqual({
    HOME: '/home/me',
    LC_ALL: 'C',
    SSH_AUTH_SOCK: '/agent',
    SSH_ASKPASS_REQUIRE: 'never',
  })
})
