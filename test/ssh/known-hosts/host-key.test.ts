import { execa } from 'execa'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { learnHostKey } from '../../../src/ssh/known-hosts/learn.js'
import { hashedName } from '../../../src/ssh/known-hosts/names.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { failureOf, laneTo, never, targetOf } from '../support.js'
import { blobIn, fileWith, lookupOf } from './support.js'

describeWith(['sshd'], 'the host key of a real server', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start()
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  /** A known_hosts file of these lines, and the target that goes by it. */
  const knowing = async (scope: Scope, ...lines: string[]) => {
    const file = await fileWith(scope, lines.map((line) => `${line}\n`).join(''))
    return { file, target: targetOf(sshd, { knownHostsFiles: [file] }) }
  }
  const name = () => `[127.0.0.1]:${sshd.port}`
  const keyOf = (type: string) => sshd.hostKeys.find((key) => key.startsWith(type)) ?? ''
  const other = generateThrowAwayKey().publicKeyLine

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
    ['a pattern', async (scope: Scope) => knowing(scope, `[127.0.*]:* ${keyOf('ssh-ed25519')}`)],
    ['a line without the port', async (scope: Scope) => knowing(scope, `127.0.0.1 ${keyOf('ssh-ed25519')}`)],
    // The server has three: only the one that is known can be compared.
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
      hint: expect.stringContaining('dproxy trust') as string,
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
    const log = await loggedDuring(async () => (refusal = await failureOf(target, { ask: yes })))
    expect(refusal).toMatchObject({
      code: 'HOST_KEY_CHANGED',
      hint: expect.stringContaining(`ssh-keygen -R '${name()}' -f ${file}, then: dproxy trust`) as string,
    })
    expect(refusal?.message).toContain(await fingerprintOf(scope, keyOf('ssh-ed25519')))
    expect(refusal?.message).toContain(await fingerprintOf(scope, other))
    expect(refusal?.message).toContain(`${file} line 2`)
    expect(log).not.toContain(sshd.user)
    // One attempt, and no other.
    expect(log.match(/Connection from/gu)?.length).toBe(1)
    expect(await readFile(file, 'utf8')).toBe(`# old\n${name()} ${other}\n`)
  })

  test('of which only another type is known counts as changed', async () => {
    await using scope = new Scope()
    const ecdsa = join(scope.use(await TempDir.create()).path, 'key')
    await execa('ssh-keygen', ['-q', '-t', 'ecdsa', '-b', '384', '-N', '', '-f', ecdsa])
    const { target } = await knowing(scope, `${name()} ${await readFile(`${ecdsa}.pub`, 'utf8')}`)
    expect((await failureOf(target, { ask: yes })).code).toBe('HOST_KEY_CHANGED')
  })

  test('that is revoked is refused though it is known', async () => {
    await using scope = new Scope()
    const key = keyOf('ssh-ed25519')
    const { file, target } = await knowing(scope, `${name()} ${key}`, `@revoked other.org ${key}`)
    const refusal = await failureOf(target, { ask: yes })
    expect(refusal.code).toBe('HOST_KEY_REVOKED')
    expect(refusal.message).toContain(`${file} line 2`)
  })

  test('that only an authority vouches for is refused, and nobody is asked to trust it', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope, `@cert-authority * ${other}`)
    const refusal = await failureOf(target, { ask: yes })
    expect(refusal).toMatchObject({
      code: 'HOST_KEY_UNPROVEN',
      hint: expect.stringContaining('transport: openssh') as string,
    })
    expect(await readFile(file, 'utf8')).toBe(`@cert-authority * ${other}\n`)
  })

  test('goes by what the file says now: a line removed, added or revoked since counts at the next connect', async () => {
    await using scope = new Scope()
    const line = `${name()} ${keyOf('ssh-ed25519')}`
    const { file, target } = await knowing(scope, line)
    await laneTo(scope, target)
    await writeFile(file, '')
    expect((await failureOf(target)).code).toBe('HOST_KEY_UNKNOWN')
    await writeFile(file, line)
    await laneTo(scope, target)
    await writeFile(file, `${line}\n@revoked * ${keyOf('ssh-ed25519')}\n`)
    expect((await failureOf(target)).code).toBe('HOST_KEY_REVOKED')
  })

  test('counts as not checked where a file cannot be read, and nobody is dialled', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const connections = async () => (await sshd.log()).match(/Connection from/gu)?.length
    const before = await connections()
    const refusal = await failureOf(targetOf(sshd, { knownHostsFiles: [sshd.knownHostsFile, dir.path] }))
    expect(refusal).toMatchObject({ code: 'HOST_KEY_UNREADABLE', stage: 'host key' })
    expect(await connections()).toBe(before)
  })

  test('that a person accepts is stored in one line, and another one later is refused', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope)
    await laneTo(scope, target, { ask: yes })
    expect(await readFile(file, 'utf8')).toBe(`${name()} ${keyOf('ssh-ed25519')}\n`)
    await laneTo(scope, target)
    await using impostor = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await writeFile(file, (await readFile(file, 'utf8')).replace(name(), `[127.0.0.1]:${impostor.port}`))
    const there = targetOf(impostor, { knownHostsFiles: [file] })
    expect((await failureOf(there, { ask: yes })).code).toBe('HOST_KEY_CHANGED')
  })

  test('that a person declines is not stored', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope)
    expect((await failureOf(target, { ask: async () => ['no'] })).code).toBe('HOST_KEY_UNKNOWN')
    expect(await readFile(file, 'utf8')).toBe('')
  })

  test('is not stored because the server announces it (hostkeys-00@openssh.com)', async () => {
    await using scope = new Scope()
    const { file, target } = await knowing(scope, `${name()} ${keyOf('ssh-ed25519')}`)
    const heard = vi.spyOn(ssh2.Client.prototype, 'emit')
    scope.add(heard, () => heard.mockRestore())
    const lane = await laneTo(scope, target)
    await until('ssh2 has proof of all three keys', () =>
      heard.mock.calls.some(
        ([event, keys]) => (event as string) === 'hostkeys' && (keys as unknown[]).length === 3,
      ),
    )
    await lane.ping(5000, never)
    expect(await readFile(file, 'utf8')).toBe(`${name()} ${keyOf('ssh-ed25519')}\n`)
  })

  test.each([
    ['plain', ''],
    ['hidden', `${hashedName('a.org')} ${other}\n`],
  ])('as we store it is accepted by ssh: %s', async (_, before) => {
    await using scope = new Scope()
    const file = await fileWith(scope, before)
    const lookup = lookupOf({ files: [file], host: sshd.host, port: sshd.port })
    await learnHostKey(lookup, blobIn(keyOf('ssh-ed25519')))
    const { exitCode } = await execa(
      'ssh',
      [
        '-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o BatchMode=yes'.split(' '),
        ['-o', `UserKnownHostsFile=${file}`, '-o', 'GlobalKnownHostsFile=none', '-i', sshd.keyFile],
        ['-p', String(sshd.port), `${sshd.user}@${sshd.host}`, 'true'],
      ].flat(),
      { stdin: 'ignore' },
    )
    expect(exitCode).toBe(0)
    expect(await readFile(file, 'utf8')).toMatch(/^(?:\S+ ssh-ed25519 \S+\n){1,2}$/u)
  })
})

const yes = async () => ['yes']

const fingerprintOf = async (scope: Scope, key: string): Promise<string> => {
  const { stdout } = await execa('ssh-keygen', ['-lf', await fileWith(scope, `${key}\n`)])
  return stdout.split(' ')[1] ?? ''
}
