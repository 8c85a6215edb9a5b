/** Files that nobody but us may read: refused when others may, replaced whole or not at all. */
import { constants, type Stats } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DproxyError, errnoOf } from '../../base/errors.js'
import { ownUid } from '../../base/paths.js'
import { makeDirs } from '../../base/private-dir.js'
import { printable } from '../../base/text.js'

const LARGEST_BYTES = 1024 * 1024

/**
 * @returns the text of the file; undefined when there is none
 * @throws DproxyError SECRET_STORE_FAILED when it is no regular file of ours, or others may read it
 */
export const readPrivate = async (path: string): Promise<string | undefined> => {
  try {
    // Without O_NONBLOCK the open of a FIFO waits for a writer, perhaps for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      refuseOpenToOthers(path, await file.stat())
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (failure) {
    if (errnoOf(failure) === 'ENOENT' || errnoOf(failure) === 'ENOTDIR') return undefined
    throw failure instanceof DproxyError ? failure : unusable(path, 'read', failure)
  }
}

/** @throws DproxyError SECRET_STORE_FAILED */
export const refuseOpenToOthers = (path: string, found: Stats): void => {
  if (!found.isFile()) throw refused(path, 'is no regular file', 'move it away')
  if (found.uid !== ownUid()) throw refused(path, `belongs to uid ${found.uid}`, 'move it away')
  if ((found.mode & 0o077) !== 0) {
    const mode = (found.mode & 0o777).toString(8).padStart(4, '0')
    throw refused(path, `is open to others (mode ${mode})`, `chmod 600 ${printable(path)}`)
  }
  if (found.size > LARGEST_BYTES) throw refused(path, 'is larger than 1 MiB', 'is it the right file?')
}

/**
 * Replaces the file by one with this text, mode 0600, on disk when this returns. Whoever is killed in between
 * leaves the old one. For one writer at a time.
 * @throws DproxyError SECRET_STORE_FAILED
 */
export const writePrivate = async (path: string, text: string): Promise<void> => {
  const beside = `${path}.new`
  // What we could not read again would be lost, and with it all that was in the file before.
  if (Buffer.byteLength(text) > LARGEST_BYTES) {
    throw refused(path, 'would be larger than 1 MiB; it was left as it is', 'remove what is not needed')
  }
  try {
    await makeDirs(dirname(path))
    // What a killed writer left.
    await rm(beside, { force: true })
    const file = await open(beside, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, path)
    await syncDirectory(dirname(path))
  } catch (failure) {
    await rm(beside, { force: true }).catch(() => undefined)
    throw unusable(path, 'written', failure)
  }
}

/** The new name is on disk only when its directory is (fsync(2)). */
const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

const unusable = (path: string, done: string, failure: unknown): DproxyError => {
  const errno = errnoOf(failure)
  if (errno === 'ELOOP') return refused(path, 'is a symbolic link', 'put the file itself there')
  const why = errno ?? (failure instanceof Error ? printable(failure.message) : String(failure))
  return refused(path, `cannot be ${done}: ${why}`, 'mend the file or its directory', failure)
}

const refused = (path: string, why: string, hint: string, cause?: unknown): DproxyError =>
  new DproxyError('SECRET_STORE_FAILED', `the file ${printable(path)} ${why}`, { hint, cause })
