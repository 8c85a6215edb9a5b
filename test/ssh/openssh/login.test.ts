import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { startEngine, text } from '../../proxy/support.js'
import { CertificateAuthority, makeKey } from '../../testbed/certificates.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { failureOf, never, targetOf } from '../support.js'
import { onlyOpensshCan } from '../../../src/ssh/openssh/only-openssh-can.js'
import { opensshFailure, opensshLaneTo, PLAIN_ENV } from './support.js'

/** A proxy command: connects its input and output to a port, and notes its last word in a file. */
const RELAY = `
  const [port, file, word] = process.argv.slice(1)
  require('node:fs').writeFileSync(file, word)
  const socket = require('node:net').connect(Number(port), '127.0.0.1')
  process.stdin.pipe(socket).pipe(process.stdout)
`

/** An engine that answers, asked through a lane to `target`. */
const proves = async (scope: Scope, target: Parameters<typeof opensshLaneTo>[1]) => {
  const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
  await startEngine(scope, path, (engine) => engine.pipe(engine))
  const lane = await opensshLaneTo(scope, target)
  const stream = await lane.openStream(path, never)
  stream.end('hello')
  expect(await text(stream)).toBe('hello')
  return lane
}

describeWith(['sshd'], "a login through the system's ssh", () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  test('names its stages as they come, and says who speaks SSH and why', async () => {
    await using scope = new Scope()
    const stages: string[] = []
    const why = 'the server asks for a certificate'
    const lane = await opensshLaneTo(scope, targetOf(sshd), { why, onStage: (stage) => stages.push(stage) })
    expect(stages).toEqual(['connect', 'host key', 'login'])
    expect(lane.transport).toEqual({ kind: 'openssh', why })
  })

  test('takes files whose names ssh would split or expand', async () => {
    await using scope = new Scope()
    const dir = join(scope.use(await TempDir.create()).path, "it's %h 100% $HOME ~")
    await mkdir(dir)
    const [key, known] = [join(dir, 'a key'), join(dir, 'known hosts')]
    await writeFile(key, await readFile(sshd.keyFile), { mode: 0o600 })
    await writeFile(known, await readFile(sshd.knownHostsFile))
    await proves(scope, targetOf(sshd, { identityFiles: [key], knownHostsFiles: ['/none', known] }))
  })

  test('with a user certificate gets in where only certificates count', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const ca = await CertificateAuthority.create(dir)
    const key = join(dir, 'user')
    await makeKey(key)
    const options = [`TrustedUserCAKeys ${ca.publicKeyFile}`, 'AuthorizedKeysFile none']
    await using strict = await Sshd.start({ hostKeyTypes: ['ed25519'], options })
    const target = targetOf(strict, { identityFiles: [key] })
    expect((await opensshFailure(scope, target)).code).toBe('LOGIN_REFUSED')
    await ca.certifyUser(key, [strict.user])
    await proves(scope, target)
    expect(await strict.log()).toMatch(/Accepted publickey for .* ED25519-CERT/u)
  })

  test('believes a host certificate of an authority that known_hosts names, and no other', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const [ca, stranger] = [
      await CertificateAuthority.create(dir),
      await CertificateAuthority.create(dir, 'other'),
    ]
    const hostKey = join(dir, 'host')
    await makeKey(hostKey)
    const certificate = await ca.certifyHost(hostKey, ['127.0.0.1'])
    await using certified = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: [
        `HostKey ${hostKey}`,
        `HostCertificate ${certificate}`,
        'HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com',
      ],
    })
    const knownHostsFiles = [join(dir, 'known_hosts')]
    const target = targetOf(certified, { knownHostsFiles })
    await writeFile(knownHostsFiles[0]!, `@cert-authority [127.0.0.1]:* ${ca.publicKey}\n`)
    await proves(scope, target)
    // What ssh2 says of the same server sends `transport: auto` here.
    const bySsh2 = await failureOf(target)
    expect(onlyOpensshCan(bySsh2)).toMatch(/no kind of host key that ssh2 knows/u)
    await writeFile(knownHostsFiles[0]!, `@cert-authority [127.0.0.1]:* ${stranger.publicKey}\n`)
    const refused = await opensshFailure(scope, target)
    expect(refused).toMatchObject({ code: 'HOST_KEY_UNKNOWN', stage: 'host key' })
  })

  test('reaches a server that offers only post-quantum key exchange', async () => {
    await using scope = new Scope()
    await using modern = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: ['KexAlgorithms sntrup761x25519-sha512@openssh.com'],
    })
    const bySsh2 = await failureOf(targetOf(modern))
    expect(onlyOpensshCan(bySsh2)).toMatch(/no key exchange that ssh2 knows/u)
    await proves(scope, targetOf(modern))
  })

  test('goes through a jump host and through a command of the target, whatever is in its words', async () => {
    await using scope = new Scope()
    const jump = { destination: sshd.host, user: sshd.user, port: sshd.port }
    const dir = scope.use(await TempDir.create()).path
    const config = join(dir, 'config')
    await using inner = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await writeFile(
      config,
      `Host *\n IdentityFile ${sshd.keyFile}\n UserKnownHostsFile ${sshd.knownHostsFile}\n GlobalKnownHostsFile none\n`,
    )
    const env = { ...PLAIN_ENV, DPROXY_SSH_CONFIG: config }
    const byJump = await opensshLaneTo(scope, targetOf(inner, { proxyJump: [jump] }), { env })
    expect(await byJump.ping(5000, never)).toBeGreaterThan(0)
    const odd = `it's "odd" $(touch ${dir}/pwned) %h; \`touch ${dir}/pwned\``
    const proxyCommand = [process.execPath, '-e', RELAY, String(inner.port), join(dir, 'said'), odd]
    const byCommand = await opensshLaneTo(scope, targetOf(inner, { proxyCommand }))
    expect(await byCommand.ping(5000, never)).toBeGreaterThan(0)
    expect(await readFile(join(dir, 'said'), 'utf8')).toBe(odd.replace('%h', '127.0.0.1'))
    await expect(readFile(join(dir, 'pwned'))).rejects.toThrow('ENOENT')
  })

  test("takes nothing of the user's own sessions from ssh's configuration", async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const config = join(dir, 'config')
    await writeFile(
      config,
      [
        'Host *',
        ` ControlMaster auto`,
        ` ControlPath ${dir}/theirs-%C`,
        ' ControlPersist yes',
        ' ForkAfterAuthentication yes',
        ' SessionType none',
        ' RemoteCommand touch /tmp/never',
        ' RequestTTY force',
        ` LocalForward ${dir}/forwarded /var/run/docker.sock`,
        ` RemoteForward ${dir}/backwards /var/run/docker.sock`,
        ' PermitLocalCommand yes',
        ` LocalCommand touch ${dir}/local-command-ran`,
        ' ForwardAgent yes',
        ' StrictHostKeyChecking no',
        ' NoHostAuthenticationForLocalhost yes',
        ' LogLevel QUIET',
        '',
      ].join('\n'),
    )
    const env = { ...PLAIN_ENV, DPROXY_SSH_CONFIG: config }
    const unknown = join(dir, 'none-known')
    await writeFile(unknown, '')
    const lane = await opensshLaneTo(scope, targetOf(sshd), { env })
    await lane.ping(5000, never)
    for (const name of ['forwarded', 'backwards', 'local-command-ran']) {
      await expect(readFile(join(dir, name))).rejects.toThrow('ENOENT')
    }
    const refused = await opensshFailure(scope, targetOf(sshd, { knownHostsFiles: [unknown] }), { env })
    expect(refused.code).toBe('HOST_KEY_UNKNOWN')
    expect(await readFile(unknown, 'utf8')).toBe('')
  })
})
