import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fileStore, secretsPath } from '../../src/registry/secrets/file.js'
import type { SecretStores } from '../../src/registry/secrets/open.js'
import { aliasOwner, hostOwner, type SecretKind } from '../../src/registry/secrets/store.js'
import type { Ask } from '../../src/ssh/person.js'
import { storedSecretsOf, type SecretSources } from '../../src/supervisor/stored-secrets.js'
import { TempDir } from '../testbed/temp-dir.js'

const PLANTED = 'planted-7f3a9c'
const HOST: SecretSources = {
  name: 'Prod',
  typed: 'Prod',
  destination: 'prod.invalid',
  passphraseCommand: null,
  passwordCommand: null,
  secretStore: 'file',
}
const HOP = { destination: 'bastion', user: null, port: null }
const calm = (): AbortSignal => new AbortController().signal
const PATH = process.env.PATH ?? '/usr/bin:/bin'

/** A home whose encrypted file holds these secrets, and the environment that opens it. */
const home = async (dir: TempDir, secrets: readonly (readonly [string, SecretKind, string])[]) => {
  const master = join(dir.path, 'master')
  await writeFile(master, 'open sesame\n', { mode: 0o600 })
  const env = { HOME: dir.path, PATH, DPROXY_SECRETS_PASSPHRASE_FILE: master }
  const store = fileStore({ path: secretsPath(env), master: async () => 'open sesame' })
  for (const [owner, kind, value] of secrets) await store.set({ owner, kind }, value, calm())
  return env
}

/** Stores that must not be touched. */
const UNTOUCHED = new Proxy({} as SecretStores, {
  get: () => ({
    get: () => {
      throw new Error('the store was touched')
    },
  }),
})

test('what is stored for a host is found, by kind, and it is said where', async () => {
  await using dir = await TempDir.create()
  const env = await home(dir, [
    [hostOwner('prod'), 'password', PLANTED],
    [hostOwner('prod'), 'passphrase', 'other'],
  ])
  const secrets = storedSecretsOf(HOST, null, { env })
  const from = `the encrypted file ${dir.path}/.config/dproxy/secrets.enc`
  expect(await secrets.password(calm())).toEqual({ kind: 'found', value: PLANTED, from })
  expect(await secrets.passphrase('/key', calm())).toEqual({ kind: 'found', value: 'other', from })
  const lab = storedSecretsOf({ ...HOST, name: 'lab', typed: 'lab' }, null, { env })
  expect(await lab.password(calm())).toEqual({ kind: 'none' })
})

test('the passphrase of the encrypted file is asked for once, where somebody can be asked', async () => {
  await using dir = await TempDir.create()
  const { DPROXY_SECRETS_PASSPHRASE_FILE: _, ...env } = await home(dir, [
    [hostOwner('prod'), 'password', PLANTED],
    [hostOwner('prod'), 'passphrase', 'other'],
  ])
  const path = `${dir.path}/.config/dproxy/secrets.enc`
  const asked: string[] = []
  const answering = (answer: string | null): Ask => {
    return async ({ text, prompts }) => {
      asked.push(`${text} ${prompts.map((prompt) => `${prompt.text} ${prompt.echo}`).join()}`)
      return answer === null ? null : [answer]
    }
  }
  const declined = storedSecretsOf(HOST, null, { env, ask: answering(null) })
  expect(await declined.password(calm())).toMatchObject({
    kind: 'problem',
    why: `the passphrase of ${path} was asked for and not given`,
  })
  const wrong = storedSecretsOf(HOST, null, { env, ask: answering('wrong') })
  expect(await wrong.password(calm())).toMatchObject({ kind: 'problem', minor: false })
  asked.length = 0
  const secrets = storedSecretsOf(HOST, null, { env, ask: answering('open sesame') })
  expect(await secrets.password(calm())).toMatchObject({ kind: 'found', value: PLANTED })
  expect(await secrets.passphrase('/key', calm())).toMatchObject({ kind: 'found', value: 'other' })
  // Nor is anybody needed from now on.
  expect(await storedSecretsOf(HOST, null, { env }).password(calm())).toMatchObject({ value: PLANTED })
  expect(asked).toEqual([
    `The secrets in ${path} are needed, and that file has a passphrase of its own. Passphrase of ${path}: false`,
  ])
})

test("a jump host, or a host that is in no file, is never given another one's secret of the same name", async () => {
  await using dir = await TempDir.create()
  const env = await home(dir, [
    [hostOwner('bastion'), 'password', "the host's"],
    [aliasOwner('bastion'), 'password', "the alias's"],
  ])
  expect(await storedSecretsOf(HOST, HOP, { env }).password(calm())).toMatchObject({ value: "the alias's" })
  const adHoc = { ...HOST, name: 'bastion', typed: 'ssh://me@elsewhere', destination: 'elsewhere' }
  expect(await storedSecretsOf(adHoc, null, { env }).password(calm())).toEqual({ kind: 'none' })
  const hosted = { ...HOST, name: 'bastion', typed: 'bastion' }
  expect(await storedSecretsOf(hosted, null, { env }).password(calm())).toMatchObject({ value: "the host's" })
})

test('a command comes first, and the store is then not touched', async () => {
  const host = {
    ...HOST,
    passphraseCommand: ['printf', 'of the key\\n'],
    passwordCommand: ['printf', 'of the login'],
  }
  const secrets = storedSecretsOf(host, null, { env: { PATH }, stores: UNTOUCHED })
  expect(await secrets.passphrase('/key', calm())).toEqual({
    kind: 'found',
    value: 'of the key',
    from: 'passphraseCommand (printf)',
  })
  expect(await secrets.password(calm())).toEqual({
    kind: 'found',
    value: 'of the login',
    from: 'passwordCommand (printf)',
  })
})

test('nobody is told to store what a command gives, for then no store is looked at', () => {
  const host = { ...HOST, passphraseCommand: ['pass', 'key'] }
  const secrets = storedSecretsOf(host, null, { env: { PATH }, stores: UNTOUCHED })
  expect(secrets.toStore('passphrase')).toBeNull()
  expect(secrets.toStore('password')).toBe('dproxy secret set Prod')
  expect(storedSecretsOf(host, HOP, { env: { PATH }, stores: UNTOUCHED }).toStore('passphrase')).toBe(
    'dproxy secret set bastion --passphrase --alias',
  )
})

test("a host's command is not run for its jump hosts", async () => {
  await using dir = await TempDir.create()
  const env = await home(dir, [])
  const host = { ...HOST, passwordCommand: ['touch', join(dir.path, 'ran')] }
  expect(await storedSecretsOf(host, HOP, { env }).password(calm())).toEqual({ kind: 'none' })
  await expect(readFile(join(dir.path, 'ran'))).rejects.toThrow('ENOENT')
})

test('a command that fails is a problem with a next step, and its output is in neither', async () => {
  const host = { ...HOST, passwordCommand: ['sh', '-c', `echo ${PLANTED}; exit 7`] }
  const stored = await storedSecretsOf(host, null, { env: { PATH }, stores: UNTOUCHED }).password(calm())
  expect(stored).toMatchObject({ kind: 'problem', why: 'the command sh failed (7)' })
  expect(JSON.stringify(stored)).not.toContain(PLANTED)
})

test.runIf(process.platform === 'linux')(
  'a supervisor that was started at boot says that it has no session, and what to do',
  async () => {
    await using dir = await TempDir.create()
    const env = { HOME: dir.path, PATH }
    const stored = await storedSecretsOf({ ...HOST, secretStore: 'keychain' }, null, { env }).password(calm())
    expect(stored).toMatchObject({
      kind: 'problem',
      why: expect.stringContaining('there is no D-Bus session'),
      hint: expect.stringContaining('secretStore: file'),
    })
  },
)

test('an encrypted file whose passphrase nobody gave is a problem, and so is a damaged one', async () => {
  await using dir = await TempDir.create()
  const env = await home(dir, [[hostOwner('prod'), 'password', PLANTED]])
  const { DPROXY_SECRETS_PASSPHRASE_FILE: _, ...without } = env
  const stored = await storedSecretsOf(HOST, null, { env: without }).password(calm())
  expect(stored).toMatchObject({ kind: 'problem', why: expect.stringContaining('nobody can be asked here') })
  await mkdir(join(dir.path, '.config/dproxy'), { recursive: true })
  await writeFile(secretsPath(env), 'what is this', { mode: 0o600 })
  expect(await storedSecretsOf(HOST, null, { env }).password(calm())).toMatchObject({
    kind: 'problem',
    why: expect.stringContaining('damaged'),
  })
})

test('a failure that nobody foresaw does not show its words, which could be the secret', async () => {
  const broken = new Proxy({} as SecretStores, {
    get: () => ({ get: () => Promise.reject(new Error(PLANTED)) }),
  })
  const stored = await storedSecretsOf(HOST, null, { env: { PATH }, stores: broken }).password(calm())
  expect(stored.kind).toBe('problem')
  expect(JSON.stringify(stored)).not.toContain(PLANTED)
})

test('the signal that ends a login ends the wait for its secret', async () => {
  const stop = new AbortController()
  const host = { ...HOST, passwordCommand: ['sleep', '1000'] }
  const waiting = storedSecretsOf(host, null, { env: { PATH }, stores: UNTOUCHED }).password(stop.signal)
  stop.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
})
