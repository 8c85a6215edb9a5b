import { execa } from 'execa'
import { connect } from 'node:net'
import { join } from 'node:path'
import ssh2, { type Client } from 'ssh2'
import type { DproxyError } from '../../../src/base/errors.js'
import type { Scope } from '../../../src/base/scope.js'
import { prepareLogin, type Login, type LoginHelp } from '../../../src/ssh/login/prepare-login.js'
import { UnlockedKeys } from '../../../src/ssh/login/unlocked-keys.js'
import { type Ask, type Question, type Stored, type StoredSecrets } from '../../../src/ssh/person.js'
import type { Resolved } from '../../../src/ssh/target.js'
import { NO_SECRETS } from '../no-secrets.js'
import type { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'

/** The testbed's server and its own key, differing in what `changes` say. */
export const resolvedTo = (sshd: Sshd, changes: Partial<Resolved> = {}): Resolved =>
  resolvedAt(sshd.port, { user: sshd.user, identityFiles: [sshd.keyFile], ...changes })

/** A server on a port of 127.0.0.1, called `prod`. */
export const resolvedAt = (port: number, changes: Partial<Resolved> = {}): Resolved => ({
  typed: 'prod',
  alias: 'prod.example.com',
  host: '127.0.0.1',
  port,
  user: 'deploy',
  route: { kind: 'direct' },
  identityFiles: [],
  identitiesNamed: true,
  identitiesOnly: true,
  agent: 'environment',
  methods: ['publickey', 'keyboard-interactive', 'password'],
  knownHostsFiles: [],
  revokedHostKeysFile: null,
  neverAskHostKey: false,
  hostKeyName: { host: '127.0.0.1', port, alias: null },
  algorithms: {},
  connectTimeoutMs: 5000,
  keepAlive: { intervalMs: 15_000, misses: 3 },
  onlyOpenssh: null,
  ...changes,
})

export const helpOf = (changes: Partial<LoginHelp> = {}): LoginHelp => ({
  agentSocket: null,
  ask: null,
  secrets: NO_SECRETS,
  unlocked: new UnlockedKeys(),
  ...changes,
})

/** Secrets that are stored in `the test store`. */
export const stored = (what: { passphrase?: string; password?: string }): StoredSecrets => ({
  ...NO_SECRETS,
  passphrase: async () => found(what.passphrase),
  password: async () => found(what.password),
})

const found = (value: string | undefined): Stored =>
  value === undefined ? { kind: 'none' } : { kind: 'found', value, from: 'the test store' }

/** A person who gives `answers` one question after the other, and what was asked; null: declines. */
export const person = (...answers: (readonly string[] | null)[]): { ask: Ask; questions: Question[] } => {
  const questions: Question[] = []
  return {
    questions,
    ask: async (question) => {
      questions.push(question)
      const answer = answers.shift()
      if (answer === undefined) throw new Error(`nobody expected "${question.text}"`)
      return answer
    },
  }
}

/** Logs in; undefined, or why not. The connection is closed with the scope, and at once when it failed. */
export const attempt = async (
  scope: Scope,
  resolved: Resolved,
  help: Partial<LoginHelp> = {},
  onClient: (client: Client, login: Login) => void = () => undefined,
): Promise<DproxyError | undefined> => {
  const over = new AbortController()
  const login = await prepareLogin(resolved, helpOf(help), over.signal)
  const socket = scope.add(connect(resolved.port, resolved.host), (taken) => void taken.destroy())
  const client = new ssh2.Client()
  login.attach(client)
  onClient(client, login)
  try {
    await new Promise<void>((resolve, reject) => {
      client.once('ready', resolve)
      socket.once('end', () => reject(new Error('the server closed the connection')))
      socket.once('close', () => reject(new Error('the connection is gone')))
      client.on('error', (failure) => {
        if (failure.level !== 'agent') reject(failure)
      })
      client.connect({
        sock: socket,
        username: resolved.user,
        hostVerifier: () => true,
        authHandler: login.next,
        readyTimeout: 0,
      })
    })
    return undefined
  } catch (failure) {
    const why = login.failure() ?? login.refusal((failure as Error).message)
    over.abort()
    socket.destroy()
    return why
  }
}

/** Why the login fails; that it succeeds is an error. */
export const refused = async (
  scope: Scope,
  resolved: Resolved,
  help: Partial<LoginHelp> = {},
): Promise<DproxyError> => {
  const failure = await attempt(scope, resolved, help)
  if (!failure) throw new Error('it was let in')
  return failure
}

/** Makes keys in a directory of its own. */
export const keyMaker = async (scope: Scope) => {
  const dir = scope.use(await TempDir.create()).path
  const at = (name: string) => join(dir, name)
  const key = async (name: string, ...words: string[]): Promise<string> => {
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, ...words, '-f', at(name)])
    return at(name)
  }
  return { dir, at, key }
}

/** How many lines of the server's log about the connections that `work` makes match `pattern`. */
export const logged = async (sshd: Sshd, pattern: RegExp, work: () => Promise<unknown>): Promise<number> => {
  const before = (await sshd.log()).length
  await work()
  return until('the server tells', async () => {
    const log = (await sshd.log()).slice(before)
    const ports = [...log.matchAll(/^Connection from \S+ port (\d+)/gmu)].map(([, port]) => port)
    const lines = ports.map((port) => log.split('\n').filter((line) => line.includes(` port ${port}`)))
    const told = ports.length > 0 && lines.every((own) => own.some((line) => OVER.test(line)))
    return told ? lines.flat().filter((line) => pattern.test(line)).length : undefined
  })
}

const OVER = /Accepted |Connection (?:closed|reset)|disconnect/iu
