import { chmod, readFile, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { lockKey, makeKey } from '../../testbed/certificates.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { targetOf } from '../support.js'
import { opensshFailure, PLAIN_ENV } from './support.js'

describeWith(['sshd'], "a failed login through the system's ssh says why", () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  test('a key that the server does not take', async () => {
    await using scope = new Scope()
    const key = join(scope.use(await TempDir.create()).path, 'key')
    await makeKey(key)
    const failure = await opensshFailure(scope, targetOf(sshd, { identityFiles: [key] }))
    expect(failure).toMatchObject({ code: 'LOGIN_REFUSED', stage: 'login' })
    expect(failure.message).toMatch(/the server takes publickey, and nothing that ssh has was accepted/u)
    expect(failure.hint).toContain(`ssh -v -F none -i ${key}`)
  })

  test('a key with a passphrase', async () => {
    await using scope = new Scope()
    const key = join(scope.use(await TempDir.create()).path, 'key')
    const publicKey = await makeKey(key)
    await lockKey(key, 'sesame')
    await using own = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    await writeFile(own.authorizedKeysFile, `${publicKey}\n`)
    const failure = await opensshFailure(scope, targetOf(own, { identityFiles: [key] }))
    expect(failure).toMatchObject({
      code: 'LOGIN_PASSPHRASE',
      stage: 'login',
      hint: expect.stringContaining(`ssh-add '${key}'`) as string,
    })
  })

  test('a key that others may read', async () => {
    await using scope = new Scope()
    const key = join(scope.use(await TempDir.create()).path, 'key')
    await writeFile(key, await readFile(sshd.keyFile))
    await chmod(key, 0o644)
    const failure = await opensshFailure(scope, targetOf(sshd, { identityFiles: [key] }))
    expect(failure).toMatchObject({ code: 'LOGIN_KEY_FILE', hint: `chmod 600 '${key}'` })
  })

  test('too many keys', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const identityFiles = [join(dir, 'a'), join(dir, 'b'), join(dir, 'c')]
    for (const file of identityFiles) await makeKey(file)
    await using strict = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxAuthTries 2'] })
    const failure = await opensshFailure(scope, targetOf(strict, { identityFiles }))
    expect(failure.code).toBe('LOGIN_REFUSED')
    expect(failure.message).toMatch(/too many keys were offered/u)
  })

  test('a server that only takes what a person types', async () => {
    await using scope = new Scope()
    await using asking = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: ['PubkeyAuthentication no', 'PasswordAuthentication yes'],
    })
    const failure = await opensshFailure(scope, targetOf(asking))
    expect(failure).toMatchObject({ code: 'LOGIN_NEEDS_PERSON', stage: 'login' })
    expect(failure.message).toMatch(/takes only password/u)
  })

  test('a host key that is unknown, changed or revoked, with its fingerprint and place', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const other = await makeKey(join(dir, 'other'))
    const known = join(dir, 'known_hosts')
    const name = `[127.0.0.1]:${sshd.port}`
    const failing = async (lines: string) => {
      await writeFile(known, lines)
      const failure = await opensshFailure(scope, targetOf(sshd, { knownHostsFiles: [known] }))
      expect(failure.stage).toBe('host key')
      expect(failure.message).toMatch(/ssh-ed25519 SHA256:[\w+/]{43}/u)
      expect(failure.stages).not.toContain('login')
      expect(await readFile(known, 'utf8')).toBe(lines)
      return failure
    }
    expect(await failing('')).toMatchObject({
      code: 'HOST_KEY_UNKNOWN',
      hint: expect.stringContaining(`-p ${sshd.port}`) as string,
    })
    const changed = await failing(`# a comment\n${name} ${other}\n`)
    expect(changed).toMatchObject({
      code: 'HOST_KEY_CHANGED',
      hint: expect.stringContaining(`ssh-keygen -R '${name}' -f ${known}, then: dproxy trust`) as string,
    })
    expect(changed.message).toContain(`${known} line 2 has ED25519 SHA256:`)
    expect((await failing(`@revoked * ${sshd.hostKeys[0]}\n`)).code).toBe('HOST_KEY_REVOKED')
  })

  test('a host that cannot be found, reached or talked to', async () => {
    await using scope = new Scope()
    const lookup = await opensshFailure(scope, targetOf(sshd, { destination: 'nowhere.invalid' }))
    expect(lookup).toMatchObject({ code: 'RESOLVE_FAILED', stage: 'resolve' })
    const refused = await opensshFailure(scope, targetOf(sshd, { port: 1 }))
    expect(refused).toMatchObject({ code: 'CONNECT_REFUSED', stage: 'connect' })
    const serve = async (onClient: (client: Socket) => void) => {
      const server = createServer((client) => onClient(client.on('error', () => undefined))).listen(
        0,
        '127.0.0.1',
      )
      await once(server, 'listening')
      scope.add(server, () => server.close())
      return (server.address() as AddressInfo).port
    }
    const hangsUp = await opensshFailure(
      scope,
      targetOf(sshd, { port: await serve((client) => client.end()) }),
    )
    expect(hangsUp).toMatchObject({ code: 'HANDSHAKE_FAILED', stage: 'host key' })
    const silent = await opensshFailure(
      scope,
      targetOf(sshd, {
        port: await serve((client) => scope.add(client, (taken) => taken.destroy())),
        connectTimeoutMs: 1000,
      }),
    )
    expect(silent).toMatchObject({ code: 'HANDSHAKE_TIMEOUT', stage: 'host key' })
    expect(silent.message).toMatch(/within 1s|in time/u)
  })

  test('no algorithm in common', async () => {
    await using scope = new Scope()
    await using narrow = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['Ciphers aes128-cbc'] })
    const failure = await opensshFailure(scope, targetOf(narrow))
    expect(failure).toMatchObject({ code: 'HANDSHAKE_FAILED', stage: 'host key' })
    expect(failure.message).toMatch(/no matching cipher found. Their offer: aes128-cbc/u)
  })

  test('a proxy command or a jump host that leads nowhere', async () => {
    await using scope = new Scope()
    const proxyCommand = ['sh', '-c', 'echo "no such way" >&2; exit 3']
    const command = await opensshFailure(scope, targetOf(sshd, { proxyCommand }))
    expect(command).toMatchObject({ code: 'PROXY_FAILED', stage: 'connect' })
    expect(command.message).toContain('no such way')
    const jump = await opensshFailure(
      scope,
      targetOf(sshd, { proxyJump: [{ destination: '127.0.0.1', user: null, port: 1 }] }),
    )
    expect(jump).toMatchObject({ code: 'PROXY_FAILED', stage: 'connect' })
    expect(jump.message).toContain('Connection refused')
  })

  test('no ssh at all', async () => {
    await using scope = new Scope()
    const nothing = { env: { ...PLAIN_ENV, PATH: '/nonexistent' } }
    const missing = await opensshFailure(scope, targetOf(sshd), nothing)
    expect(missing).toMatchObject({
      code: 'NOT_SUPPORTED',
      stage: 'resolve',
      hint: expect.stringContaining('install it') as string,
    })
  })
})
