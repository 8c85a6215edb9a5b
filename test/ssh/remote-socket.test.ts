import { execa } from 'execa'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import { cannotOpen } from '../../src/ssh/engine/cannot-open.js'
import type { Resolved } from '../../src/ssh/target.js'
import { startEngine, text } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { noPamUser, PamUser } from '../testbed/pam-user.js'
import { Sshd } from '../testbed/sshd.js'
import { skippedTitle } from '../testbed/skipped.js'
import { TempDir } from '../testbed/temp-dir.js'
import { NO_SECRETS } from './no-secrets.js'
import { laneTo, never, targetOf } from './support.js'

const failureAt = async (scope: Scope, sshd: Sshd, path: string, user = sshd.user) => {
  const lane = await laneTo(scope, targetOf(sshd, { user }))
  const failure: unknown = await lane.openStream(path, never).catch((thrown: unknown) => thrown)
  // Whatever is wrong with one path, the connection stays.
  expect(lane.lost.aborted).toBe(false)
  expect(lane.openStreams).toBe(0)
  return failure
}

const deadSocket = async (path: string): Promise<void> => {
  const server = createServer().listen(`${path}.live`)
  await once(server, 'listening')
  await rename(`${path}.live`, path)
  server.close()
  await once(server, 'close')
}

const at = async (scope: Scope) => {
  const dir = scope.use(await TempDir.create())
  return { dir: dir.path, path: join(dir.path, 'engine.sock') }
}

describeWith(['sshd'], 'a remote socket', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  const there = () => `${sshd.user}@127.0.0.1:${sshd.port}`

  test('that is missing is said to be', async () => {
    await using scope = new Scope()
    const { path } = await at(scope)
    expect(await failureAt(scope, sshd, path)).toMatchObject({
      code: 'ENGINE_SOCKET_MISSING',
      stage: 'engine',
      message: `there is no ${path} on ${there()}`,
    })
  })

  test.skipIf(noPamUser() !== undefined)(
    'of a user whose password has expired cannot be reached, and that is said',
    async () => {
      await using scope = new Scope()
      const user = scope.use(await PamUser.create())
      const options = ['UsePAM yes', 'PasswordAuthentication yes']
      const strict = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options }))
      // As if it had last been changed in 1970.
      await execa('chage', ['-d', '0', user.name])
      const password = { kind: 'found', value: user.password, from: 'the test' } as const
      const target = targetOf(strict, { user: user.name, identityFiles: [], identitiesOnly: true })
      const lane = await laneTo(scope, target, {
        secretsOf: () => ({ ...NO_SECRETS, password: async () => password }),
      })
      await expect(lane.openStream((await at(scope)).path, never)).rejects.toMatchObject({
        code: 'LOGIN_REFUSED',
        stage: 'login',
        message: expect.stringMatching(/^the password of \S+ has expired/u) as string,
        hint: `change it there: ssh -p ${strict.port} ${user.name}@127.0.0.1`,
      })
    },
  )

  test('that is a file or a directory is said to be no socket', async () => {
    await using scope = new Scope()
    const { dir, path } = await at(scope)
    await writeFile(path, '')
    for (const found of [path, dir]) {
      expect(await failureAt(scope, sshd, found)).toMatchObject({
        code: 'ENGINE_SOCKET_MISSING',
        message: `${found} on ${there()} is not a socket`,
      })
    }
  })

  test('behind which nobody listens is said to be a stopped engine', async () => {
    await using scope = new Scope()
    const { path } = await at(scope)
    await deadSocket(path)
    expect(await failureAt(scope, sshd, path)).toMatchObject({
      code: 'ENGINE_DOWN',
      message: `no Docker daemon answers behind ${path} on ${there()}`,
    })
  })

  test('may have any name: no shell ever reads it', async () => {
    await using scope = new Scope()
    const { dir } = await at(scope)
    for (const name of [`it's "$(touch owned)" \`id\``, '$HOME', '-e', '*', ' blank ', 'back\\slash']) {
      const path = join(dir, name)
      expect(await failureAt(scope, sshd, path)).toMatchObject({ code: 'ENGINE_SOCKET_MISSING' })
      const { clients } = await startEngine(scope, path, (engine) => engine.end('here'))
      const lane = await laneTo(scope, targetOf(sshd))
      const stream = await lane.openStream(path, never)
      stream.end()
      expect(await text(stream)).toBe('here')
      expect(clients.size).toBeLessThanOrEqual(1)
    }
  })

  test('is looked at once for many clients at a time', async () => {
    await using scope = new Scope()
    const { path } = await at(scope)
    const lane = await laneTo(scope, targetOf(sshd))
    const before = (await sshd.log()).length
    const ends = await Promise.allSettled(Array.from({ length: 50 }, () => lane.openStream(path, never)))
    for (const end of ends) expect(end).toMatchObject({ reason: { code: 'ENGINE_SOCKET_MISSING' } })
    const commands = [...(await sshd.log()).slice(before).matchAll(/Starting session: command/gu)]
    expect(commands.length).toBe(1)
  })

  test('does not hold up a client that leaves while it is looked at', async () => {
    await using scope = new Scope()
    await using slow = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['ForceCommand sleep 30'] })
    const { path } = await at(scope)
    const lane = await laneTo(scope, targetOf(slow))
    const reason = new Error('left')
    const started = performance.now()
    await expect(
      lane.openStream(path, AbortSignal.timeout(300)).catch(() => Promise.reject(reason)),
    ).rejects.toBe(reason)
    expect(performance.now() - started).toBeLessThan(2000)
  })

  test.each([
    ['AllowStreamLocalForwarding no', 'FORWARDING_FORBIDDEN'],
    ['DisableForwarding yes', 'FORWARDING_FORBIDDEN'],
    ['AllowStreamLocalForwarding remote', 'FORWARDING_FORBIDDEN'],
  ])('that sshd does not forward to comes with the word that allows it: %s', async (option, code) => {
    await using scope = new Scope()
    const { path } = await at(scope)
    await startEngine(scope, path, (engine) => engine.end())
    await using strict = await Sshd.start({ hostKeyTypes: ['ed25519'], options: [option] })
    expect(await failureAt(scope, strict, path)).toMatchObject({
      code,
      hint: expect.stringContaining('AllowStreamLocalForwarding yes') as string,
    })
  })

  test('that cannot be looked at is described by all that may be wrong', async () => {
    await using scope = new Scope()
    const { path } = await at(scope)
    await using forced = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: ['ForceCommand echo go away'],
    })
    const failure = await failureAt(scope, forced, path)
    expect(failure).toMatchObject({ code: 'ENGINE_UNREACHABLE', stage: 'engine' })
    expect((failure as Error).message).toContain(`could not open ${path}`)
  })

  const ordinary = ownUid() === 0 ? ordinaryUser() : undefined
  const title = 'that an ordinary user may not use says so, and how to allow it'
  const why = 'needs root, and another user who has a shell'
  test.skipIf(ordinary === undefined)(ordinary === undefined ? skippedTitle(title, why) : title, async () => {
    await using scope = new Scope()
    // With PAM an account without a password is not a locked one.
    await using open = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['UsePAM yes'] })
    const { path } = await forbidden(scope, open)
    expect(await failureAt(scope, open, path, ordinary)).toMatchObject({
      code: 'ENGINE_SOCKET_DENIED',
      message: `${ordinary} may not use ${path} on ${ordinary}@127.0.0.1:${open.port}: permission denied`,
      hint: `let the user in there: sudo usermod -aG docker ${ordinary}, then: dproxy restart prod`,
    })
  })

  test.runIf(ownUid() === 0)('that a user without a shell may not use names the user', async () => {
    await using scope = new Scope()
    const { path } = await forbidden(scope)
    const failure = await failureAt(scope, sshd, path, 'www-data')
    expect(failure).toMatchObject({
      code: 'ENGINE_UNREACHABLE',
      hint: expect.stringContaining('that www-data may use it') as string,
    })
  })

  /** An engine in sight of everybody, for root alone; and a server that lets everybody in with our key. */
  const forbidden = async (scope: Scope, server = sshd) => {
    const found = await at(scope)
    await chmod(found.dir, 0o755)
    await startEngine(scope, found.path, (engine) => engine.end())
    await chmod(found.path, 0o660)
    await chmod(server.dir, 0o755)
    await chmod(server.authorizedKeysFile, 0o644)
    return found
  }
})

/** Somebody who is not root and can run commands. */
const ordinaryUser = (): string | undefined =>
  readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([, , uid, , , , shell]) => uid !== '0' && /\/(?:ba|da)?sh$/u.test(shell ?? ''))?.[0]

describe('what a look at the remote socket finds', () => {
  const resolved = { typed: 'prod', host: 'example.com', port: 22, user: 'deploy' } as Resolved
  test.each([
    ['listening', 'FORWARDING_FORBIDDEN'],
    ['usable', 'ENGINE_DOWN'],
    ['denied', 'ENGINE_SOCKET_DENIED'],
    ['other', 'ENGINE_SOCKET_MISSING'],
    ['missing', 'ENGINE_SOCKET_MISSING'],
    ['unknown', 'ENGINE_UNREACHABLE'],
  ] as const)('%s becomes a sentence with host, path and next step', (probe, code) => {
    const error = cannotOpen(resolved, '/run/docker.sock', new Error('open failed'), probe)
    expect(error).toMatchObject({ code, stage: 'engine', hint: expect.stringMatching(/./u) as string })
    expect(error.message).toContain('deploy@example.com:22')
    expect(error.message).toContain('/run/docker.sock')
  })

  test('matters less than the word of a server that says it forbids it', () => {
    const failure = Object.assign(new Error('prohibited'), { reason: 1 })
    expect(cannotOpen(resolved, '/run/docker.sock', failure, 'usable')).toMatchObject({
      code: 'FORWARDING_FORBIDDEN',
      message: 'sshd on deploy@example.com:22 forbids forwarding to /run/docker.sock',
    })
  })

  test('is shown without what a terminal would obey', () => {
    const failure = new Error('open \u001B[31mfailed')
    expect(cannotOpen(resolved, '/run/docker.sock', failure, 'unknown').message).toContain('\\x1b[31m')
  })
})
