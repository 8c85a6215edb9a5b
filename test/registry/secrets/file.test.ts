import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { fileStore, secretsPath } from '../../../src/registry/secrets/file.js'
import { masterUnasked } from '../../../src/registry/secrets/master.js'
import { Damaged, parseSealed } from '../../../src/registry/secrets/sealed.js'
import type { Account, SecretStore } from '../../../src/registry/secrets/store.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { calm, everythingIn, failureOf } from './support.js'

const PASSWORD: Account = { owner: 'prod', kind: 'password' }
const PASSPHRASE: Account = { owner: 'prod', kind: 'passphrase' }
const PLANTED = 'planted-7f3a9c ü"\\'
const MASTER = 'the master passphrase'

/** A store at `path`, as a new process would open it. */
const storeAt = (path: string, master = MASTER): SecretStore =>
  fileStore({ path, master: async () => master })

/** A file with one password in it. */
const filled = async (dir: TempDir): Promise<string> => {
  const path = join(dir.path, 'config', 'secrets.enc')
  await storeAt(path).set(PASSWORD, PLANTED, calm())
  return path
}

test('the encrypted file gives back what was stored, and nothing in it can be read without the passphrase', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  const store = storeAt(path)
  await store.set(PASSPHRASE, 'another', calm())
  expect(await store.get(PASSWORD, calm())).toBe(PLANTED)
  expect(await store.list(calm())).toEqual([PASSPHRASE, PASSWORD])
  const text = await readFile(path, 'utf8')
  for (const secret of [PLANTED, 'another', MASTER, 'prod']) expect(text).not.toContain(secret)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readdir(join(dir.path, 'config'))).toEqual(['secrets.enc'])
  expect(await store.delete(PASSWORD, calm())).toBe(true)
  expect(await store.delete(PASSWORD, calm())).toBe(false)
  expect(await storeAt(path).list(calm())).toEqual([PASSPHRASE])
})

test('without a file nothing is stored, and nobody is asked for a passphrase to find that out', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'secrets.enc')
  const asked: string[] = []
  const master = async (purpose: string) => {
    asked.push(purpose)
    return MASTER
  }
  const store = fileStore({ path, master })
  expect(await store.get(PASSWORD, calm())).toBeUndefined()
  expect(await store.list(calm())).toEqual([])
  expect(await store.delete(PASSWORD, calm())).toBe(false)
  expect(asked).toEqual([])
  await store.set(PASSWORD, PLANTED, calm())
  await Promise.all([store.get(PASSWORD, calm()), store.list(calm()), store.set(PASSPHRASE, 'x', calm())])
  expect(asked).toEqual(['make'])
})

test('a wrong passphrase is told apart from a damaged file, and changes nothing', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  const before = await readFile(path)
  const wrong = storeAt(path, 'not the one')
  for (const work of [
    () => wrong.get(PASSWORD, calm()),
    () => wrong.set(PASSWORD, 'new', calm()),
    () => wrong.delete(PASSWORD, calm()),
  ]) {
    const failure = await failureOf(work())
    expect(failure).toMatchObject({
      code: 'SECRET_STORE_LOCKED',
      message: expect.stringContaining('does not open'),
    })
    expect(everythingIn(failure)).not.toContain('not the one')
  }
  expect(await readFile(path)).toEqual(before)
})

test('any byte that was changed is noticed before a passphrase is tried', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  const whole = await readFile(path)
  for (let at = 0; at < whole.length; at += 1) {
    const bytes = Buffer.from(whole)
    bytes[at] = (bytes[at] ?? 0) ^ 1
    expect(() => parseSealed(bytes.toString())).toThrow(Damaged)
  }
  const store = fileStore({ path, master: () => Promise.reject(new Error('asked for the passphrase')) })
  for (const bytes of [whole.subarray(0, -1), whole.subarray(0, 100), Buffer.concat([whole, whole])]) {
    await writeFile(path, bytes)
    const failure = await failureOf(store.get(PASSWORD, calm()))
    expect(failure).toMatchObject({
      code: 'SECRET_STORE_FAILED',
      message: expect.stringContaining('damaged'),
    })
  }
  await writeFile(path, whole)
  expect(await storeAt(path).get(PASSWORD, calm())).toBe(PLANTED)
})

test('whoever changes the content and mends the checksum is found out by the cipher', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  const { sha256, ...rest } = JSON.parse(await readFile(path, 'utf8')) as Record<string, string>
  const data = Buffer.from(rest.data ?? '', 'base64')
  data[0] = (data[0] ?? 0) ^ 1
  const { scrypt, ...file } = { ...rest, data: data.toString('base64') } as unknown as {
    dproxySecrets: number
    scrypt: { N: number; r: number; p: number; salt: string }
    check: string
    iv: string
    data: string
  }
  const { N, r, p, salt } = scrypt
  const sum = createHash('sha256')
    .update(JSON.stringify([file.dproxySecrets, N, r, p, salt, file.check, file.iv, file.data]))
    .digest('base64')
  expect(sum).not.toBe(sha256)
  const { dproxySecrets, check, iv } = file
  await writeFile(
    path,
    `${JSON.stringify({ dproxySecrets, scrypt, check, iv, data: file.data, sha256: sum })}\n`,
  )
  const failure = await failureOf(storeAt(path).get(PASSWORD, calm()))
  expect(failure.message).toContain('its content was changed')
})

test('a file of a newer version, and one that is something else, are said to be that', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'secrets.enc')
  for (const [text, words] of [
    ['{"dproxySecrets":2}\n', 'newer version'],
    ['prod: hunter2\n', 'not one of our files'],
    ['', 'not one of our files'],
  ] as const) {
    await writeFile(path, text, { mode: 0o600 })
    const failure = await failureOf(storeAt(path).get(PASSWORD, calm()))
    expect(failure.message).toContain(words)
    expect(everythingIn(failure)).not.toContain('hunter2')
  }
})

test('a file that others could read is refused, as are a link, a directory and a FIFO', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  for (const mode of [0o644, 0o640, 0o606]) {
    await chmod(path, mode)
    const failure = await failureOf(storeAt(path).get(PASSWORD, calm()))
    expect(failure).toMatchObject({
      code: 'SECRET_STORE_FAILED',
      message: expect.stringContaining('open to others'),
    })
    expect(failure.hint).toBe(`chmod 600 ${path}`)
    await failureOf(storeAt(path).set(PASSWORD, 'new', calm()))
  }
  await chmod(path, 0o600)
  const other = join(dir.path, 'other')
  await symlink(path, other)
  expect((await failureOf(storeAt(other).list(calm()))).message).toContain('symbolic link')
  await rm(other)
  await mkdir(other)
  expect((await failureOf(storeAt(other).list(calm()))).message).toContain('no regular file')
  await rm(other, { recursive: true })
  await execa('mkfifo', ['-m', '600', other])
  expect((await failureOf(storeAt(other).list(calm()))).message).toContain('no regular file')
})

test(
  'whoever is killed while writing leaves the file whole, and the next one can write',
  { timeout: 90_000 },
  async () => {
    await using dir = await TempDir.create()
    const path = await filled(dir)
    const writer = join(dir.path, 'writer.mjs')
    await build({
      stdin: { contents: WRITER, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'ts' },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: writer,
      logLevel: 'error',
    })
    const reader = storeAt(path)
    for (let round = 0; round < ROUNDS; round += 1) {
      const child = spawn(process.execPath, [writer, path, MASTER], { stdio: ['ignore', 'pipe', 'inherit'] })
      const gone = once(child, 'exit')
      // It says a word after each write: the first means that the key is made, and one follows the other now.
      await once(child.stdout, 'data')
      await sleep(round * 5)
      child.kill('SIGKILL')
      await gone
      expect(await reader.get(PASSWORD, calm())).toBe(PLANTED)
      expect(await reader.get(PASSPHRASE, calm())).toMatch(/^x{1000}\d+$/u)
      // The next writer would wait until the dead one's lock is old enough; once, below, it does.
      if (round < ROUNDS - 1) await rm(`${path}.lock`, { force: true })
    }
    await reader.set(PASSWORD, 'new', calm())
    expect(await storeAt(path).get(PASSWORD, calm())).toBe('new')
    expect(await readdir(join(dir.path, 'config'))).toEqual(['secrets.enc'])
  },
)

const ROUNDS = 3
const WRITER = `
  import { fileStore } from '../../../src/registry/secrets/file.js'
  const [path, master] = process.argv.slice(2)
  const store = fileStore({ path, master: async () => master })
  const { signal } = new AbortController()
  for (let at = 0; ; at += 1) {
    await store.set({ owner: 'prod', kind: 'passphrase' }, 'x'.repeat(1000) + at, signal)
    process.stdout.write('.')
  }
`

test('making the key does not hold up the process', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  let longestMs = 0
  let last = performance.now()
  const clock = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last)
    last = performance.now()
  }, 1)
  const before = performance.now()
  await storeAt(path).get(PASSWORD, calm())
  clearInterval(clock)
  const tookMs = performance.now() - before
  expect(tookMs).toBeGreaterThan(100)
  expect(longestMs).toBeLessThan(tookMs / 3)
})

test('several that write at once lose nothing', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  const owners = ['a', 'b', 'c', 'd']
  await Promise.all(owners.map((owner) => storeAt(path).set({ owner, kind: 'password' }, owner, calm())))
  const accounts = await storeAt(path).list(calm())
  expect(accounts.map(({ owner }) => owner)).toEqual([...owners, 'prod'])
})

test('a passphrase typed in composed or decomposed letters is the same', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'secrets.enc')
  await storeAt(path, 'grün'.normalize('NFC')).set(PASSWORD, PLANTED, calm())
  expect(await storeAt(path, 'grün'.normalize('NFD')).get(PASSWORD, calm())).toBe(PLANTED)
})

test('the passphrase is the first line of the file that the environment names, if only we can read that', async () => {
  await using dir = await TempDir.create()
  const named = join(dir.path, 'master')
  const env = { HOME: dir.path, DPROXY_SECRETS_PASSPHRASE_FILE: named }
  const path = secretsPath(env)
  await storeAt(path).set(PASSWORD, PLANTED, calm())
  const get = () => fileStore({ path, master: masterUnasked(env) }).get(PASSWORD, calm())
  expect((await failureOf(get())).message).toContain('cannot be read: ENOENT')
  await writeFile(named, `${MASTER}\nmore\n`, { mode: 0o644 })
  expect((await failureOf(get())).message).toContain('open to others (mode 0644)')
  await chmod(named, 0o600)
  expect(await get()).toBe(PLANTED)
  await rm(named)
  await execa('mkfifo', ['-m', '600', named])
  // As of a shell's `3< <(pass show …)`: whoever writes may take a moment.
  const writer = execa('sh', ['-c', `sleep 0.1; printf '%s\\n' '${MASTER}' > ${named}`])
  expect(await get()).toBe(PLANTED)
  await writer
  const unasked = await failureOf(fileStore({ path, master: masterUnasked({}) }).get(PASSWORD, calm()))
  expect(unasked.message).toContain('nobody can be asked here')
  expect(unasked.hint).toContain('DPROXY_SECRETS_PASSPHRASE_FILE')
})

test('a file that could not be read again is not written, and what is stored stays', async () => {
  await using dir = await TempDir.create()
  const path = await filled(dir)
  const store = storeAt(path)
  const failure = await failureOf(store.set(PASSPHRASE, 'x'.repeat(900 * 1024), calm()))
  expect(failure).toMatchObject({ code: 'SECRET_STORE_FAILED' })
  expect(failure.message).toContain('would be larger than 1 MiB; it was left as it is')
  expect(await storeAt(path).list(calm())).toEqual([PASSWORD])
})
