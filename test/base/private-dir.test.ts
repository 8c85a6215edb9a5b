import { chmod, chown, lstat, mkdir, readlink, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { privateDir } from '../../src/base/private-dir.js'
import { TempDir } from '../testbed/temp-dir.js'

const OTHER_UID = 65_534

const refused = (sentence: RegExp) =>
  expect.objectContaining({
    code: 'SUPERVISOR_FAILED',
    message: expect.stringMatching(sentence) as string,
    hint: expect.stringContaining('DPROXY_RUNTIME_DIR') as string,
  }) as Error

describe('a private directory', () => {
  test('is made with all above it, and is ours alone under any umask', async () => {
    await using dir = await TempDir.create()
    for (const umask of [0o000, 0o022, 0o077]) {
      const path = join(dir.path, `${umask}`, 'a', 'b')
      const before = process.umask(umask)
      try {
        await privateDir(path)
      } finally {
        process.umask(before)
      }
      expect((await stat(path)).mode & 0o777).toBe(0o700)
      await privateDir(path)
    }
  })

  test('is refused when others may enter it', async () => {
    await using dir = await TempDir.create()
    const path = join(dir.path, 'open')
    await mkdir(path)
    for (const mode of [0o701, 0o710, 0o750, 0o1777]) {
      await chmod(path, mode)
      await expect(privateDir(path)).rejects.toEqual(refused(/\/open is open to others/u))
      expect((await stat(path)).mode & 0o7777).toBe(mode)
    }
  })

  test.runIf(ownUid() === 0)('is refused when it belongs to somebody else', async () => {
    await using dir = await TempDir.create()
    const path = join(dir.path, 'theirs')
    await mkdir(path, { mode: 0o700 })
    await chown(path, OTHER_UID, OTHER_UID)
    await expect(privateDir(path)).rejects.toEqual(refused(/\/theirs belongs to uid 65534/u))
  })

  test('is not a link to one, not a dangling link, and not a file', async () => {
    await using dir = await TempDir.create()
    const at = (name: string) => join(dir.path, name)
    await privateDir(at('real'))
    await symlink(at('real'), at('link'))
    await symlink(at('nowhere'), at('dangling'))
    await writeFile(at('file'), 'kept')
    for (const name of ['link', 'dangling', 'file']) {
      await expect(privateDir(at(name))).rejects.toEqual(
        refused(new RegExp(`/${name} is not a directory`, 'u')),
      )
    }
    expect(await readlink(at('dangling'))).toBe(at('nowhere'))
    await expect(lstat(at('nowhere'))).rejects.toThrow('ENOENT')
  })

  test('says why it cannot be made', async () => {
    await using dir = await TempDir.create()
    const file = join(dir.path, 'file')
    await writeFile(file, '')
    await expect(privateDir(join(file, 'below'))).rejects.toEqual(
      refused(/file\/below cannot be made: ENOTDIR/u),
    )
  })
})

test.runIf(process.platform === 'linux')(
  'a directory that cannot be is refused, not waited for',
  async () => {
    await expect(privateDir('/proc/no/such')).rejects.toMatchObject({ code: 'SUPERVISOR_FAILED' })
  },
)
