import { execFile } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { beforeAll, expect, test } from 'vitest'
import { ownUserName } from '../../../src/base/paths.js'
import { Scope } from '../../../src/base/scope.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { Desk, target } from './support.js'

/** What `ssh -vv` says while it really connects, or tries to. */
const saidBySsh = (desk: Desk, destination: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
  new Promise((resolve) => {
    const words = ['-vv', '-F', desk.path('config'), '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes']
    const child = execFile(
      'ssh',
      [...words, destination, 'true'],
      { env: { ...process.env, SSH_AUTH_SOCK: undefined, ...env }, timeout: 15_000 },
      (_, __, stderr) => resolve(stderr.replaceAll('\r', '')),
    )
    child.stdin?.end()
  })

const all = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? '')

describeWith(['sshd'], 'what is resolved is what ssh itself really uses:', () => {
  let sshd: Sshd
  beforeAll(async () => {
    const scope = new Scope()
    sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    return () => scope[Symbol.asyncDispose]()
  })

  test('address, port, user, key files, agent, known_hosts files, host key name and algorithms', async () => {
    await using desk = await Desk.create()
    const more = await desk.write(
      'conf.d/with blank',
      `Match originalhost prod exec "test %p = ${sshd.port}"
         IdentityFile ${desk.dir}/%L/%r@%h:%p-%%-\${PLACE}
       Host * !prod
         IdentityFile /not/this`,
    )
    await desk.write(
      'config',
      `Host p?od !prod
         HostName not.this
       Host p?od !pood
         HostName 127.0.0.1
         Port ${sshd.port}
         User nobody-%d
         IdentityFile "~/no such/key of %u"
         IdentityFile %d/.ssh/%k
         IdentityAgent ${desk.dir}/%n.sock
         HostKeyAlias Its-Name
         UserKnownHostsFile "${desk.dir}/hosts of %h" ${desk.dir}/second
         GlobalKnownHostsFile "${desk.dir}/global one" ${desk.dir}/global-two
         KexAlgorithms ecdh-sha2-nistp384,curve25519-sha256
         Ciphers aes256-ctr
         MACs hmac-sha2-512
         HostKeyAlgorithms ssh-ed25519
       Include "${more}"`,
    )
    const env = { PLACE: 'here' }
    const resolved = await desk.resolve('prod', {}, env)
    const said = await saidBySsh(desk, 'prod', env)

    expect(said).toContain(`Connecting to ${resolved.host} [127.0.0.1] port ${resolved.port}.`)
    expect(said).toContain(`Authenticating to ${resolved.host}:${resolved.port} as '${resolved.user}'`)
    const keys = all(said, /^debug1: identity file (.*) type -?\d+$/gmu)
    expect(keys.filter((file) => !file.endsWith('-cert'))).toEqual(resolved.identityFiles)
    expect(keys).toHaveLength(2 * 3)
    const searched = all(said, /^debug1: load_hostkeys: fopen (.*): No such file/gmu)
    expect([...new Set(searched)]).toEqual(resolved.knownHostsFiles)
    expect(searched.length).toBeGreaterThanOrEqual(4)
    expect(said).toContain(`using hostkeyalias: ${resolved.hostKeyName.alias}`)
    expect(said).toContain(`kex: algorithm: ${resolved.algorithms.kex?.[0]}`)
    expect(said).toContain(`cipher: ${resolved.algorithms.cipher?.[0]} MAC: ${resolved.algorithms.hmac?.[0]}`)
    expect(said).toContain(`host key algorithm: ${resolved.algorithms.serverHostKey?.[0]}`)
  })

  test('the keys it offers, and no others', async () => {
    await using desk = await Desk.create(
      `Host prod
         HostName 127.0.0.1
         Port ${sshd.port}
         User ${ownUserName()}
         IdentityFile "${sshd.keyFile}"
         UserKnownHostsFile "${sshd.knownHostsFile}"`,
    )
    const resolved = await desk.resolve('prod')
    const said = await saidBySsh(desk, 'prod')
    expect(said).toContain('Authenticated to 127.0.0.1')
    expect(all(said, /Offering public key: (\S+) /gu)).toEqual(resolved.identityFiles)
    expect(resolved.identityFiles).toEqual([sshd.keyFile])
  })

  test.each([
    'ProxyCommand false "a b" %h:%p %r@%n %k 100%% $HOME',
    'ProxyCommand     false   two   blanks  "and  quotes" # not a comment',
  ])('%s', async (line) => {
    await using desk = await Desk.create(
      `Host prod\n  HostName 10.0.0.1\n  Port 2200\n  User deploy\n  HostKeyAlias its-name\n  ${line}\n`,
    )
    const { route } = await desk.resolve('prod')
    const [executed] = all(await saidBySsh(desk, 'prod'), /^debug1: Executing proxy command: (.*)$/gmu)
    expect(executed).toMatch(/^exec false /u)
    expect(route).toEqual({ kind: 'command', words: [expect.any(String), '-c', executed] })
  })

  test('the hosts it jumps through, the first by its own configuration', async () => {
    await using scope = new Scope()
    // Takes the connection of whichever ssh is the first to dial, and hangs up.
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
    scope.add(server, () => server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const desk = scope.use(
      await Desk.create(
        `Host outer
           HostName 127.0.0.1
           Port ${port}
         Host a
           HostName 127.0.0.1
           ProxyJump outer
         Host prod
           HostName 10.0.0.1
           Port 2200
           ProxyJump a,me@b:2222
         Host *
           UserKnownHostsFile /dev/null`,
      ),
    )
    const said = await saidBySsh(desk, 'prod')
    const commands = all(said, /^debug1: Setting implicit ProxyCommand from ProxyJump: (.*)$/gmu)
    // Each ssh starts the one it goes through; the last to speak is the first to dial.
    expect(commands.map((line) => line.replace(/ -F \S+/u, '').replaceAll(/ -v+/gu, ''))).toEqual([
      "ssh -l me -p 2222 -J a -W '[%h]:%p' b",
      "ssh -W '[%h]:%p' a",
      "ssh -W '[%h]:%p' outer",
    ])
    expect(said).toContain(`Connecting to 127.0.0.1 [127.0.0.1] port ${port}.`)
    expect(await desk.way(target('prod'))).toEqual(['127.0.0.1', '127.0.0.1', 'b', '10.0.0.1'])
  })
})
