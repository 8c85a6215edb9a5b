import { execa } from 'execa'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, copyFile, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { failureOf, laneTo, targetOf } from './support.js'

/** A real ssh-agent on a socket in `dir`, gone with its scope. */
const startAgent = async (scope: Scope, dir: string): Promise<string> => {
  const socket = join(dir, 'agent.sock')
  const agent = scope.add(spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'pipe' }), async (child) => {
    child.kill()
    await once(child, 'exit')
  })
  await once(agent.stdout, 'data')
  return socket
}

const add = (socket: string, ...files: string[]) =>
  execa('ssh-add', ['-q', ...files], { env: { SSH_AUTH_SOCK: socket } })

const setUp = async (scope: Scope) => {
  const dir = scope.use(await TempDir.create()).path
  const at = (name: string) => join(dir, name)
  const key = async (name: string, ...words: string[]): Promise<string> => {
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, ...words, '-f', at(name)])
    return at(name)
  }
  return { dir, at, key }
}

const crowded = async (scope: Scope, { keyFile }: Sshd) => {
  const { dir, at, key } = await setUp(scope)
  const agentSocket = await startAgent(scope, dir)
  for (let count = 1; count <= 7; count += 1) await add(agentSocket, await key(`wrong ${count}`))
  // The 8th, encrypted on disk: only its public half can be read there.
  const right = at('right')
  await copyFile(keyFile, right)
  await chmod(right, 0o600)
  await copyFile(`${keyFile}.pub`, `${right}.pub`)
  await add(agentSocket, right)
  await execa('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'secret', '-f', right])
  return { agentSocket, right, at }
}

describeWith(['sshd'], 'the login to a real server', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  /** How many keys the server was offered in vain while `work` ran. */
  const failedOffers = async (work: () => Promise<unknown>): Promise<number> => {
    const before = (await sshd.log()).length
    await work()
    return until('the server tells', async () => {
      const log = (await sshd.log()).slice(before)
      // At LogLevel VERBOSE each offer that is turned down leaves one line.
      return /Accepted publickey|Connection (?:closed|reset)|Disconnect/u.test(log)
        ? [...log.matchAll(/Failed publickey/gu)].length
        : undefined
    })
  }

  const byAgent = { identityFiles: [], identitiesOnly: false }

  test('succeeds with a key file', async () => {
    await using scope = new Scope()
    const lane = await laneTo(scope, targetOf(sshd))
    expect(lane.resolved).toMatchObject({ host: '127.0.0.1', port: sshd.port, user: sshd.user })
  })

  test('succeeds with a key that only the agent holds', async () => {
    await using scope = new Scope()
    const { dir } = await setUp(scope)
    const agentSocket = await startAgent(scope, dir)
    await add(agentSocket, sshd.keyFile)
    await laneTo(scope, targetOf(sshd, byAgent), { agentSocket })
  })

  describe('with an agent of many keys', () => {
    test('offers the named one first', async () => {
      await using scope = new Scope()
      const { agentSocket, right } = await crowded(scope, sshd)
      const target = targetOf(sshd, { identityFiles: [right], identitiesOnly: false })
      expect(await failedOffers(() => laneTo(scope, target, { agentSocket }))).toBe(0)
    })

    test('knows it by its public half alone', async () => {
      await using scope = new Scope()
      const { agentSocket, right, at } = await crowded(scope, sshd)
      const named = [`${right}.pub`, at('moved')]
      await copyFile(`${right}.pub`, `${at('moved')}.pub`)
      await chmod(`${right}.pub`, 0o644)
      for (const file of named) {
        const target = targetOf(sshd, { identityFiles: [file], identitiesOnly: true })
        expect(await failedOffers(() => laneTo(scope, target, { agentSocket }))).toBe(0)
      }
    })

    test('offers nothing else under identitiesOnly', async () => {
      await using scope = new Scope()
      const { agentSocket, at } = await crowded(scope, sshd)
      const target = targetOf(sshd, { identityFiles: [at('wrong 3')], identitiesOnly: true })
      let refusal: Awaited<ReturnType<typeof failureOf>> | undefined
      expect(await failedOffers(async () => (refusal = await failureOf(target, { agentSocket })))).toBe(1)
      expect(refusal).toMatchObject({ code: 'LOGIN_REFUSED', stage: 'login' })
      expect(refusal?.message).toMatch(/refused the only key offered: ssh-ed25519 wrong 3 from the agent$/u)
    })

    test('says what it offered when the server has had enough', async () => {
      await using scope = new Scope()
      const { agentSocket } = await crowded(scope, sshd)
      const refusal = await failureOf(targetOf(sshd, byAgent), { agentSocket })
      expect(refusal.code).toBe('LOGIN_REFUSED')
      expect(refusal.message).toMatch(/refused all \d keys offered: .*wrong 1/u)
    })
  })

  test('names an encrypted key file and the way into the agent', async () => {
    await using scope = new Scope()
    const { key } = await setUp(scope)
    const file = await key('locked', '-N', 'secret')
    expect(await failureOf(targetOf(sshd, { identityFiles: [file] }))).toMatchObject({
      code: 'LOGIN_KEY_FILE',
      stage: 'login',
      message: `there is no key to log in to ${sshd.user}@127.0.0.1:${sshd.port} with: the key file ${file} is encrypted`,
      hint: `load it into your agent: ssh-add ${file}`,
    })
  })

  test('does not take a key file that others may read', async () => {
    await using scope = new Scope()
    const { key } = await setUp(scope)
    const file = await key('open')
    for (const mode of [0o644, 0o640, 0o604, 0o660]) {
      await chmod(file, mode)
      expect(await failureOf(targetOf(sshd, { identityFiles: [file] }))).toMatchObject({
        code: 'LOGIN_KEY_FILE',
        message: expect.stringContaining(`${file} is open to others (mode ${mode.toString(8)})`) as string,
        hint: `chmod 600 ${file}`,
      })
    }
  })

  test('names a key file that is missing, and one that is none', async () => {
    await using scope = new Scope()
    const { at, dir } = await setUp(scope)
    await writeFile(at('nonsense'), 'nonsense', { mode: 0o600 })
    await writeFile(at('lonely'), generateThrowAwayKey().publicKeyLine)
    for (const [file, why] of [
      [at('missing'), `the key file ${at('missing')} does not exist`],
      [at('nonsense'), `the key file ${at('nonsense')} is not a private key`],
      [at('lonely'), `${at('lonely')} holds no private key`],
      [dir, `cannot read the key file ${dir}: EISDIR`],
    ] as const) {
      const refusal = await failureOf(targetOf(sshd, { identityFiles: [file] }))
      expect(refusal.code).toBe('LOGIN_KEY_FILE')
      expect(refusal.message).toContain(why)
    }
  })

  test('goes on to the next key file when one is of no use', async () => {
    await using scope = new Scope()
    const { at, key } = await setUp(scope)
    const identityFiles = [
      at('missing'),
      await key('locked', '-N', 'secret'),
      await key('wrong'),
      sshd.keyFile,
    ]
    await laneTo(scope, targetOf(sshd, { identityFiles }))
  })

  test('takes RSA and ECDSA keys, and the older file formats', async () => {
    await using scope = new Scope()
    const { key } = await setUp(scope)
    const files = [
      await key('rsa', '-t', 'rsa', '-b', '2048'),
      await key('ecdsa', '-t', 'ecdsa'),
      await key('pem', '-t', 'rsa', '-b', '2048', '-m', 'PEM'),
    ]
    const before = await readFile(sshd.authorizedKeysFile)
    scope.add(before, (bytes) => writeFile(sshd.authorizedKeysFile, bytes))
    for (const file of files) await appendFile(sshd.authorizedKeysFile, await readFile(`${file}.pub`))
    for (const file of files) await laneTo(scope, targetOf(sshd, { identityFiles: [file] }))
  })

  test('is refused for a user who is not there, and says what was offered', async () => {
    const refusal = await failureOf(targetOf(sshd, { user: 'nobody-of-this-name' }))
    expect(refusal).toMatchObject({
      code: 'LOGIN_REFUSED',
      stage: 'login',
      message: `nobody-of-this-name@127.0.0.1:${sshd.port} refused the only key offered: ${sshd.keyFile}`,
      hint: expect.stringContaining(`ssh -p ${sshd.port} nobody-of-this-name@127.0.0.1`) as string,
      stages: ['resolve', 'connect', 'host key', 'login'],
    })
  })

  test('says that there is nothing to log in with', async () => {
    const refusal = await failureOf(targetOf(sshd, { identityFiles: [] }), {
      env: { DPROXY_SSH_CONFIG: 'none', HOME: '/nonexistent' },
    })
    expect(refusal.code).toBe('LOGIN_REFUSED')
    expect(refusal.message).toMatch(/no ssh-agent and no key file$/u)
  })

  test('does not wait for an agent that does not answer', async () => {
    await using scope = new Scope()
    const { at } = await setUp(scope)
    const hung = scope.add(createServer(), (server) => server.close())
    const taken = new Set<{ destroy(): void }>()
    hung.on('connection', (socket) => taken.add(socket))
    scope.add(taken, (sockets) => {
      for (const socket of sockets) socket.destroy()
    })
    hung.listen(at('agent.sock'))
    await once(hung, 'listening')
    const started = performance.now()
    await laneTo(scope, targetOf(sshd), { agentSocket: at('agent.sock') })
    expect(performance.now() - started).toBeLessThan(5000)
  })

  test('does without an agent that is gone, and names it when nothing else is there', async () => {
    await using scope = new Scope()
    const { at } = await setUp(scope)
    await laneTo(scope, targetOf(sshd), { agentSocket: at('gone.sock') })
    const refusal = await failureOf(targetOf(sshd, { identityFiles: [at('missing')] }), {
      agentSocket: at('gone.sock'),
    })
    expect(refusal.code).toBe('LOGIN_KEY_FILE')
    expect(refusal.message).toContain(`the ssh-agent at ${at('gone.sock')} gave no keys`)
  })

  test('is said to be impossible with keys where the server takes passwords only', async () => {
    await using passwords = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: ['PubkeyAuthentication no', 'PasswordAuthentication yes'],
    })
    const refusal = await failureOf(targetOf(passwords))
    expect(refusal).toMatchObject({ code: 'LOGIN_REFUSED', stage: 'login' })
    expect(refusal.message).toMatch(/takes no keys, only password$/u)
  })

  test('makes one attempt for each call, and none by itself', async () => {
    await using scope = new Scope()
    const { key } = await setUp(scope)
    const target = targetOf(sshd, { identityFiles: [await key('wrong')] })
    expect(await failedOffers(() => failureOf(target))).toBe(1)
  })
})
