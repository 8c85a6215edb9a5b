import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { keychain } from '../../../src/registry/secrets/keychain.js'
import type { Account } from '../../../src/registry/secrets/store.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Keyring } from '../../testbed/keyring.js'
import { commandOf, descendants, isAlive } from '../../testbed/processes.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { calm, everythingIn, failureOf, seenInProcesses } from './support.js'

const PASSWORD: Account = { owner: 'prod', kind: 'password' }
const PASSPHRASE: Account = { owner: 'prod', kind: 'passphrase' }
const PLANTED = 'planted-7f3a9c ü"\\'

describeWith(['keyring'], 'an unlocked keychain', () => {
  test('gives back what was stored, tells the kinds apart, and lists names without values', async () => {
    await using keyring = await Keyring.start('unlocked')
    const store = keychain({ env: keyring.env })
    expect(await store.get(PASSWORD, calm())).toBeUndefined()
    expect(await store.list(calm())).toEqual([])
    await store.set(PASSWORD, PLANTED, calm())
    await store.set(PASSPHRASE, 'another', calm())
    expect(await store.get(PASSWORD, calm())).toBe(PLANTED)
    expect(await store.get(PASSPHRASE, calm())).toBe('another')
    expect(await keyring.lookup('dproxy', 'prod password')).toBe(PLANTED)
    expect(await store.list(calm())).toEqual([PASSPHRASE, PASSWORD])
    await store.set(PASSWORD, 'newer', calm())
    expect(await store.get(PASSWORD, calm())).toBe('newer')
    expect(await store.delete(PASSWORD, calm())).toBe(true)
    expect(await store.delete(PASSWORD, calm())).toBe(false)
    expect(await store.list(calm())).toEqual([PASSPHRASE])
  })

  test('never has a secret in the command line or the environment of a process', async () => {
    await using keyring = await Keyring.start('unlocked')
    const store = keychain({ env: { ...keyring.env, PLANTED_TOKEN: PLANTED } })
    const control = await seenInProcesses(PLANTED, () => execa('sleep', ['0.2'], { env: { PLANTED } }))
    expect(control.seen).toEqual(['environ of sleep'])
    const { seen, started } = await seenInProcesses(PLANTED, async () => {
      await store.set(PASSWORD, PLANTED, calm())
      expect(await store.get(PASSWORD, calm())).toBe(PLANTED)
    })
    expect(started).toBeGreaterThan(0)
    expect(seen).toEqual([])
  })

  test('leaves no process of the session behind when the test is over', async () => {
    const keyring = await Keyring.start('unlocked')
    const pids = keyring.pids().filter((pid) => /gnome-keyring|dbus-daemon/u.test(commandOf(pid)))
    expect(pids.length).toBeGreaterThan(1)
    await keyring[Symbol.asyncDispose]()
    await until('they are gone', () => !pids.some(isAlive))
  })
})

describeWith(['keyring'], 'a locked keychain', () => {
  test('is told apart from an empty one, and what it holds is left alone', async () => {
    await using keyring = await Keyring.start('unlocked')
    const store = keychain({ env: keyring.env })
    await store.set(PASSWORD, PLANTED, calm())
    await keyring.lock()
    for (const work of [
      () => store.get(PASSWORD, calm()),
      () => store.get(PASSPHRASE, calm()),
      () => store.set(PASSWORD, 'new', calm()),
      () => store.delete(PASSWORD, calm()),
      () => store.list(calm()),
    ]) {
      const failure = await failureOf(work())
      expect(failure).toMatchObject({
        code: 'SECRET_STORE_LOCKED',
        message: expect.stringContaining('locked'),
      })
      expect(failure.hint).toContain('unlock it')
      expect(everythingIn(failure)).not.toContain(PLANTED)
    }
    await keyring.unlock()
    expect(await store.get(PASSWORD, calm())).toBe(PLANTED)
  })

  test('without anything of ours in it is still not called empty', async () => {
    await using keyring = await Keyring.start('unlocked')
    await keyring.lock()
    const failure = await failureOf(keychain({ env: keyring.env }).list(calm()))
    expect(failure.code).toBe('SECRET_STORE_LOCKED')
  })
})

describeWith(['keyring'], 'a keychain that cannot be used', () => {
  test('has no keyring yet: nothing is stored there, and storing says what to create', async () => {
    await using keyring = await Keyring.start('without keyring')
    const store = keychain({ env: keyring.env })
    expect(await store.get(PASSWORD, calm())).toBeUndefined()
    const failure = await failureOf(store.set(PASSWORD, PLANTED, calm()))
    expect(failure).toMatchObject({
      code: 'SECRET_STORE_FAILED',
      message: expect.stringContaining('no keyring yet'),
    })
    expect(failure.hint).toContain('create a default keyring')
  })

  test('is not there: nobody on the session bus offers one', async () => {
    await using keyring = await Keyring.start('nobody')
    const failure = await failureOf(keychain({ env: keyring.env }).get(PASSWORD, calm()))
    expect(failure.message).toContain('no keychain runs in this session')
    expect(failure.hint).toContain('gnome-keyring')
  })

  test('hangs: each call ends at its limit', async () => {
    await using scope = new Scope()
    const keyring = scope.use(await Keyring.start('unlocked'))
    const [daemon] = keyring.daemons()
    process.kill(daemon ?? Number.NaN, 'SIGSTOP')
    const before = Date.now()
    const failure = await failureOf(keychain({ env: keyring.env }).get(PASSWORD, calm()))
    expect(failure.message).toBe('the keychain did not answer within 3 s')
    const unknown = await failureOf(keychain({ env: keyring.env }).set(PASSWORD, PLANTED, calm()))
    expect(unknown.message).toContain('whether it did what it was asked is not known')
    expect(Date.now() - before).toBeLessThan(10_000)
  })
})

/** A stand-in for keytar: what happens inside the library cannot be had from a real one at will. */
const libraryThat = async (dir: TempDir, body: string): Promise<string> => {
  const path = join(dir.path, 'keytar.js')
  await writeFile(path, `module.exports = { getPassword: async () => { ${body} } }`)
  return path
}

test('without a session bus, the keychain says so at once, and what else there is', async () => {
  await using dir = await TempDir.create()
  const env = { HOME: dir.path, XDG_RUNTIME_DIR: dir.path }
  const failure = await failureOf(keychain({ env, platform: 'linux' }).get(PASSWORD, calm()))
  expect(failure).toMatchObject({
    code: 'SECRET_STORE_FAILED',
    message: expect.stringContaining('no D-Bus session'),
  })
  expect(failure.hint).toMatch(/^run this from within the desktop session .* or keep .* --store file, and /u)
  const gone = { ...env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${dir.path}/gone` }
  const dead = await failureOf(keychain({ env: gone, platform: 'linux' }).get(PASSWORD, calm()))
  expect(dead.message).toContain('D-Bus does not answer (ENOENT)')
})

const PACKAGE = fileURLToPath(new URL('../../../node_modules/keytar', import.meta.url))
const NATIVE = join(PACKAGE, 'prebuilds', `linux-${process.arch}`, 'keytar.node')

// As on macOS, where keytar alone knows.
const elsewhere = { env: {}, platform: 'darwin' } as const

test('without the package, the keychain says that it is not installed', async () => {
  const failure = await failureOf(keychain({ ...elsewhere, locate: notInstalled }).get(PASSWORD, calm()))
  expect(failure).toMatchObject({
    code: 'SECRET_STORE_FAILED',
    message: expect.stringContaining('not installed'),
  })
})

const notInstalled = (): string => createRequire(import.meta.url).resolve('keytar-that-is-not-there')

test.runIf(existsSync(NATIVE))(
  'without the library of the system, the keychain names it and the package that brings it',
  async () => {
    await using dir = await TempDir.create()
    await cp(PACKAGE, dir.path, { recursive: true })
    await rm(join(dir.path, 'build'), { recursive: true, force: true })
    // A library that surely is not there, so that the loader's own words are heard.
    const native = await readFile(NATIVE, 'latin1')
    const copy = join(dir.path, 'prebuilds', `linux-${process.arch}`, 'keytar.node')
    await writeFile(copy, native.replaceAll('libsecret-1.so.0', 'libsecret-1.so.9'), 'latin1')
    const locate = () => join(dir.path, 'lib/keytar.js')
    const failure = await failureOf(keychain({ ...elsewhere, locate }).get(PASSWORD, calm()))
    expect(failure.message).toBe('the keychain cannot be used: the system lacks the library libsecret-1.so.9')
    expect(failure.hint).toContain('libsecret-1-0')
  },
)

test.for([
  [
    'a question that nobody answers',
    'await new Promise(() => setInterval(() => {}, 1000))',
    'did not answer within 0.5 s',
  ],
  ['a call that never returns', 'for (;;) {}', 'did not answer within 0.5 s'],
  ['a crash', 'process.kill(process.pid, "SIGSEGV"); await new Promise(() => {})', 'died (SIGSEGV)'],
  ['a refusal', 'throw new Error("no way\\nat all")', 'the keychain refused: no way'],
])('the library ends in %s: that is said, in time', async ([, body, words]) => {
  await using dir = await TempDir.create()
  const library = await libraryThat(dir, body ?? '')
  const store = keychain({
    ...elsewhere,
    locate: () => library,
    limitMs: words?.includes('0.5') ? 500 : 5000,
  })
  const before = Date.now()
  const failure = await failureOf(store.get(PASSWORD, calm()))
  expect(failure).toMatchObject({
    code: 'SECRET_STORE_FAILED',
    message: expect.stringContaining(words ?? ''),
  })
  expect(failure.hint).toBeTruthy()
  expect(Date.now() - before).toBeLessThan(5000)
  await until('its process is gone', () => !askersOf(library))
})

const askersOf = (library: string): boolean =>
  descendants(process.pid).some((pid) => commandOf(pid).includes(library))

test('whoever waits for the keychain can be told to stop', async () => {
  await using dir = await TempDir.create()
  const library = await libraryThat(dir, 'for (;;) {}')
  const stop = new AbortController()
  const waiting = failureOf(keychain({ ...elsewhere, locate: () => library }).get(PASSWORD, stop.signal))
  await until('it is asked', () => askersOf(library))
  stop.abort(new Error('enough'))
  expect((await waiting).message).toContain('enough')
  await until('its process is gone', () => !askersOf(library))
})
