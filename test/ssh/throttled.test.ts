import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import type { Target } from '../../src/ssh/target.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { opensshFailure } from './openssh/support.js'
import { ANY_TARGET, failureOf, laneTo, targetOf } from './support.js'

const TRANSPORTS = {
  ssh2: (_: Scope, target: Target) => failureOf(target),
  "the system's ssh": opensshFailure,
} as const
const transports = Object.entries(TRANSPORTS)

/** Takes up one place of those that wait for their login. */
const waitAt = async (scope: Scope, port: number) => {
  const socket = scope.add(connect(port, '127.0.0.1'), (taken) => taken.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'data')
  return socket
}

/** A server that says one thing to everybody and hangs up, without reading what it is sent, as sshd does. */
const saying = async (scope: Scope, text: string) => {
  const server = createServer((client) => {
    client.on('error', () => undefined)
    client.write(text, () => client.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.add(server, () => server.close())
  return (server.address() as AddressInfo).port
}

const through = (destination: string, port: number | null) => ({
  proxyJump: [{ destination, user: null, port }],
})

describeWith(['sshd'], 'a server at which too many wait for their login', () => {
  test.each(transports)('is left in peace, and lets us in later: %s', async (_, failing) => {
    await using scope = new Scope()
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxStartups 1'] }))
    const other = await waitAt(scope, sshd.port)
    const failure = await failing(scope, targetOf(sshd))
    expect(failure).toMatchObject({ code: 'LOGIN_THROTTLED', stage: 'login' })
    expect(failure.message).toContain(`127.0.0.1:${sshd.port} takes no login for now: `)
    expect(failure.hint).toContain('MaxStartups')
    expect(failure.retryAfterMs).toBeGreaterThanOrEqual(2000)
    expect(failure.stages).not.toContain('login')
    other.destroy()
    // sshd has to notice that first.
    await until('it lets us in', async () => (await laneTo(scope, targetOf(sshd))).openStreams === 0)
  })
})

// Servers that penalise came with OpenSSH 9.8; what they say then is taken from sshd.c, drop_connection().
describeWith(['sshd'], 'a server that has a penalty for our address', () => {
  test.each(transports)('is left in peace for longer than the least penalty: %s', async (_, failing) => {
    await using scope = new Scope()
    const port = await saying(scope, 'Not allowed at this time\r\n')
    const failure = await failing(scope, {
      ...ANY_TARGET,
      user: 'deploy',
      port,
      knownHostsFiles: ['/dev/null'],
    })
    expect(failure).toMatchObject({
      code: 'LOGIN_THROTTLED',
      stage: 'login',
      hint: expect.stringContaining('PerSourcePenalties') as string,
    })
    expect(failure.message).toContain('Not allowed at this time')
    expect(failure.retryAfterMs).toBeGreaterThan(15_000)
  })

  test('says so also from behind a jump host', async () => {
    await using scope = new Scope()
    const jump = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    const port = await saying(scope, 'Not allowed at this time\r\n')
    const config = [
      `Host jump\n  Hostname 127.0.0.1\n  Port ${jump.port}\n  User ${jump.user}`,
      `  IdentityFile ${jump.keyFile}\n  UserKnownHostsFile ${jump.knownHostsFile}`,
    ]
    await writeFile(join(jump.dir, 'ssh_config'), `${config.join('\n')}\n`)
    const env = { PATH: process.env.PATH, DPROXY_SSH_CONFIG: join(jump.dir, 'ssh_config') }
    const behind = await failureOf(targetOf(jump, { port, ...through('jump', null) }), { env })
    expect(behind).toMatchObject({ code: 'LOGIN_THROTTLED' })
    expect(behind.message).toContain(`127.0.0.1:${port} takes no login`)
    // And when it is the jump host itself.
    const at = await failureOf(targetOf(jump, through('127.0.0.1', port)), { env })
    expect(at).toMatchObject({ code: 'LOGIN_THROTTLED', retryAfterMs: behind.retryAfterMs })
    expect(at.message).toMatch(/^jump host \S+@127\.0\.0\.1:\d+: .* takes no login/u)
  })
})

describe('a server that says something else before it hangs up', () => {
  test.each(transports)('is quoted, and nothing in it is obeyed: %s', async (_, failing) => {
    await using scope = new Scope()
    const port = await saying(scope, 'go \u001B[31maway\r\nplease\r\n')
    const failure = await failing(scope, {
      ...ANY_TARGET,
      user: 'deploy',
      port,
      knownHostsFiles: ['/dev/null'],
    })
    expect(failure).toMatchObject({ code: 'HANDSHAKE_FAILED', stage: 'host key' })
    expect(failure.message).toMatch(/it said: go \S+away please$/u)
    // eslint-disable-next-line no-control-regex
    expect(failure.message).not.toMatch(/\u001B/u)
  })

  test.each(transports)(
    'or nothing at all, may be too busy, and that is the hint: %s',
    async (_, failing) => {
      await using scope = new Scope()
      const port = await saying(scope, '')
      const failure = await failing(scope, {
        ...ANY_TARGET,
        user: 'deploy',
        port,
        knownHostsFiles: ['/dev/null'],
      })
      expect(failure).toMatchObject({
        code: 'HANDSHAKE_FAILED',
        hint: expect.stringContaining('MaxStartups, PerSourcePenalties') as string,
      })
      expect(failure.message).not.toContain('it said')
      expect(failure.retryAfterMs).toBeUndefined()
    },
  )
})
