import { once } from 'node:events'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import type { DoctorStage } from '../../src/supervisor/doctor/report.js'
import { World } from '../testbed/cli.js'
import { describeWith } from '../testbed/describe-with.js'
import { freePort } from '../testbed/free-port.js'
import { Pty } from '../testbed/pty.js'
import { skippedTitle } from '../testbed/skipped.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import {
  AFTER_CONNECT,
  AT_ENGINE,
  diagnose,
  encryptedKey,
  failsAt,
  listening,
  ordinaryUser,
  PASSPHRASE,
  stageOf,
  WITHOUT_KEYCHAIN,
  withState,
  worldOf,
} from './doctor.js'
import { describeOurs, DPROXY, must } from './lifecycle.js'

describeOurs('a host that works', (hosts) => {
  test('passes every stage, each with its facts, and nothing is left of it', async () => {
    await using world = await World.create()
    await world.configure(hosts())
    const { host, port, user, keyFile, knownHostsFile, remoteSocket } = hosts().prod
    const { exitCode, hosts: reports } = await diagnose(world, ['prod'])
    const [prod] = reports
    if (!prod) throw new Error('no report')
    expect(prod, JSON.stringify(prod, null, 1)).toMatchObject({ host: 'prod', ok: true })
    expect(exitCode).toBe(0)
    const facts = (stage: DoctorStage): string => stageOf(prod, stage).facts.join('\n')
    expect(facts('config')).toMatch(/config\.yaml line 2 \(mode 0644, yours\)/u)
    expect(facts('key files')).toMatch(
      new RegExp(`${keyFile}: ssh-ed25519 SHA256:\\S{43}, mode 0600, not encrypted, has its .pub`, 'u'),
    )
    expect(facts('agent')).toContain('SSH_AUTH_SOCK is not set')
    expect(facts('name')).toContain(`${user}@${host}:${port}`)
    expect(facts('name')).toContain(knownHostsFile)
    expect(facts('connect')).toContain(`${host} answered`)
    expect(facts('banner')).toMatch(/^SSH-2\.0-OpenSSH/u)
    expect(facts('host key')).toMatch(/^ssh-ed25519 SHA256:\S{43}$/mu)
    expect(facts('host key')).toContain(`known by ${knownHostsFile}:1`)
    expect(facts('host key')).toMatch(/^key exchange \S+, cipher \S+$/mu)
    expect(facts('login')).toMatch(/^the server takes .*publickey/mu)
    expect(facts('login')).toMatch(/^let in by publickey, with ssh-ed25519 SHA256:\S{43}$/mu)
    expect(facts('remote socket')).toContain(remoteSocket)
    expect(facts('engine')).toMatch(/answers in \d+ m?s/u)
    expect(facts('version')).toMatch(/^Docker \S+, API 1\.\d+$/mu)
    expect(facts('clock')).toMatch(/apart from ours/u)
    expect(facts('local socket')).toContain('is free')
    expect(facts('supervisor')).toContain('none runs')
    // An engine of before version 25 is told of, whatever this machine has.
    const api = Number(/API 1\.(\d+)/u.exec(facts('version'))?.[1])
    expect(stageOf(prod, 'version').state).toBe(api < 44 ? 'warning' : 'ok')

    const text = await world.dproxy(['doctor', 'staging'])
    expect(text).toMatchObject({ exitCode: 0, stderr: '' })
    expect(text.stdout).toMatch(/^ {2}✓ ok {11}login +\d+ m?s$/mu)
    expect(text.stdout).toMatch(/^staging: ✓ ok/mu)
    await until('nothing runs', () => world.processes().length === 0)
  })

  test('that runs is said to, with its state, and its socket is known for ours', async () => {
    await using world = await World.create()
    await world.configure(hosts())
    await must(world, ['up', 'prod'])
    const env = { DOCKER_HOST: `unix://${world.socket('prod')}` }
    const { hosts: reports } = await diagnose(world, [], { env })
    const [prod, staging] = reports
    expect(stageOf(prod!, 'local socket').facts.join()).toContain('the running dproxy serves it')
    expect(stageOf(prod!, 'supervisor').facts).toEqual(['runs this host: up'])
    expect(stageOf(prod!, 'docker')).toMatchObject({ state: 'ok', facts: ['DOCKER_HOST points here'] })
    expect(stageOf(staging!, 'supervisor').facts.join()).toContain('dproxy up staging')
    expect(stageOf(staging!, 'docker')).toMatchObject({
      state: 'warning',
      error: { code: 'DOCKER_ELSEWHERE', hint: 'eval "$(dproxy env staging)"' },
    })
  })

  test('though sshd there forbids forwarding warns of the way round, and so does its status', async () => {
    const options = ['AllowStreamLocalForwarding no']
    const dockerSocket = hosts().prod.engineSocket!
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options, dockerSocket })
    await using world = await worldOf(sshd, { remoteSocket: 'auto' })
    const { hosts: reports, exitCode } = await diagnose(world, ['prod'])
    expect(withState(reports[0]!, 'failed'), JSON.stringify(reports[0], null, 1)).toEqual([])
    expect(stageOf(reports[0]!, 'streamlocal')).toMatchObject({
      state: 'warning',
      error: {
        code: 'FORWARDING_FORBIDDEN',
        message: expect.stringMatching(/^streams go through docker system dial-stdio there: sshd/u) as string,
        hint: expect.stringContaining('AllowStreamLocalForwarding yes') as string,
      },
    })
    expect(exitCode).toBe(0)
    await must(world, ['up', 'prod'])
    const { stdout } = await must(world, ['status'])
    expect(stdout).toMatch(/prod: streams go through docker system dial-stdio there: sshd .*forbids/u)
  })

  test('is told apart from one that fails: 3, in the order of the config', async () => {
    await using world = await World.create()
    const port = await freePort()
    const broken = (name: string) => ({
      ...world.entry(name, hosts().prod),
      ssh: `ssh://me@127.0.0.1:${port}`,
    })
    const entries = {
      a: broken('a'),
      prod: world.entry('prod', hosts().prod),
      c: broken('c'),
      d: broken('d'),
    }
    await world.config({ hosts: entries })
    const { exitCode, hosts: reports } = await diagnose(world)
    expect(reports.map(({ host, ok }) => [host, ok])).toEqual([
      ['a', false],
      ['prod', true],
      ['c', false],
      ['d', false],
    ])
    expect(exitCode).toBe(3)
    const text = await world.dproxy(['doctor'])
    expect(text.exitCode).toBe(3)
    expect(text.stdout.match(/^\w+: . \w+/gmu)).toEqual([
      'a: ✗ failed',
      'prod: ✓ ok',
      'c: ✗ failed',
      'd: ✗ failed',
    ])
    const tested = await world.dproxy(['host', 'test', 'a', 'c'])
    expect(tested).toMatchObject({
      exitCode: 1,
      stdout: expect.stringContaining('c: ✗ failed: connect') as string,
    })
  })
})

describeWith(['sshd'], 'what doctor says of', () => {
  test('a wrong port: connect', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const port = await freePort()
    await using world = await worldOf(sshd, { ssh: `ssh://${sshd.user}@127.0.0.1:${port}` })
    await failsAt(world, {
      stage: 'connect',
      code: 'CONNECT_REFUSED',
      exitCode: 1,
      said: [`connection refused by 127.0.0.1:${port}`],
      next: `is ${port} its port?`,
      unreached: [...AFTER_CONNECT, ...AT_ENGINE],
    })
  })

  test('a port on which something else answers: banner, with what it said', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using scope = new Scope()
    const server = scope.add(createServer(), (each) => each.close())
    server.on('connection', (client) =>
      client.on('error', () => undefined).end('220 mail.example.com ESMTP\r\n'),
    )
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as { port: number }
    await using world = await worldOf(sshd, { ssh: `ssh://${sshd.user}@127.0.0.1:${port}` })
    const host = await failsAt(world, {
      stage: 'banner',
      code: 'HANDSHAKE_FAILED',
      exitCode: 1,
      said: [`127.0.0.1:${port}`, 'it said: 220 mail.example.com ESMTP'],
      next: "is that port an SSH server's?",
      unreached: ['host key', 'login', ...AT_ENGINE],
    })
    // The error says it, so that it need not be told twice.
    expect(stageOf(host, 'banner').facts).toEqual([])
  })

  test('an unknown host key: host key, with the command that trusts it', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const empty = join(sshd.dir, 'empty')
    await writeFile(empty, '')
    await using world = await worldOf(sshd, { knownHostsFile: empty })
    await failsAt(world, {
      stage: 'host key',
      code: 'HOST_KEY_UNKNOWN',
      exitCode: 4,
      said: [/SHA256:\S{43}/u],
      next: 'dproxy trust prod',
      unreached: ['login', ...AT_ENGINE],
    })
    expect(await readFile(empty, 'utf8')).toBe('')
  })

  test('a changed host key: host key, with the file, the line and the command that forgets it', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using other = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const known = join(sshd.dir, 'known')
    await writeFile(known, `# old\n[127.0.0.1]:${sshd.port} ${other.hostKeys[0]}\n`)
    await using world = await worldOf(sshd, { knownHostsFile: known })
    await failsAt(world, {
      stage: 'host key',
      code: 'HOST_KEY_CHANGED',
      exitCode: 4,
      said: [`${known} line 2`],
      next: `ssh-keygen -R '[127.0.0.1]:${sshd.port}' -f ${known}`,
      unreached: ['login', ...AT_ENGINE],
    })
  })

  test('a wrong user: login, with what was offered and refused', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using world = await worldOf(sshd, { ssh: `ssh://nobody-knows@127.0.0.1:${sshd.port}` })
    const host = await failsAt(world, {
      stage: 'login',
      code: 'LOGIN_REFUSED',
      exitCode: 4,
      said: [`nobody-knows@127.0.0.1:${sshd.port}`, 'refused'],
      next: 'is the user name right',
      unreached: [...AT_ENGINE],
    })
    expect(stageOf(host, 'login').facts).toEqual([
      expect.stringMatching(/^the server takes publickey/u),
      `${sshd.keyFile}: refused`,
    ])
  })

  test('an encrypted key without its passphrase: login; the key file is seen to be encrypted', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const file = await encryptedKey(sshd)
    await using world = await worldOf(sshd, { identityFile: file }, WITHOUT_KEYCHAIN)
    const host = await failsAt(world, {
      stage: 'login',
      code: 'LOGIN_PASSPHRASE',
      exitCode: 4,
      said: [file, 'encrypted'],
      next: `ssh-add ${file}`,
      unreached: [...AT_ENGINE],
    })
    expect(stageOf(host, 'key files').facts.join()).toMatch(
      /ssh-ed25519 SHA256:\S{43}, mode 0600, encrypted/u,
    )
  })

  test('a remote socket that is missing: remote socket', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using world = await worldOf(sshd)
    await failsAt(world, {
      stage: 'remote socket',
      code: 'ENGINE_SOCKET_MISSING',
      exitCode: 1,
      said: ['there is no /nowhere/docker.sock on '],
      next: 'remoteSocket:',
      unreached: ['streamlocal', 'engine', 'version', 'clock'],
    })
  })

  const ordinary = ownUid() === 0 ? ordinaryUser() : undefined
  const title =
    'a remote socket that the user may not use: remote socket, with the command that lets the user in'
  const why = 'needs root, and another user who has a shell'
  test.skipIf(!ordinary)(ordinary ? title : skippedTitle(title, why), async () => {
    // With PAM an account without a password is not a locked one.
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['UsePAM yes'] })
    await using engine = await listening()
    await chmod(engine.dir, 0o755)
    await chmod(engine.path, 0o660)
    await chmod(sshd.dir, 0o755)
    await chmod(sshd.authorizedKeysFile, 0o644)
    const ssh = `ssh://${ordinary}@127.0.0.1:${sshd.port}`
    await using world = await worldOf(sshd, { ssh, remoteSocket: engine.path })
    await failsAt(world, {
      stage: 'remote socket',
      code: 'ENGINE_SOCKET_DENIED',
      exitCode: 1,
      said: [`${ordinary} may not use ${engine.path}`],
      next: `sudo usermod -aG docker ${ordinary}`,
      unreached: ['streamlocal', 'engine', 'version', 'clock'],
    })
  })

  test('an engine that is down: engine', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using engine = await listening()
    await engine.die()
    await using world = await worldOf(sshd, { remoteSocket: engine.path })
    const host = await failsAt(world, {
      stage: 'engine',
      code: 'ENGINE_DOWN',
      exitCode: 1,
      said: [`no Docker daemon answers behind ${engine.path}`],
      next: 'systemctl status docker',
      unreached: ['streamlocal', 'version', 'clock'],
    })
    expect(stageOf(host, 'remote socket').state).toBe('ok')
  })

  test('a server that forbids forwarding: streamlocal, though the engine is there', async () => {
    // Commands may look at the socket, and nothing may stand in for sshd.
    const looksOnly = 'case "$SSH_ORIGINAL_COMMAND" in *readlink*) eval "$SSH_ORIGINAL_COMMAND";; esac'
    const options = ['AllowStreamLocalForwarding no', `ForceCommand ${looksOnly}`]
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options })
    await using engine = await listening()
    await using world = await worldOf(sshd, { remoteSocket: engine.path })
    await failsAt(world, {
      stage: 'streamlocal',
      code: 'FORWARDING_FORBIDDEN',
      exitCode: 1,
      said: [`does not forward to ${engine.path}`],
      next: 'AllowStreamLocalForwarding yes',
      unreached: ['remote socket', 'engine', 'version', 'clock'],
    })
  })

  test('an agent that hangs: a warning within its limit, and the login goes on by key file', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using agent = await listening()
    await using world = await worldOf(sshd, { identitiesOnly: false })
    const env = { SSH_AUTH_SOCK: agent.path }
    const { hosts } = await diagnose(world, ['prod'], { env })
    const [prod] = hosts
    expect(stageOf(prod!, 'agent')).toMatchObject({
      state: 'warning',
      error: {
        code: 'AGENT_FAILED',
        message: expect.stringContaining('did not answer within 3 s') as string,
      },
    })
    expect(stageOf(prod!, 'agent').ms).toBeLessThan(6000)
    expect(stageOf(prod!, 'login').state).toBe('ok')
  })

  test('a host behind a jump host that is not trusted: connect, with the name of the jump host', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const config = join(sshd.dir, 'ssh_config')
    const words = [`Port ${sshd.port}`, 'HostName 127.0.0.1', `UserKnownHostsFile ${sshd.dir}/none`]
    await writeFile(config, ['Host bastion', ...words, 'GlobalKnownHostsFile none', ''].join('\n'))
    await using world = await worldOf(sshd, { proxyJump: 'bastion' })
    const { hosts, exitCode } = await diagnose(world, ['prod'], { env: { DPROXY_SSH_CONFIG: config } })
    expect(withState(hosts[0]!, 'failed')).toEqual(['connect'])
    expect(stageOf(hosts[0]!, 'connect')).toMatchObject({
      error: { code: 'HOST_KEY_UNKNOWN', message: expect.stringMatching(/^jump host .*SHA256:/u) as string },
    })
    expect(exitCode).toBe(4)
  })

  test("a host that only the system's ssh may log in to: the stages as far as it tells of them", async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using engine = await listening()
    await engine.die()
    await using world = await worldOf(sshd, { transport: 'openssh', remoteSocket: engine.path })
    const { hosts } = await diagnose(world, ['prod'])
    const [prod] = hosts
    expect(withState(prod!, 'failed'), JSON.stringify(prod, null, 1)).toEqual(['engine'])
    expect(stageOf(prod!, 'login').state).toBe('ok')
    expect(stageOf(prod!, 'name').facts.join('\n')).toContain("the system's ssh")
    await until('nothing runs', () => world.processes().length === 0)
    await writeFile(join(sshd.dir, 'other'), '')
    await using unknown = await worldOf(sshd, {
      transport: 'openssh',
      knownHostsFile: join(sshd.dir, 'other'),
    })
    const { hosts: refused, exitCode } = await diagnose(unknown, ['prod'])
    expect(withState(refused[0]!, 'failed'), JSON.stringify(refused[0], null, 1)).toEqual(['host key'])
    expect(exitCode).toBe(4)
  })
})

describeWith(['sshd', 'script'], 'at a terminal, doctor', () => {
  test('asks for a passphrase as up does, and goes on with it', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using world = await worldOf(sshd, { identityFile: await encryptedKey(sshd) }, WITHOUT_KEYCHAIN)
    await using terminal = Pty.start([...DPROXY, 'doctor', 'prod'], { env: { ...world.env }, cwd: world.dir })
    await terminal.sees(/Passphrase of \S*encrypted/u)
    terminal.type(`${PASSPHRASE}\r`)
    await terminal.sees(/✓ ok .*login/u)
    await terminal.sees(/✗ failed .*remote socket/u)
    expect(await terminal.exitCode).toBe(1)
    expect(terminal.output).not.toContain(PASSPHRASE)
  })

  test('asks nothing about an unknown host key, and stores nothing', async () => {
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const empty = join(sshd.dir, 'empty')
    await writeFile(empty, '')
    await using world = await worldOf(sshd, { knownHostsFile: empty })
    await using terminal = Pty.start([...DPROXY, 'doctor', 'prod'], { env: { ...world.env }, cwd: world.dir })
    await terminal.sees(/✗ failed .*host key/u)
    expect(await terminal.exitCode).toBe(4)
    expect(terminal.output).not.toContain('Trust it')
    expect(await readFile(empty, 'utf8')).toBe('')
  })
})
