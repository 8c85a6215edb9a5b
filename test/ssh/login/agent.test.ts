import { execa } from 'execa'
import { chmod, copyFile, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { describeWith } from '../../testbed/describe-with.js'
import { SshAgent } from '../../testbed/ssh-agent.js'
import { Sshd } from '../../testbed/sshd.js'
import { fakeAgent } from './fake-agent.js'
import { attempt, keyMaker, logged, refused, resolvedTo } from './support.js'

const blobOf = async (file: string): Promise<Buffer> =>
  Buffer.from((await readFile(`${file}.pub`, 'utf8')).split(' ')[1] ?? '', 'base64')

describeWith(['sshd'], 'a login with an agent', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  const byAgent = { identityFiles: [], identitiesOnly: false }

  /** An agent of eight keys, the last one right; on disk that one is encrypted. */
  const crowded = async (scope: Scope) => {
    const { at, key } = await keyMaker(scope)
    const agent = scope.use(await SshAgent.start())
    for (let count = 1; count <= 7; count += 1) await agent.add([await key(`wrong ${count}`)])
    const right = at('right')
    await copyFile(sshd.keyFile, right)
    await chmod(right, 0o600)
    await copyFile(`${sshd.keyFile}.pub`, `${right}.pub`)
    await agent.add([right])
    await execa('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'secret', '-f', right])
    return { agentSocket: agent.socket, right, at }
  }

  test('succeeds with a key that only the agent holds', async () => {
    await using scope = new Scope()
    const agent = scope.use(await SshAgent.start())
    await agent.add([sshd.keyFile])
    expect(await attempt(scope, resolvedTo(sshd, byAgent), { agentSocket: agent.socket })).toBeUndefined()
  })

  test.each(['rsa -b 2048', 'ecdsa -b 256', 'ecdsa -b 521', 'ed25519'])(
    'succeeds with an agent key of type %s',
    async (words) => {
      await using scope = new Scope()
      const { key } = await keyMaker(scope)
      const file = await key('held', '-t', ...words.split(' '))
      const before = await readFile(sshd.authorizedKeysFile)
      scope.add(before, (bytes) => writeFile(sshd.authorizedKeysFile, bytes))
      await writeFile(sshd.authorizedKeysFile, await readFile(`${file}.pub`))
      const agent = scope.use(await SshAgent.start())
      await agent.add([file])
      expect(await attempt(scope, resolvedTo(sshd, byAgent), { agentSocket: agent.socket })).toBeUndefined()
    },
  )

  test('takes the agent that the configuration names, and none when it says so', async () => {
    await using scope = new Scope()
    const agent = scope.use(await SshAgent.start())
    await agent.add([sshd.keyFile])
    const { socket } = agent
    const named = resolvedTo(sshd, { ...byAgent, agent: { socket } })
    expect(await attempt(scope, named, { agentSocket: '/nonexistent' })).toBeUndefined()
    const none = await refused(scope, resolvedTo(sshd, { ...byAgent, agent: 'none' }), {
      agentSocket: socket,
    })
    expect(none.message).toMatch(/no ssh-agent and no key file$/u)
  })

  describe('of many keys', () => {
    test('offers the named one first, though it is the eighth', async () => {
      await using scope = new Scope()
      const { agentSocket, right } = await crowded(scope)
      for (const identitiesOnly of [false, true]) {
        const resolved = resolvedTo(sshd, { identityFiles: [right], identitiesOnly })
        expect(await logged(sshd, /Failed publickey/u, () => attempt(scope, resolved, { agentSocket }))).toBe(
          0,
        )
      }
    })

    test('knows it by its public half alone', async () => {
      await using scope = new Scope()
      const { agentSocket, right, at } = await crowded(scope)
      await copyFile(`${right}.pub`, `${at('moved')}.pub`)
      await chmod(`${right}.pub`, 0o644)
      for (const file of [`${right}.pub`, at('moved')]) {
        const resolved = resolvedTo(sshd, { identityFiles: [file] })
        expect(await attempt(scope, resolved, { agentSocket })).toBeUndefined()
      }
    })

    test('offers nothing else under identitiesOnly', async () => {
      await using scope = new Scope()
      const { agentSocket, at } = await crowded(scope)
      const resolved = resolvedTo(sshd, { identityFiles: [at('wrong 3')] })
      let failure: Awaited<ReturnType<typeof refused>> | undefined
      const offers = await logged(sshd, /Failed publickey/u, async () => {
        failure = await refused(scope, resolved, { agentSocket })
      })
      expect(offers).toBe(1)
      expect(failure).toMatchObject({ code: 'LOGIN_REFUSED', stage: 'login' })
      expect(failure?.message).toMatch(/refused the only key offered: ssh-ed25519 wrong 3 from the agent$/u)
    })

    test('says what it offered when the server has had enough', async () => {
      await using scope = new Scope()
      const { agentSocket } = await crowded(scope)
      const failure = await refused(scope, resolvedTo(sshd, byAgent), { agentSocket })
      expect(failure).toMatchObject({ code: 'LOGIN_REFUSED', stage: 'login' })
      expect(failure.message).toMatch(
        /refused all 6 keys offered: .*wrong 1 from the agent.*Too many authentication failures/u,
      )
      expect(failure.hint).toMatch(/identityFile.*identitiesOnly/u)
    })
  })

  test('does not wait long for an agent that does not answer', async () => {
    await using scope = new Scope()
    const { at } = await keyMaker(scope)
    const hung = scope.add(createServer(), (server) => server.close())
    hung.on('connection', (socket) => scope.add(socket, (taken) => taken.destroy()))
    hung.listen(at('agent.sock'))
    await once(hung, 'listening')
    const started = performance.now()
    expect(await attempt(scope, resolvedTo(sshd), { agentSocket: at('agent.sock') })).toBeUndefined()
    expect(performance.now() - started).toBeLessThan(5000)
    const failure = await refused(scope, resolvedTo(sshd, byAgent), { agentSocket: at('agent.sock') })
    expect(failure.message).toContain('did not answer within 3 s')
  })

  test('does without an agent that is gone, and names it when nothing else is there', async () => {
    await using scope = new Scope()
    const agent = scope.use(await SshAgent.start())
    await agent.stop()
    for (const [agentSocket, why] of [
      [agent.socket, 'no agent runs behind it'],
      ['/nonexistent/agent.sock', 'nothing is there'],
    ] as const) {
      expect(await attempt(scope, resolvedTo(sshd), { agentSocket })).toBeUndefined()
      const failure = await refused(scope, resolvedTo(sshd, byAgent), { agentSocket })
      expect(failure.code).toBe('LOGIN_KEY_FILE')
      expect(failure.message).toContain(`the ssh-agent at ${agentSocket} gave no keys: ${why}`)
    }
  })

  test('does without an agent that is locked, and says that it may be', async () => {
    await using scope = new Scope()
    const agent = scope.use(await SshAgent.start())
    await agent.add([sshd.keyFile])
    await agent.lock()
    const agentSocket = agent.socket
    expect(await attempt(scope, resolvedTo(sshd, { identitiesOnly: false }), { agentSocket })).toBeUndefined()
    const failure = await refused(scope, resolvedTo(sshd, byAgent), { agentSocket })
    expect(failure.message).toContain(`the ssh-agent at ${agentSocket} holds no keys, or is locked`)
    expect(failure.hint).toContain('ssh-add -X')
  })

  test.each([
    ['dies while it signs', (client: { destroy(): void }) => client.destroy(), 'it hung up'],
    [
      'refuses to sign',
      (client: { write(bytes: Buffer): void }) => client.write(Buffer.from([0, 0, 0, 1, 5])),
      'it refused to sign',
    ],
    [
      'answers with nonsense',
      (client: { write(bytes: Buffer): void }) => client.write(Buffer.from([0, 0, 0, 3, 14, 9, 9])),
      'its answer makes no sense',
    ],
    [
      'claims an endless answer',
      (client: { write(bytes: Buffer): void }) => client.write(Buffer.alloc(9, 255)),
      'its answer makes no sense',
    ],
  ] as const)('goes on when the agent %s', async (_, sign, why) => {
    await using scope = new Scope()
    const { at, key } = await keyMaker(scope)
    const second = await key('second')
    const before = await readFile(sshd.authorizedKeysFile)
    scope.add(before, (bytes) => writeFile(sshd.authorizedKeysFile, bytes))
    await writeFile(sshd.authorizedKeysFile, Buffer.concat([before, await readFile(`${second}.pub`)]))
    const blobs = [await blobOf(sshd.keyFile)]
    const agent = await fakeAgent(scope, at('agent.sock'), { blobs, sign })
    const help = { agentSocket: at('agent.sock') }
    expect(
      await attempt(scope, resolvedTo(sshd, { identityFiles: [`${sshd.keyFile}.pub`, second] }), help),
    ).toBeUndefined()
    expect(agent.signatures()).toBe(1)
    const failure = await refused(scope, resolvedTo(sshd, { identityFiles: [`${sshd.keyFile}.pub`] }), help)
    expect(failure).toMatchObject({ code: 'LOGIN_NEEDS_PERSON' })
    expect(failure.message).toContain(`but the agent gave no signature: ${why}`)
  })

  test('waits half a minute for a touch, and stops the clock meanwhile', async () => {
    await using scope = new Scope()
    const { at } = await keyMaker(scope)
    const blobs = [await blobOf(sshd.keyFile)]
    const agent = await fakeAgent(scope, at('agent.sock'), { blobs, sign: () => undefined })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    scope.add(vi, (taken) => taken.useRealTimers())
    let waiting: (() => boolean) | undefined
    const failing = attempt(
      scope,
      resolvedTo(sshd, byAgent),
      { agentSocket: at('agent.sock') },
      (_, { person }) => {
        waiting = () => person.asked
      },
    )
    await agent.asked
    expect(waiting?.()).toBe(true)
    vi.advanceTimersByTime(30_000)
    expect((await failing)?.message).toContain('it did not answer within 30 s; does it wait for a touch')
    expect(waiting?.()).toBe(false)
  })

  test('signs once where the login succeeds', async () => {
    await using scope = new Scope()
    const agent = scope.use(await SshAgent.start())
    await agent.add([sshd.keyFile])
    const resolved = resolvedTo(sshd, byAgent)
    // Whatever the server is asked, no question counts as a failure.
    expect(await logged(sshd, /Failed/u, () => attempt(scope, resolved, { agentSocket: agent.socket }))).toBe(
      0,
    )
  })

  test('tells what only the system’s ssh can use', async () => {
    await using scope = new Scope()
    const { key } = await keyMaker(scope)
    const ca = await key('ca')
    const certified = await key('certified')
    await execa('ssh-keygen', ['-q', '-s', ca, '-I', 'someone', '-n', sshd.user, `${certified}.pub`])
    const options = ['AuthorizedKeysFile none', `TrustedUserCAKeys ${ca}.pub`]
    const certificatesOnly = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options }))
    const agent = scope.use(await SshAgent.start())
    await agent.add([certified])
    const agentSocket = agent.socket
    const kind = 'ssh-ed25519-cert-v01@openssh.com'
    const resolved = resolvedTo(certificatesOnly, byAgent)
    const failure = await refused(scope, resolved, { agentSocket })
    expect(failure).toMatchObject({
      code: 'LOGIN_UNSUPPORTED',
      hint: 'set `transport: openssh` for this host',
    })
    expect(failure.message).toContain(`holds ${kind}, which only the system's ssh can use`)
    // Real ssh does get in with it.
    const known = ['-F', 'none', '-o', `UserKnownHostsFile=${certificatesOnly.knownHostsFile}`]
    const words = [...known, '-p', `${certificatesOnly.port}`, `${certificatesOnly.user}@127.0.0.1`, 'true']
    await execa('ssh', ['-o', 'BatchMode=yes', ...words], { env: { SSH_AUTH_SOCK: agentSocket } })
  })
})
