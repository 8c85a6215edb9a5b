import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CertificateAuthority } from '../testbed/certificates.js'
import { IMAGE } from '../testbed/image.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { Entrance } from './getting-in.js'
import { describeOurs, must, statusOf } from './lifecycle.js'

const KEX = 'sntrup761x25519-sha512@openssh.com'

/** Docker works there, and its exit codes come through. */
const works = async ({ world }: Entrance): Promise<void> => {
  const echoed = await world.docker('prod', ['run', '--rm', '-i', IMAGE, 'cat'], {
    input: Buffer.from('through'),
  })
  expect(echoed).toMatchObject({ exitCode: 0, stdout: 'through' })
  expect((await world.docker('prod', ['run', '--rm', IMAGE, 'sh', '-c', 'exit 7'])).exitCode).toBe(7)
}

describeOurs("getting in by the system's ssh", (hosts) => {
  test('a certificate beside the key is used, the status says why, and nothing is left after down', async () => {
    await using place = await Entrance.open(hosts().prod.remoteSocket)
    const { sshd, world } = place
    const ca = await CertificateAuthority.create(world.dir)
    await ca.certifyUser(sshd.keyFile, [sshd.user])
    await writeFile(sshd.authorizedKeysFile, '')
    await sshd.restart([`TrustedUserCAKeys ${ca.publicKeyFile}`])
    await must(world, ['up', 'prod'])
    await works(place)
    const [host] = (await statusOf(world, 'prod')).hosts
    expect(host?.transport).toMatchObject({
      kind: 'openssh',
      why: expect.stringContaining('certificate') as string,
    })
    expect(host?.rttMs).toBeGreaterThan(0)
    const { stdout } = await must(world, ['status'])
    expect(stdout).toMatch(/prod: goes through the system's ssh: .*certificate/u)
    await must(world, ['down', 'prod'])
    await until('nothing runs', () => world.processes().length === 0)
    expect(
      (await readdir(join(world.dir, 'run')).catch(() => [])).filter((name) => name.startsWith('ssh-')),
    ).toEqual([])
  })

  test('a certificate authority vouches for the host key', async () => {
    await using place = await Entrance.open(hosts().prod.remoteSocket)
    const { sshd, world } = place
    const ca = await CertificateAuthority.create(world.dir)
    const certificate = await ca.certifyHost(join(sshd.dir, 'host_ed25519_key'), ['127.0.0.1'])
    await sshd.restart([`HostCertificate ${certificate}`])
    const knownHosts = await place.file(
      'known_hosts',
      `@cert-authority [127.0.0.1]:${sshd.port} ${ca.publicKey}\n`,
    )
    await place.configure({ knownHostsFile: knownHosts })
    await must(world, ['up', 'prod'])
    await works(place)
    expect((await statusOf(world, 'prod')).hosts[0]?.transport?.kind).toBe('openssh')
    // The same server without its certificate is not trusted on first use.
    await sshd.restart([])
    await until('it is refused', async () => (await statusOf(world, 'prod')).hosts[0]?.state === 'failed')
    expect((await statusOf(world, 'prod')).hosts[0]?.lastError?.code).toMatch(/^HOST_KEY_/u)
  })

  test('a server with post-quantum key exchange alone is reached', async () => {
    await using place = await Entrance.open(
      hosts().prod.remoteSocket,
      {},
      {
        hostKeyTypes: ['ed25519'],
        options: [`KexAlgorithms ${KEX}`],
      },
    )
    await must(place.world, ['up', 'prod'])
    await works(place)
    const [host] = (await statusOf(place.world, 'prod')).hosts
    expect(host?.transport).toMatchObject({
      kind: 'openssh',
      why: expect.stringContaining('key exchange') as string,
    })
  })

  test('a command that was cut off never looks finished', async () => {
    await using place = await Entrance.open(hosts().prod.remoteSocket, { transport: 'openssh' })
    await must(place.world, ['up', 'prod'])
    const made = await place.world.docker('prod', ['run', '-d', '--rm', IMAGE, 'sleep', '60'])
    const id = made.stdout.trim()
    const cut = place.world.docker('prod', ['exec', id, 'sh', '-c', 'echo begun; sleep 6; exit 7'])
    await until('it runs', async () => (await statusOf(place.world, 'prod')).hosts[0]!.streams.open > 0)
    await place.sshd.restart()
    expect((await cut).exitCode).not.toBe(0)
    await until('it is up again', async () => (await statusOf(place.world, 'prod')).hosts[0]?.state === 'up')
    await place.world.docker('prod', ['rm', '-f', id])
  })

  test('an unknown host key is asked about as everywhere, and the hint elsewhere can be typed', async () => {
    await using place = await Entrance.open(hosts().prod.remoteSocket, { transport: 'openssh' })
    const knownHosts = await place.file('known_hosts', '')
    await place.configure({ transport: 'openssh', knownHostsFile: knownHosts })
    const refused = await place.world.dproxy(['up', 'prod'])
    expect(refused.exitCode).toBe(4)
    expect(refused.stderr).toMatch(/next: .*dproxy trust prod/u)
    const up = place.terminal('up', 'prod')
    await up.sees(/fingerprint\]/u)
    up.type('maybe\r')
    await up.sees(/Please type 'yes', 'no' or the fingerprint[^]*fingerprint\]/u)
    up.type('yes\r')
    expect(await up.exitCode).toBe(0)
    expect((await statusOf(place.world, 'prod')).hosts[0]?.transport?.kind).toBe('openssh')
  })

  test('a changed host key is told with both fingerprints and the line of the old one', async () => {
    await using place = await Entrance.open(hosts().prod.remoteSocket)
    await using other = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const line = `[127.0.0.1]:${place.sshd.port} ${other.hostKeys[0]}\n`
    const knownHosts = await place.file('known_hosts', `# first\n${line}`)
    await place.configure({ transport: 'openssh', knownHostsFile: knownHosts })
    const refused = await place.world.dproxy(['up', 'prod'])
    expect(refused.exitCode).toBe(4)
    expect(refused.stderr).toContain(`${knownHosts} line 2 has ED25519 SHA256:`)
    expect([...refused.stderr.matchAll(/SHA256:[\w+/]{43}/gu)]).toHaveLength(2)
    expect(refused.stderr).toMatch(/ssh-keygen -R '\[127\.0\.0\.1\]:\d+' -f \S+, then: dproxy trust prod/u)
  })

  test('through a jump host of its own configuration', async () => {
    await using bastion = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await using place = await Entrance.open(hosts().prod.remoteSocket, {
      transport: 'openssh',
      proxyJump: 'bastion',
    })
    const config = await place.file(
      'ssh_config',
      [
        'Host bastion',
        '  HostName 127.0.0.1',
        `  Port ${bastion.port}`,
        `  User ${bastion.user}`,
        `  IdentityFile ${bastion.keyFile}`,
        `  UserKnownHostsFile ${bastion.knownHostsFile}`,
        '',
      ].join('\n'),
    )
    place.world.env.DPROXY_SSH_CONFIG = config
    await must(place.world, ['up', 'prod'])
    await works(place)
    expect(await bastion.log()).toMatch(/Accepted publickey/u)
  })
})
