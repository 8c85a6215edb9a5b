import { execa } from 'execa'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { failureOf, laneTo, targetOf } from './support.js'

describeWith(['sshd'], 'the host key of a real server', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start()
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  /** A known_hosts file of these lines, and the target that goes by it. */
  const knowing = async (scope: Scope, ...lines: string[]) => {
    const dir = scope.use(await TempDir.create())
    const file = join(dir.path, 'known_hosts')
    await writeFile(file, lines.map((line) => `${line}\n`).join(''))
    return { file, target: targetOf(sshd, { knownHostsFiles: [file] }) }
  }
  const name = () => `[127.0.0.1]:${sshd.port}`
  const keyOf = (type: string) => sshd.hostKeys.find((key) => key.startsWith(type)) ?? ''
  const other = generateThrowAwayKey().publicKeyLine

  const fingerprintOf = async (scope: Scope, key: string): Promise<string> => {
    const { file } = await knowing(scope, key)
    const { stdout } = await execa('ssh-keygen', ['-lf', file])
    return stdout.split(' ')[1] ?? ''
  }

  /** Everything the server said while `work` ran. */
  const loggedDuring = async (work: () => Promise<unknown>): Promise<string> => {
    const before = (await sshd.log()).length
    await work()
    return until('the server has noticed', async () => {
      const log = (await sshd.log()).slice(before)
      return /Connection (?:closed|reset)|Disconnected|Received disconnect/u.test(log) && log
    })
  }

  test.each([
    ['a plain line', async (scope: Scope) => knowing(scope, `${name()} ${keyOf('ssh-ed25519')}`)],
    [
      'a hashed line',
      async (scope: Scope) => {
        const known = await knowing(scope, `${name()} ${keyOf('ssh-ed25519')}`)
        await execa('ssh-keygen', ['-H', '-f', known.file])
        return known
      },
    ],
    ['its ECDSA key only', async (scope: Scope) => knowing(scope, `${name()} ${keyOf('ecdsa')}`)],
    ['its RSA key only', async (scope: Scope) => knowing(scope, `${name()} ${keyOf('ssh-rsa')}`)],
    [
      'an old key beside the new one',
      async (scope: Scope) => knowing(scope, `${name()} ${other}`, `${name()} ${keyOf('ssh-ed25519')}`),
    ],
  ])('is accepted by %s', async (_, known) => {
    await using scope = new Scope()
    const { target } = await known(scope)
    const lane = await laneTo(scope, target)
    expect(lane.lost.aborted).toBe(false)
  })

  test('is looked up by the HostKeyAlias, verbatim and without a port', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope, `the-alias ${keyOf('ssh-ed25519')}`)
    const config = `${file}.ssh_config`
    await writeFile(config, 'Host 127.0.0.1\n  HostKeyAlias the-alias\n')
    await laneTo(scope, target, { env: { DPROXY_SSH_CONFIG: config } })
    expect((await failureOf(target)).code).toBe('HOST_KEY_UNKNOWN')
  })

  test('that is not known is refused with its fingerprint, before anything of the login is sent', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope, `other.org ${keyOf('ssh-ed25519')}`)
    let refusal: Awaited<ReturnType<typeof failureOf>> | undefined
    const log = await loggedDuring(async () => (refusal = await failureOf(target)))
    expect(refusal).toMatchObject({
      code: 'HOST_KEY_UNKNOWN',
      stage: 'host key',
      hint: expect.stringContaining(`ssh -p ${sshd.port} ${sshd.user}@127.0.0.1`) as string,
      stages: ['resolve', 'connect', 'host key'],
    })
    expect(refusal?.message).toContain(`ssh-ed25519 ${await fingerprintOf(scope, keyOf('ssh-ed25519'))}`)
    // The server does not even know who came.
    expect(log).not.toContain(sshd.user)
    expect(log).toContain('[preauth]')
    expect(await readFile(file, 'utf8')).toBe(`other.org ${keyOf('ssh-ed25519')}\n`)
  })

  test('that has changed is refused with both fingerprints and the place, and nothing is sent or stored', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope, '# old', `${name()} ${other}`)
    let refusal: Awaited<ReturnType<typeof failureOf>> | undefined
    const log = await loggedDuring(async () => (refusal = await failureOf(target)))
    expect(refusal).toMatchObject({
      code: 'HOST_KEY_CHANGED',
      hint: expect.stringContaining(`ssh-keygen -R '${name()}'`) as string,
    })
    expect(refusal?.message).toContain(await fingerprintOf(scope, keyOf('ssh-ed25519')))
    expect(refusal?.message).toContain(await fingerprintOf(scope, other))
    expect(refusal?.message).toContain(`${file} line 2`)
    expect(log).not.toContain(sshd.user)
    expect(await readFile(file, 'utf8')).toBe(`# old\n${name()} ${other}\n`)
  })

  test('of which only another type is known counts as changed', async () => {
    await using scope = new Scope()
    const ecdsa = join(scope.use(await TempDir.create()).path, 'key')
    await execa('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '384', '-N', '', '-f', ecdsa])
    const { target } = await knowing(scope, `${name()} ${await readFile(`${ecdsa}.pub`, 'utf8')}`)
    expect((await failureOf(target)).code).toBe('HOST_KEY_CHANGED')
  })

  test('that is revoked is refused though it is known', async () => {
    await using scope = new Scope()
    const key = keyOf('ssh-ed25519')
    const { file, target } = await knowing(scope, `${name()} ${key}`, `@revoked other.org ${key}`)
    const refusal = await failureOf(target)
    expect(refusal.code).toBe('HOST_KEY_REVOKED')
    expect(refusal.message).toContain(`${file} line 2`)
  })

  test('counts as not checked where a file cannot be read, and nobody is dialled', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const before = await sshd.log()
    const refusal = await failureOf(targetOf(sshd, { knownHostsFiles: [sshd.knownHostsFile, dir.path] }))
    expect(refusal).toMatchObject({ code: 'HOST_KEY_UNREADABLE', stage: 'host key' })
    expect(await sshd.log()).toBe(before)
  })
})
