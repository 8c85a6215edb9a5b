import { execa } from 'execa'
import { chmod, lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { changeConfigFile } from '../../../src/registry/edit/change-file.js'
import { skippedTitle } from '../../testbed/skipped.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { failureOf } from '../support.js'

const isRoot = process.getuid?.() === 0

test('a file keeps its mode, and nothing else is left beside it', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await writeFile(path, 'old')
  for (const mode of [0o644, 0o600, 0o640]) {
    await chmod(path, mode)
    await changeConfigFile(path, (before) => `${before} and new`)
    expect((await stat(path)).mode & 0o777).toBe(mode)
  }
  expect(await readFile(path, 'utf8')).toBe('old and new and new and new')
  expect(await readdir(dir.path)).toEqual(['config.yaml'])
})

test('the mark that Windows editors put before UTF-8 text stays, and is no part of the text', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await writeFile(path, '\uFEFFold')
  await changeConfigFile(path, (before) => `${before} and new`)
  await changeConfigFile(path, (before) => `${before}er`)
  expect(await readFile(path, 'utf8')).toBe('\uFEFFold and newer')
})

test('a new file is ours alone, whatever the umask', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await changeConfigFile(path, (before) => `before: ${before}`)
  expect(await readFile(path, 'utf8')).toBe('before: undefined')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect(await readdir(dir.path)).toEqual(['config.yaml'])
})

test('a link stays a link, and the file behind it is changed', async () => {
  await using dir = await TempDir.create()
  await mkdir(join(dir.path, 'dotfiles'))
  const file = join(dir.path, 'dotfiles/config.yaml')
  const path = join(dir.path, 'config.yaml')
  await writeFile(file, 'old')
  await symlink('dotfiles/config.yaml', path)
  expect(await changeConfigFile(path, () => 'new')).toBe(file)
  expect((await lstat(path)).isSymbolicLink()).toBe(true)
  expect(await readFile(file, 'utf8')).toBe('new')
  expect(await readdir(dir.path)).toEqual(['config.yaml', 'dotfiles'])
})

test('a link to nothing is told, not filled', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await symlink('gone.yaml', path)
  expect(await failureOf(() => changeConfigFile(path, () => 'new'))).toMatchObject({
    code: 'CONFIG_MISSING',
    message: `${path} is a link to gone.yaml, which does not exist`,
  })
  expect(await readdir(dir.path)).toEqual(['config.yaml'])
})

test.each([
  ['changed', 'old', 'theirs'],
  ['made', undefined, 'theirs'],
])('what somebody else %s meanwhile is not overwritten', async (_, before, theirs) => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  if (before !== undefined) await writeFile(path, before)
  const failure = await failureOf(() =>
    changeConfigFile(path, async () => {
      await writeFile(path, theirs)
      return 'ours'
    }),
  )
  expect(failure).toMatchObject({
    code: 'CONFIG_CHANGED',
    message: `somebody else changed ${path} at the same time`,
  })
  expect(await readFile(path, 'utf8')).toBe(theirs)
  expect(await readdir(dir.path)).toEqual(['config.yaml'])
})

test('a change that refuses leaves everything as it was', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await writeFile(path, 'old')
  await expect(changeConfigFile(path, () => Promise.reject(new RangeError('no')))).rejects.toThrow(RangeError)
  expect(await readFile(path, 'utf8')).toBe('old')
  expect(await readdir(dir.path)).toEqual(['config.yaml'])
})

test('twenty changes at once all count', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  const numbers = Array.from({ length: 20 }, (_, index) => String(index))
  await Promise.all(numbers.map((number) => changeConfigFile(path, (before = '') => `${before}${number}\n`)))
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  expect(lines.toSorted()).toEqual(numbers.toSorted())
})

test('a file that others may write to is not changed but told of', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await writeFile(path, 'old')
  await chmod(path, 0o666)
  expect(await failureOf(() => changeConfigFile(path, () => 'new'))).toMatchObject({
    code: 'CONFIG_INVALID',
    hint: `chmod go-w ${path}`,
  })
  expect(await readFile(path, 'utf8')).toBe('old')
})

test('a directory that is not there is named with the command that makes it', async () => {
  await using dir = await TempDir.create()
  expect(await failureOf(() => changeConfigFile(join(dir.path, 'a/b.yaml'), () => 'new'))).toMatchObject({
    code: 'OUTPUT_FAILED',
    message: `${dir.path}/a/b.yaml could not be written: there is no directory ${dir.path}/a`,
    hint: `mkdir -p ${dir.path}/a`,
  })
})

test.skipIf(isRoot)('a directory that we may not write to is named', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'config.yaml')
  await writeFile(path, 'old')
  await chmod(dir.path, 0o500)
  const failure = await failureOf(() => changeConfigFile(path, () => 'new'))
  await chmod(dir.path, 0o700)
  expect(failure).toMatchObject({
    code: 'OUTPUT_FAILED',
    message: `${path} could not be written: you may not write to the directory ${dir.path}`,
  })
  expect(await readFile(path, 'utf8')).toBe('old')
})

/** A small disk, gone with the scope; mounting takes root and a system that lets it. */
const smallDisk = async (scope: Scope): Promise<string> => {
  const dir = scope.use(await TempDir.create())
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', dir.path])
  return scope.add(dir.path, (path) => execa('umount', ['--lazy', path]))
}

const canMount = await (async () => {
  await using scope = new Scope()
  return await smallDisk(scope).then(
    () => true,
    () => false,
  )
})()
const onSmallDisk = test.skipIf(!canMount)
const titled = (title: string): string =>
  canMount ? title : skippedTitle(title, 'this machine lets us mount no disk')

onSmallDisk(titled('on a full disk the file stays as it was'), async () => {
  await using scope = new Scope()
  const dir = await smallDisk(scope)
  const path = join(dir, 'config.yaml')
  await writeFile(path, 'old')
  await writeFile(join(dir, 'filler'), Buffer.alloc(56 * 1024))
  expect(await failureOf(() => changeConfigFile(path, () => 'x'.repeat(20_000)))).toMatchObject({
    code: 'OUTPUT_FAILED',
    message: `${path} could not be written: there is no space left on its disk`,
  })
  expect(await readFile(path, 'utf8')).toBe('old')
  expect((await readdir(dir)).toSorted()).toEqual(['config.yaml', 'filler'])
})

onSmallDisk(titled('on a read-only disk the file stays as it was'), async () => {
  await using scope = new Scope()
  const dir = await smallDisk(scope)
  const path = join(dir, 'config.yaml')
  await writeFile(path, 'old')
  await execa('mount', ['-o', 'remount,ro', dir])
  expect(await failureOf(() => changeConfigFile(path, () => 'new'))).toMatchObject({
    code: 'OUTPUT_FAILED',
    message: `${path} could not be written: ${dir} is on a read-only file system`,
  })
  expect(await readFile(path, 'utf8')).toBe('old')
})
