import { execa } from 'execa'
import { chmod, readFile, readdir, stat, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { judge } from '../../../src/ssh/known-hosts/judge.js'
import { learnHostKey } from '../../../src/ssh/known-hosts/learn.js'
import { hashedName } from '../../../src/ssh/known-hosts/names.js'
import { readKnownHosts } from '../../../src/ssh/known-hosts/read.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import { describeWith } from '../../testbed/describe-with.js'
import { namespaces } from '../../testbed/parts.js'
import { skippedTitle } from '../../testbed/skipped.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { Learner } from './learner.js'
import { fileWith, line, lookupOf, other, ours } from './support.js'

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8)

describe('an approved host key', () => {
  afterEach(() => vi.unstubAllEnvs())

  test('is stored once, behind a finished last line, and known from then on', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, '# mine, and not finished')
    const lookup = lookupOf({ files: [file, '/etc/ssh/ssh_known_hosts'], port: 2222 })
    expect(await learnHostKey(lookup, ours.publicKeyBlob)).toEqual({ file, line: 2 })
    expect(await learnHostKey(lookup, ours.publicKeyBlob)).toEqual({ file, line: 2 })
    expect(await readFile(file, 'utf8')).toBe(`# mine, and not finished\n${line('[example.com]:2222')}`)
    expect(judge(await readKnownHosts(lookup), ours.publicKeyBlob).kind).toBe('known')
    expect(await readdir(dirname(file))).toEqual(['known_hosts'])
  })

  test('makes ~/.ssh and the file, for nobody else to read', async () => {
    await using home = await TempDir.create()
    vi.stubEnv('HOME', home.path)
    const file = join(home.path, '.ssh', 'known_hosts')
    expect(await learnHostKey(lookupOf({ files: [file] }), ours.publicKeyBlob)).toEqual({ file, line: 1 })
    expect(await modeOf(dirname(file))).toBe('700')
    expect(await modeOf(file)).toBe('600')
  })

  test('goes into the file that a link names, and leaves link and mode alone', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, '')
    await chmod(file, 0o640)
    const link = join(dirname(file), 'link')
    await symlink(file, link)
    expect(await learnHostKey(lookupOf({ files: [link] }), ours.publicKeyBlob)).toEqual({
      file: link,
      line: 1,
    })
    expect(await readFile(file, 'utf8')).toBe(line('example.com'))
    expect(await modeOf(file)).toBe('640')
  })

  test('is hidden where all other names are hidden', async () => {
    await using scope = new Scope()
    const hidden = `# hashed\n${line(hashedName('a.org'))}`
    const file = await fileWith(scope, hidden)
    const lookup = lookupOf({ files: [file] })
    await learnHostKey(lookup, ours.publicKeyBlob)
    expect(await readFile(file, 'utf8')).not.toContain('example')
    expect(judge(await readKnownHosts(lookup), ours.publicKeyBlob)).toMatchObject({
      kind: 'known',
      lines: [{ line: 3 }],
    })
    const mixed = await fileWith(scope, hidden + line('b.org'))
    await learnHostKey(lookupOf({ files: [mixed] }), ours.publicKeyBlob)
    expect(await readFile(mixed, 'utf8')).toContain(line('example.com'))
  })

  test.each(['*', '*.com', 'a,b', '!a', '@revoked', '#', '|1|', 'a b', 'a\nb ssh-ed25519 AAAA', 'größe', ''])(
    'is never stored under a name that could be read as another: %j',
    async (alias) => {
      await using scope = new Scope()
      const file = await fileWith(scope, '')
      const lookup = lookupOf({ files: [file], alias })
      await learnHostKey(lookup, ours.publicKeyBlob)
      expect(await readFile(file, 'utf8')).toMatch(/^\|1\|\S{28}\|\S{28} ssh-ed25519 \S+\n$/u)
      expect(judge(await readKnownHosts(lookup), ours.publicKeyBlob).kind).toBe('known')
      expect(
        judge(await readKnownHosts(lookupOf({ files: [file], host: 'a' })), ours.publicKeyBlob).kind,
      ).toBe('unknown')
    },
  )

  test.each([
    ['HOST_KEY_CHANGED', 'another is known', line('example.com', other.publicKeyLine)],
    ['HOST_KEY_REVOKED', 'it is revoked', line('@revoked other.org')],
    [
      'HOST_KEY_UNPROVEN',
      'an authority vouches for the server',
      line('@cert-authority *', other.publicKeyLine),
    ],
    [
      'HOST_KEY_UNREADABLE',
      'the file says what we do not understand',
      line('@REVOKED *', other.publicKeyLine),
    ],
  ])('is not stored, with %s, where meanwhile %s', async (code, _, text) => {
    await using scope = new Scope()
    const file = await fileWith(scope, '')
    const second = await fileWith(scope, text)
    const attempt = learnHostKey(lookupOf({ files: [file, second] }), ours.publicKeyBlob)
    await expect(attempt).rejects.toMatchObject({ code, stage: 'host key' })
    expect(await readFile(file, 'utf8')).toBe('')
  })

  test('is not stored where it is none', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, '')
    for (const blob of [Buffer.alloc(0), Buffer.from('nonsense'), ours.publicKeyBlob.subarray(1)]) {
      await expect(learnHostKey(lookupOf({ files: [file] }), blob)).rejects.toMatchObject({
        stage: 'host key',
      })
    }
    expect(await readFile(file, 'utf8')).toBe('')
  })

  test.each([
    ['no file is named', 'names no known_hosts file', async () => []],
    ['it would be lost', '/dev/null is not a file', async () => ['/dev/null']],
    [
      'the name leads through a file',
      'ENOTDIR',
      async (scope: Scope) => [join(await fileWith(scope, ''), 'below')],
    ],
  ])('that cannot be stored is an error: %s', async (_, why, files) => {
    await using scope = new Scope()
    const attempt = learnHostKey(lookupOf({ files: await files(scope) }), ours.publicKeyBlob)
    await expect(attempt).rejects.toMatchObject({
      code: 'HOST_KEY_NOT_STORED',
      message: expect.stringContaining(why) as string,
      stage: 'host key',
      hint: expect.stringContaining('knownHostsFile') as string,
    })
  })

  // Root may write whatever the modes are; only a read-only mount stops it.
  const mounts = namespaces()
  const title = 'is stored where the file is ours to write and its directory is not'
  test.runIf(mounts)(mounts ? title : skippedTitle(title, 'needs mounts of our own'), async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, '')
    const learner = scope.use(await Learner.create())
    const places = await learner.learn(lookupOf({ files: [file] }), [ours.publicKeyBlob], {
      readOnlyDir: dirname(file),
      writableFile: file,
    })
    expect(places).toEqual([{ file, line: 1 }])
    expect(await readFile(file, 'utf8')).toBe(line('example.com'))
  })

  test('loses no other that is stored at the same time, and none stands twice', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, 'unfinished')
    const keys = Array.from({ length: 10 }, () => generateThrowAwayKey())
    const learn = ({ publicKeyBlob }: { publicKeyBlob: Buffer }, at: number) =>
      learnHostKey(lookupOf({ files: [file], host: `host-${at}` }), publicKeyBlob)
    await Promise.all([...keys.map(learn), ...keys.map(learn)])
    const lines = (await readFile(file, 'utf8')).split('\n')
    expect(lines.toSorted()).toEqual(
      ['', 'unfinished', ...keys.map(({ publicKeyLine }, at) => `host-${at} ${publicKeyLine}`)].toSorted(),
    )
  })

  test('of two for one name, approved at once, only one is stored', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, '')
    const lookup = lookupOf({ files: [file] })
    const attempts = await Promise.allSettled(
      [ours, other].map(({ publicKeyBlob }) => learnHostKey(lookup, publicKeyBlob)),
    )
    expect(attempts.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect((await readFile(file, 'utf8')).split('\n').length).toBe(2)
  })

  test('loses no other that another process stores, and none stands twice', { timeout: 60_000 }, async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, 'unfinished')
    const learner = scope.use(await Learner.create())
    const keys = Array.from({ length: 20 }, () => generateThrowAwayKey())
    const blobs = keys.map(({ publicKeyBlob }) => publicKeyBlob)
    const lookups = ['one-{}', 'two-{}', 'both-{}', 'both-{}'].map((host) =>
      lookupOf({ files: [file], host }),
    )
    const places = await Promise.all(lookups.map((lookup) => learner.learn(lookup, blobs)))
    expect(places.flat().filter((place) => 'code' in place)).toEqual([])
    const names = ['one', 'two', 'both'].flatMap((name) =>
      keys.map(({ publicKeyLine }, at) => `${name}-${at} ${publicKeyLine}`),
    )
    expect((await readFile(file, 'utf8')).split('\n').toSorted()).toEqual(
      ['', 'unfinished', ...names].toSorted(),
    )
  })
})

describeWith(['sshd'], 'a stored host key', () => {
  test.each([
    ['plain', ''],
    ['hidden', line(hashedName('a.org'))],
  ])('is what ssh-keygen finds: %s', async (_, before) => {
    await using scope = new Scope()
    const file = await fileWith(scope, before)
    for (const [host, port, name] of [
      ['Example.com', 2222, '[example.com]:2222'],
      ['example.com', 22, 'example.com'],
      ['0:0::1', 2222, '[::1]:2222'],
    ] as const) {
      await learnHostKey(lookupOf({ files: [file], host, port }), ours.publicKeyBlob)
      const { stdout } = await execa('ssh-keygen', ['-F', name, '-f', file])
      expect(stdout).toContain(ours.publicKeyLine)
    }
  })
})
