import { expect, test } from 'vitest'
import { describeWith } from '../../testbed/describe-with.js'
import { Desk, target } from './support.js'

const hop = (destination: string, user: string | null = null, port: number | null = null) => ({
  destination,
  user,
  port,
})

const names = (count: number) => Array.from({ length: count }, (_, at) => `h${at}`)

describeWith(['sshd'], 'ProxyJump', () => {
  test.each([
    ['bastion', [hop('bastion')]],
    ['me@bastion:2222', [hop('bastion', 'me', 2222)]],
    ['a,b@c,d:22', [hop('a'), hop('c', 'b'), hop('d', null, 22)]],
    ['127.0.0.1:2222', [hop('127.0.0.1', null, 2222)]],
    ['me@[::1]:2222,[fe80::1]', [hop('::1', 'me', 2222), hop('fe80::1')]],
    ['ssh://me@a:2222/,ssh://b', [hop('a', 'me', 2222), hop('b')]],
    ['user@with@at', [hop('at', 'user@with')]],
    ['%r@jump-%n-%h-%p', [hop('jump-prod-10.0.0.1-2200', 'deploy')]],
  ])('names the hosts to go through, in order: %s', async (said, hops) => {
    await using desk = await Desk.create(
      `Host prod\n  HostName 10.0.0.1\n  Port 2200\n  User deploy\n  ProxyJump ${said}\n`,
    )
    expect((await desk.resolve('prod')).route).toEqual({ kind: 'jump', hops })
  })

  test.each([
    ['$(id)', /must not have [$(] in the host name/u],
    ['a;b', /must not have ; in the host name/u],
    ['-oProxyCommand=x', /begins with "-"/u],
    ['-l@host', /user name that begins with "-"/u],
    ['a`id`@host', /must not have ` in the user name/u],
    ['good,b;d', /must not have ; in the host name/u],
    ['a:0', /port from 1 to 65535|not be parsed|[Bb]ad|[Ii]nvalid/u],
  ])('is refused where ssh would refuse the name, or should: %s', async (said, message) => {
    await using desk = await Desk.create(`Host prod\n  ProxyJump ${said}\n`)
    const failure = await desk.failure('prod')
    expect(failure).toMatchObject({ code: 'CONFIG_INVALID', stage: 'resolve' })
    expect(failure.message).toMatch(message)
  })

  test('of the target itself overrides both keywords, and none of them means direct', async () => {
    await using desk = await Desk.create(
      'Host prod\n  ProxyJump bastion\nHost lab\n  ProxyCommand nc %h %p\n',
    )
    const own = { proxyJump: [hop('mine', 'me')] }
    for (const name of ['prod', 'lab']) {
      expect((await desk.resolve(name, own)).route).toEqual({ kind: 'jump', hops: own.proxyJump })
      expect((await desk.resolve(name, { proxyJump: [] })).route).toEqual({ kind: 'direct' })
      expect((await desk.resolve(name, { proxyCommand: ['nc', '%h'] })).route).toEqual({
        kind: 'command',
        words: ['nc', name],
      })
    }
  })

  test("gives way to the ProxyCommand before it, and the other way round, as in ssh's own files", async () => {
    await using desk = await Desk.create(`
      Host first-jump
        ProxyJump a
        ProxyCommand nc %h %p
      Host first-command
        ProxyCommand nc %h %p
        ProxyJump a`)
    expect((await desk.resolve('first-jump')).route.kind).toBe('jump')
    expect((await desk.resolve('first-command')).route.kind).toBe('command')
  })

  test('is logged in to with the configuration of its own, not with that of the target', async () => {
    await using desk = await Desk.create(`
      Host bastion
        HostName 10.0.0.9
        User jumper
        Port 2299
        IdentityFile /keys/bastion
        UserKnownHostsFile /hosts/bastion
        GlobalKnownHostsFile none
        HostKeyAlias the-bastion
        ProxyCommand nc %h %p
      Host prod
        ProxyJump bastion`)
    const from = target('prod', {
      identityFiles: ['/my/key'],
      knownHostsFiles: ['/my/hosts'],
      user: 'me',
      port: 2200,
      connectTimeoutMs: 1234,
    })
    expect(await desk.resolveHop(hop('bastion'), from)).toMatchObject({
      typed: 'prod',
      alias: 'bastion',
      host: '10.0.0.9',
      user: 'jumper',
      port: 2299,
      identityFiles: ['/keys/bastion'],
      knownHostsFiles: ['/hosts/bastion'],
      hostKeyName: { host: '10.0.0.9', port: 2299, alias: 'the-bastion' },
      connectTimeoutMs: 1234,
      route: { kind: 'command' },
    })
    expect((await desk.resolveHop(hop('bastion'), from, true)).route).toEqual({ kind: 'direct' })
  })
})

describeWith(['sshd'], 'a chain of jump hosts', () => {
  test("begins with the first one's own proxy, and passes over those of the others", async () => {
    await using desk = await Desk.create(`
      Host a
        ProxyJump outer
      Host b
        ProxyJump elsewhere
      Host prod
        ProxyJump a,b`)
    expect(await desk.way(target('prod'))).toEqual(['outer', 'a', 'b', 'prod'])
  })

  test('does not stop where a later one would go through itself: ssh -J overrides that too', async () => {
    await using desk = await Desk.create('Host a\n  ProxyJump none\nHost *\n  ProxyJump a,b\n')
    expect(await desk.way(target('prod'))).toEqual(['a', 'b', 'prod'])
  })

  test('may go through two names of the same machine', async () => {
    await using desk = await Desk.create(`
      Host outside
        HostName 10.0.0.1
        ProxyJump inside
      Host inside
        HostName 10.0.0.1`)
    expect(await desk.way(target('outside'))).toEqual(['10.0.0.1', '10.0.0.1'])
  })

  test.each([
    ['itself', 'Host *\n  ProxyJump bastion\n', /ProxyJump of bastion .* leads back to bastion itself/u],
    [
      'itself under another address',
      'Host bastion\n  HostName 10.0.0.9\nHost *\n  ProxyJump bastion\n',
      /round in a circle: prod → bastion → bastion$/u,
    ],
    [
      'another one and back',
      'Host bastion\n  ProxyJump outer\nHost outer\n  ProxyJump me@bastion\nHost *\n  ProxyJump bastion\n',
      /round in a circle: prod → bastion → outer → me@bastion → outer/u,
    ],
  ])('that leads through %s is one clear error', async (_, config, message) => {
    await using desk = await Desk.create(config)
    await expect(desk.way(target('prod'))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      stage: 'resolve',
      message: expect.stringMatching(message) as string,
      hint: expect.stringMatching(/"ProxyJump none" under "Host (bastion|outer)"/u) as string,
    })
  })

  test('that its own proxyJump leads round in a circle is mended there, not in the configuration of ssh', async () => {
    await using desk = await Desk.create()
    await expect(desk.way(target('prod', { proxyJump: [hop('prod')] }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/round in a circle: prod → prod$/u) as string,
      hint: 'take prod out of its own `proxyJump:`, or name it there by another address',
    })
  })

  test('has at most eight hosts, whether they are named at once or grow by themselves', async () => {
    await using desk = await Desk.create(`Host prod\n  ProxyJump ${names(8).join(',')}\n`)
    expect(await desk.way(target('prod'))).toEqual([...names(8), 'prod'])
    await desk.write('config', `Host prod\n  ProxyJump ${names(9).join(',')}\n`)
    const message = /prod is behind more than 8 jump hosts/u
    expect(await desk.failure('prod')).toMatchObject({ message: expect.stringMatching(message) as string })
    await desk.write('config', 'ProxyJump x%n\n')
    await expect(desk.way(target('prod'))).rejects.toThrow(/xprod is behind more than 8 jump hosts/u)
  })
})

describeWith(['sshd'], 'ProxyCommand', () => {
  test("of ssh's configuration is a line for the user's shell, its tokens filled in", async () => {
    await using desk = await Desk.create(`
      Host prod
        HostName 10.0.0.1
        Port 2200
        User deploy
        HostKeyAlias its-name
        ProxyCommand "my nc" -x "a%%b" %h %p %r %n %k; true`)
    expect((await desk.resolve('prod', {}, { SHELL: '/bin/zsh' })).route).toEqual({
      kind: 'command',
      words: ['/bin/zsh', '-c', 'exec "my nc" -x "a%b" 10.0.0.1 2200 deploy prod its-name; true'],
    })
    for (const SHELL of ['', undefined]) {
      expect((await desk.resolve('prod', {}, { SHELL })).route).toMatchObject({
        words: ['/bin/sh', '-c', expect.any(String)],
      })
    }
  })

  test('of the target is a list of words that no shell reads', async () => {
    await using desk = await Desk.create('Host prod\n  HostName 10.0.0.1\n  User deploy\n')
    const proxyCommand = ['/opt/my nc', '%h:%p', '--as=%r', '$(id)', '100%%', '%n']
    expect((await desk.resolve('prod', { proxyCommand })).route).toEqual({
      kind: 'command',
      words: ['/opt/my nc', '10.0.0.1:22', '--as=deploy', '$(id)', '100%', 'prod'],
    })
    expect(await desk.failure('prod', { proxyCommand: ['nc', '%x'] })).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/proxyCommand has the token %x/u) as string,
    })
  })

  test.each([
    ['HostName a;b', /;/u],
    ['HostName -oX', /begins with "-"/u],
    ['HostName "a b"', /space/u],
    ['User $(id)', /user name "\$\(id\)" of prod must not have \(/u],
    ['User -l', /user name "-l" of prod .*begins with "-"/u],
    ['User "a -oX"', /"-" after a space/u],
    ['HostKeyAlias `id`', /HostKeyAlias "`id`" of prod must not have `/u],
  ])('is not made of a name that a shell could take for more: %s', async (line, message) => {
    await using desk = await Desk.create(`Host prod\n  ${line}\n  ProxyCommand nc %h %p\n`)
    expect(await desk.failure('prod')).toMatchObject({
      code: 'CONFIG_INVALID',
      stage: 'resolve',
      message: expect.stringMatching(message) as string,
    })
  })
})
