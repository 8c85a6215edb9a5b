import { execFile } from 'node:child_process'
import { copyFile, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { program } from './parts.js'

/** The image the tests run: busybox and its commands, nothing else. On a user's own server it is removed after. */
export const IMAGE = 'dproxy-test/busybox:local'

/** How `docker import` makes it from the archive that `imageArchive` writes. */
export const importArguments = (archive: string): string[] => [
  'import',
  '-c',
  'CMD ["/bin/sh"]',
  '-c',
  'ENV PATH=/bin',
  archive,
  IMAGE,
]

/** Writes the image's file tree as a tar archive in `dir` and returns its path. */
export const imageArchive = async (dir: string): Promise<string> => {
  const root = join(dir, 'root')
  for (const name of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev'])
    await mkdir(join(root, name), { recursive: true })
  const busybox = program('busybox')
  if (busybox === undefined) throw new Error('busybox is not on this machine')
  await copyFile(busybox, join(root, 'bin/busybox'))
  const { stdout } = await promisify(execFile)(busybox, ['--list'])
  const commands = stdout.split('\n').filter((name) => name && name !== 'busybox')
  await Promise.all(commands.map((name) => symlink('busybox', join(root, 'bin', name))))
  const archive = join(dir, 'image.tar')
  await promisify(execFile)('tar', ['-C', root, '-cf', archive, '.'])
  return archive
}
