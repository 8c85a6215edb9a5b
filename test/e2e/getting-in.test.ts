import { execa } from 'execa'
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { Entrance } from './getting-in.js'
import { describeOurs, hostOf, must, statusOf, stands, supervisors } from './lifecycle.js'

const SECRET = 'correct horse battery'

/** What `nc HOST PORT` does, on a machine that may have none. */
const RELAY = `
  const [, host, port] = process.argv
  const there = require('node:net').connect(port, host)
  process.stdin.pipe(there).pipe(process.stdout)`

const stateOf = async ({ world }: Entrance) => (await statusOf(world, 'prod')).hosts[0]

describeOurs('getting in', (hosts) => {
  const enter = (entry?: object) => Entrance.open(hosts().prod.remoteSocket, entry)

  test('an encrypted key is asked for at the terminal of `up`, once: a reconnect asks nobody', async () => {
    await using place = await enter()
    await place.configure({ identityFile: await place.encryptedKey(SECRET) })
    const up = place.terminal('up', 'prod')
    await up.sees(/passphrase/iu)
    up.type(`${SECRET}\r`)
    expect(await up.exitCode).toBe(0)
    expect(up.output).not.toContain(SECRET)
    const before = await stateOf(place)
    await place.sshd.restart()
    await until('it is up again', async () => {
      const host = await stateOf(place)
      return host?.state === 'up' && host.reconnects > (before?.reconnects ?? 0)
    })
  })

  test('one key of several hosts is asked for once, and a restart asks nobody', async () => {
    await using place = await enter()
    const { world } = place
    const key = await place.encryptedKey(SECRET)
    const host = world.entry('prod', hostOf(place.sshd, hosts().prod.remoteSocket))
    const names = ['a', 'b', 'c']
    const entries = names.map((name) => [name, { ...host, identityFile: key, socket: world.socket(name) }])
    await world.config({ hosts: Object.fromEntries(entries) })
    const up = place.terminal('up', '--all')
    await up.sees(/Passphrase/u)
    up.type(`${SECRET}\r`)
    expect(await up.exitCode).toBe(0)
    expect([...up.output.matchAll(/Passphrase/gu)]).toHaveLength(1)
    await must(world, ['restart', '--all'])
    expect((await statusOf(world)).hosts.map(({ state }) => state)).toEqual(['up', 'up', 'up'])
  })

  test('a wrong passphrase is asked again, costs the server nothing, and ends with what to do', async () => {
    await using place = await enter()
    await place.configure({ identityFile: await place.encryptedKey(SECRET) })
    const up = place.terminal('up', 'prod')
    for (let count = 0; count < 3; count += 1) {
      await up.sees(/passphrase[^\n]*:? $/iu)
      up.type('wrong\r')
    }
    expect(await up.exitCode).toBe(4)
    expect(up.output).toMatch(/passphrase/iu)
    expect(up.output).toContain('ssh-add')
    expect(await place.sshd.log()).not.toMatch(/Failed publickey/u)
    await until('the supervisor has left', () => supervisors(place.world).length === 0)
  })

  test('off a terminal nobody is asked: it fails at once and names the command that helps', async () => {
    await using place = await enter()
    await place.configure({ identityFile: await place.encryptedKey(SECRET) })
    const result = await place.world.dproxy(['up', 'prod'])
    expect(result.exitCode).toBe(4)
    expect(result.stderr).toMatch(/^dproxy: prod: login: .*passphrase/mu)
    expect(result.stderr).toMatch(/next: .*ssh-add/u)
    expect(stands(place.world)).toBe(false)
  })

  test('Ctrl-C at a question takes everything back', async () => {
    await using place = await enter()
    await place.configure({ identityFile: await place.encryptedKey(SECRET) })
    const up = place.terminal('up', 'prod')
    await up.sees(/passphrase/iu)
    up.type('\u0003')
    expect(await up.exitCode).toBe(130)
    await until(
      'nothing is left',
      () => supervisors(place.world).length === 0 && !stands(place.world, 'prod'),
    )
  })

  test('a host that is stopped meanwhile takes its question with it', async () => {
    await using place = await enter()
    await place.configure({ identityFile: await place.encryptedKey(SECRET) })
    const up = place.terminal('up', 'prod')
    await up.sees(/Passphrase/u)
    await must(place.world, ['down', 'prod'])
    expect(await up.exitCode).toBe(1)
    expect(up.output).toMatch(/prod: it was stopped by another command/u)
    expect(up.output).not.toMatch(/draining|aborted/u)
  })

  test('an unknown host key is shown at the terminal, stored when accepted, and known from then on', async () => {
    await using place = await enter()
    const knownHosts = await place.file('known_hosts', '# mine')
    await place.configure({ knownHostsFile: knownHosts })
    const { stdout } = await execa('ssh-keygen', ['-lf', `${place.sshd.dir}/host_ed25519_key.pub`])
    const fingerprint = stdout.split(' ')[1]!
    const up = place.terminal('up', 'prod')
    await up.sees(/fingerprint\]/u)
    expect(up.output).toContain(fingerprint)
    // Nothing of the login may have been sent before the key is accepted.
    expect(await place.sshd.log()).not.toMatch(/publickey|userauth-request/u)
    up.type('yes\r')
    expect(await up.exitCode).toBe(0)
    expect(await readFile(knownHosts, 'utf8')).toBe(
      `# mine\n[127.0.0.1]:${place.sshd.port} ${place.sshd.hostKeys[0]}\n`,
    )
    await must(place.world, ['restart', 'prod'])
  })

  test('an unknown host key is refused where nobody can be asked, with the command to type', async () => {
    await using place = await enter()
    const knownHosts = await place.file('known_hosts', '')
    await place.configure({ knownHostsFile: knownHosts })
    const result = await place.world.dproxy(['up', 'prod'])
    expect(result).toMatchObject({ exitCode: 4, stdout: '' })
    expect(result.stderr).toMatch(/next: .*dproxy trust prod/u)
    expect(await readFile(knownHosts, 'utf8')).toBe('')
    const trust = await place.world.dproxy(['trust', 'prod'])
    expect(trust.exitCode).toBe(4)
    const [, fingerprint] = /--fingerprint (SHA256:\S+)/u.exec(trust.stderr)!
    expect((await place.world.dproxy(['trust', 'prod', '--fingerprint', 'SHA256:x'])).exitCode).toBe(4)
    await must(place.world, ['trust', 'prod', '--fingerprint', fingerprint!])
    await must(place.world, ['up', 'prod'])
  })

  test('a changed host key is never asked about: old and new are shown, and nothing is stored', async () => {
    await using place = await enter()
    await using other = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const line = `[127.0.0.1]:${place.sshd.port} ${other.hostKeys[0]}\n`
    const knownHosts = await place.file('known_hosts', `# first\n${line}`)
    await place.configure({ knownHostsFile: knownHosts })
    const up = place.terminal('up', 'prod')
    expect(await up.exitCode).toBe(4)
    const trust = await place.world.dproxy(['trust', 'prod'])
    expect(trust.exitCode).toBe(4)
    for (const said of [up.output, trust.stderr]) {
      expect(said).toContain(knownHosts)
      expect([...said.matchAll(/SHA256:\S{43}/gu)].length).toBeGreaterThanOrEqual(2)
      expect(said).toContain('ssh-keygen -R')
    }
    expect(await readFile(knownHosts, 'utf8')).toBe(`# first\n${line}`)
  })

  test('a host behind two jump hosts is reached, each with its own host key and login', async () => {
    await using first = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using second = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using place = await enter({ proxyJump: 'first,second' })
    const config = [first, second]
      .map((sshd, index) =>
        [
          `Host ${['first', 'second'][index]}`,
          `  HostName 127.0.0.1`,
          `  Port ${sshd.port}`,
          `  User ${sshd.user}`,
          `  IdentityFile ${sshd.keyFile}`,
          `  UserKnownHostsFile ${sshd.knownHostsFile}`,
        ].join('\n'),
      )
      .join('\n')
    place.world.env.DPROXY_SSH_CONFIG = await place.file('ssh_config', `${config}\n`)
    await must(place.world, ['up', 'prod'])
    for (const sshd of [first, second]) expect(await sshd.log()).toMatch(/Accepted publickey/u)
    const version = await place.world.docker('prod', ['version', '--format', '{{.Server.Version}}'])
    expect(version.exitCode).toBe(0)
    await writeFile(second.knownHostsFile, '')
    const broken = await place.world.dproxy(['restart', 'prod'])
    expect(broken.exitCode).toBe(4)
    expect(broken.stderr).toMatch(/jump host .*second|jump host .*127\.0\.0\.1/u)
    // The first one can be trusted by itself, in a script too.
    await writeFile(first.knownHostsFile, '')
    const unknown = await place.world.dproxy(['up', 'prod'])
    expect(unknown.exitCode).toBe(4)
    expect(unknown.stderr).toMatch(/next: .*dproxy trust ssh:\/\/first$/mu)
    const trust = await place.world.dproxy(['trust', 'ssh://first'])
    const [, fingerprint] = /--fingerprint (SHA256:\S+)/u.exec(trust.stderr)!
    await must(place.world, ['trust', 'ssh://first', '--fingerprint', fingerprint!])
    expect((await place.world.dproxy(['up', 'prod'])).stderr).toMatch(/next: .*dproxy trust prod$/mu)
  })

  test('a ProxyCommand carries the connection, and ends with it', async () => {
    await using place = await enter({ proxyCommand: [process.execPath, '-e', RELAY, '%h', '%p'] })
    await must(place.world, ['up', 'prod'])
    const version = await place.world.docker('prod', ['version', '--format', '{{.Server.Version}}'])
    expect(version.exitCode).toBe(0)
    await must(place.world, ['down', 'prod'])
    await until('nothing runs', () => place.world.processes().length === 0)
  })
})
