import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { ownUid } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import { examine } from '../../src/supervisor/doctor/examine.js'
import { lookAtAgent, lookAtKeyFiles } from '../../src/supervisor/doctor/keys.js'
import { lookAround } from '../../src/supervisor/doctor/local.js'
import { DOCTOR_STAGES, Notes, type StageReport } from '../../src/supervisor/doctor/report.js'
import { definition } from '../control/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { skippedTitle } from '../testbed/skipped.js'
import { SshAgent } from '../testbed/ssh-agent.js'
import { TempDir } from '../testbed/temp-dir.js'
import { examination, never } from './examination.js'

describe('the key files', () => {
  test('are each told with type, fingerprint, mode and encryption; a bad one warns and stops nothing', async () => {
    await using dir = await TempDir.create()
    const [plain, locked, loose] = ['plain', 'locked', 'loose'].map((name) => join(dir.path, name)) as [
      string,
      string,
      string,
    ]
    await keygen(plain, '')
    await keygen(locked, 'a passphrase')
    await copyFile(plain, loose)
    await chmod(loose, 0o644)
    const notes = new Notes()
    const missing = join(dir.path, 'missing')
    const identityFiles = [plain, locked, loose, missing]
    await lookAtKeyFiles({ identityFiles, identitiesNamed: true }, notes)
    const key = 'ssh-ed25519 SHA256:\\S{43}, mode 0600'
    expect(notes.facts).toEqual([
      expect.stringMatching(new RegExp(`^${plain}: ${key}, not encrypted, has its .pub beside it$`, 'u')),
      expect.stringMatching(new RegExp(`^${locked}: ${key}, encrypted, has its .pub beside it$`, 'u')),
      expect.stringContaining(`${missing} does not exist`),
    ])
    expect(notes.warning).toMatchObject({
      code: 'LOGIN_KEY_FILE',
      message: expect.stringContaining('open to others (mode 644)') as string,
      hint: `chmod 600 ${loose}`,
    })
  })

  test('that ssh would look for by itself need not be there', async () => {
    const notes = new Notes()
    await lookAtKeyFiles({ identityFiles: ['/nowhere/id_rsa'], identitiesNamed: false }, notes)
    expect(notes.warning).toBeNull()
    expect(notes.facts[0]).toBe('not there: /nowhere/id_rsa')
  })
})

describeWith(['sshd'], 'the agent', () => {
  test('that holds keys is told with each of them; an empty or locked one warns', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const agent = scope.use(await SshAgent.start())
    expect((await look(agent.socket)).warning).toMatchObject({ code: 'AGENT_EMPTY' })
    await keygen(join(dir.path, 'key'), '')
    await agent.add([join(dir.path, 'key')])
    const full = await look(agent.socket)
    expect(full.warning).toBeNull()
    expect(full.facts).toEqual([
      `the ssh-agent at ${agent.socket} holds 1 key`,
      expect.stringMatching(/^ssh-ed25519 SHA256:\S{43} mine$/u),
    ])
    await agent.lock()
    expect((await look(agent.socket)).warning).toMatchObject({
      code: 'AGENT_EMPTY',
      hint: expect.stringContaining('ssh-add -X') as string,
    })
    await agent.stop()
    expect((await look(agent.socket)).warning).toMatchObject({ code: 'AGENT_FAILED' })
  })

  test('that nobody named is no trouble', async () => {
    for (const [more, why] of [
      [{}, 'SSH_AUTH_SOCK is not set'],
      [{ agent: 'none' }, 'IdentityAgent is none'],
    ] as const) {
      const notes = await look(null, more)
      expect(notes).toMatchObject({ warning: null, facts: [`${why}: no agent is asked`] })
    }
  })
})

describe('on this side', () => {
  test('a socket that is in the way fails as it would for up, and is left alone', async () => {
    await using scope = new Scope()
    const { path: dir } = scope.use(await TempDir.create())
    const [file, link, live] = ['file', 'link', 'live'].map((name) => join(dir, name)) as [
      string,
      string,
      string,
    ]
    await writeFile(file, 'mine')
    await symlink(file, link)
    const server = scope.add(createServer(), (each) => each.close())
    await once(server.listen(live), 'listening')
    for (const [path, said] of [
      [file, 'a file, not a socket'],
      [link, 'a symbolic link'],
      [live, 'another process serves it'],
    ] as const) {
      expect((await around(dir, path)).at('local socket')).toMatchObject({
        state: 'failed',
        error: { code: 'SOCKET_BUSY', message: expect.stringContaining(said) as string },
      })
    }
    const long = join(dir, 'x'.repeat(200))
    expect((await around(dir, long)).at('local socket')?.error).toMatchObject({
      code: 'SOCKET_PATH_TOO_LONG',
    })
    const nowhere = join(dir, 'nowhere', 'a.sock')
    expect((await around(dir, nowhere)).at('local socket')?.error).toMatchObject({ code: 'SOCKET_FAILED' })
    expect((await around(dir, join(dir, 'free'))).at('local socket')).toMatchObject({ state: 'ok' })
  })

  const title = 'a directory that may not be written to fails'
  const isRoot = ownUid() === 0
  test.skipIf(isRoot)(isRoot ? skippedTitle(title, 'root may write anywhere') : title, async () => {
    await using dir = await TempDir.create()
    await mkdir(join(dir.path, 'locked'), { mode: 0o500 })
    const { at } = await around(dir.path, join(dir.path, 'locked', 'a.sock'))
    expect(at('local socket')?.error).toMatchObject({ code: 'SOCKET_FAILED' })
  })

  test('what would send Docker clients elsewhere warns', async () => {
    await using dir = await TempDir.create()
    const socket = join(dir.path, 'a.sock')
    for (const [env, state] of [
      [{}, 'ok'],
      [{ DOCKER_HOST: `unix://${socket}`, DOCKER_CONTEXT: 'other' }, 'ok'],
      [{ DOCKER_HOST: 'tcp://10.0.0.1' }, 'warning'],
      [{ DOCKER_CONTEXT: 'other' }, 'warning'],
    ] as [Record<string, string>, string][]) {
      expect((await around(dir.path, socket, env)).at('docker')?.state, JSON.stringify(env)).toBe(state)
    }
  })

  test('a host that is in no file is brought up before its socket can be named', async () => {
    await using dir = await TempDir.create()
    const found = examination()
    const host = { ...definition(), typed: 'ssh://me@[::1]', socket: join(dir.path, 'a.sock') }
    const env = { HOME: dir.path, DPROXY_RUNTIME_DIR: join(dir.path, 'run') }
    await lookAround(host, { env, version: '1' }, found.exam)
    const facts = found.reports.flatMap((report) => report.facts).join('\n')
    expect(facts).toContain(`: dproxy up 'ssh://me@[::1]' && eval "$(dproxy env ${host.name})"`)
    expect(facts).toContain("this starts one: dproxy up 'ssh://me@[::1]'")
  })

  test('a supervisor that makes no sense is a warning, not an end', async () => {
    await using scope = new Scope()
    const { path: dir } = scope.use(await TempDir.create())
    await mkdir(join(dir, 'run'), { mode: 0o700 })
    const server = scope.add(createServer(), (each) => each.close())
    server.on('connection', (client) => client.on('error', () => undefined).end('nonsense\r\n\r\n'))
    await once(server.listen(join(dir, 'run', 'control.sock')), 'listening')
    expect((await around(dir, join(dir, 'a.sock'))).at('supervisor')).toMatchObject({
      state: 'warning',
      error: { code: expect.stringMatching(/^SUPERVISOR_(FAILED|SKEW)$/u) as string },
    })
  })
})

test('a host whose name does not resolve still has its keys, its agent and this side examined', async () => {
  await using dir = await TempDir.create()
  const host = { ...definition(), destination: 'no-such-host.invalid', socket: join(dir.path, 'a.sock') }
  const env = {
    HOME: dir.path,
    PATH: process.env.PATH,
    DPROXY_SSH_CONFIG: 'none',
    DPROXY_RUNTIME_DIR: dir.path,
  }
  const reports: StageReport[] = []
  const from = { env, agentSocket: null, ask: null, signal: never, configFiles: [], version: '1' }
  await examine(host, from, (report) => reports.push(report))
  expect(reports.map(({ stage }) => stage)).toEqual(DOCTOR_STAGES)
  expect(reports.filter(({ state }) => state === 'failed')).toMatchObject([
    { stage: 'name', error: { code: 'RESOLVE_FAILED' } },
  ])
  const tried = reports.filter(({ state }) => state !== 'not reached').map(({ stage }) => stage)
  expect(tried).toEqual(['config', 'key files', 'agent', 'name', 'local socket', 'docker', 'supervisor'])
})

test('whoever interrupts an examination ends it', async () => {
  await using scope = new Scope()
  const silent = scope.add(createServer(), (each) => each.close())
  silent.on('connection', (client) => client.on('error', () => undefined).resume())
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  const { port } = silent.address() as { port: number }
  const interrupt = new AbortController()
  const reason = new DproxyError('INTERRUPTED', 'interrupted')
  const env = { PATH: process.env.PATH, DPROXY_SSH_CONFIG: 'none', DPROXY_RUNTIME_DIR: '/nonexistent' }
  const from = { env, agentSocket: null, ask: null, signal: interrupt.signal, configFiles: [], version: '1' }
  const done = examine({ ...definition(), port }, from, ({ stage }) => {
    if (stage === 'connect') interrupt.abort(reason)
  })
  await expect(done).rejects.toBe(reason)
})

test.each(['config', 'key files', 'agent'])(
  'whoever interrupts an examination behind its stage "%s" has nothing else tried',
  async (last) => {
    const interrupt = new AbortController()
    const reason = new DproxyError('INTERRUPTED', 'interrupted')
    const env = { PATH: process.env.PATH, DPROXY_SSH_CONFIG: 'none', DPROXY_RUNTIME_DIR: '/nonexistent' }
    const from = {
      env,
      agentSocket: null,
      ask: null,
      signal: interrupt.signal,
      configFiles: [],
      version: '1',
    }
    const seen: string[] = []
    const done = examine(definition(), from, ({ stage }) => {
      seen.push(stage)
      if (stage === last) interrupt.abort(reason)
    })
    await expect(done).rejects.toBe(reason)
    expect(seen.at(-1)).toBe(last)
  },
)

const look = async (socket: string | null, more: object = {}) => {
  const notes = new Notes()
  const where = {
    agent: 'environment' as const,
    identitiesOnly: false,
    identityFiles: [],
    identitiesNamed: false,
    alias: 'a',
  }
  await lookAtAgent({ ...where, ...more }, socket, notes, never)
  return notes
}

const around = async (dir: string, socket: string, env: Record<string, string> = {}) => {
  const found = examination()
  const whole = { HOME: dir, DPROXY_RUNTIME_DIR: join(dir, 'run'), ...env }
  await lookAround({ ...definition(), socket }, { env: whole, version: '1' }, found.exam)
  expect(found.reports.map(({ stage }) => stage)).toEqual(['local socket', 'docker', 'supervisor'])
  return found
}

const keygen = (file: string, passphrase: string) =>
  promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', 'mine', '-f', file])
