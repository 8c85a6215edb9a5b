import { constants, type Stats } from 'node:fs'
import { open, realpath, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DproxyError, errnoOf } from '../base/errors.js'
import { ownUid } from '../base/paths.js'
import { printable, shellWord } from '../base/text.js'
import { isOwnPrivateGroup } from './private-group.js'

// A thousand hosts fit; reading what is made to be slow still takes about a second at most.
export const LARGEST_BYTES = 256 * 1024

/**
 * The text of a config file that nobody but us or root could have written.
 * @returns undefined when there is no such file
 * @throws DproxyError CONFIG_INVALID when it is no readable file of UTF-8 text, or others may write to it
 */
export const readConfigFile = async (path: string): Promise<string | undefined> => {
  try {
    // Without O_NONBLOCK the open of a FIFO waits for a writer, perhaps for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      await refuseUnsafe(path, file)
      return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile())
    } finally {
      await file.close()
    }
  } catch (failure) {
    const errno = errnoOf(failure)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined
    throw failure instanceof DproxyError ? failure : unreadable(path, failure)
  }
}

const refuseUnsafe = async (path: string, file: FileHandle): Promise<void> => {
  const found = await file.stat()
  if (found.isDirectory()) throw invalid(path, 'is a directory, not a config file', 'name the file in it')
  if (!found.isFile()) throw invalid(path, 'is not a regular file', 'name a file')
  if (isStrangers(found)) {
    throw invalid(
      path,
      `belongs to another user (uid ${found.uid}), who could send you to any host`,
      `if you trust what it says, make it yours: sudo chown ${ownUid()} ${shellWord(path)}`,
    )
  }
  const who = await otherWriters(found)
  if (who !== undefined) throw invalid(path, `may be written to by ${who}`, `chmod go-w ${shellWord(path)}`)
  // Behind a link there are two directories, and who may write to either can put another file in its place.
  for (const dir of new Set([dirname(path), dirname(await realpath(path))])) await refuseUnsafeDir(path, dir)
  if (found.size > LARGEST_BYTES) throw invalid(path, 'is larger than 256 KiB', 'is it really a config file?')
}

const refuseUnsafeDir = async (path: string, dir: string): Promise<void> => {
  const found = await stat(dir)
  if (isStrangers(found)) {
    throw invalid(
      path,
      `stands in a directory of another user (uid ${found.uid}), who could replace it: ${printable(dir)}`,
      'move it to a directory of your own',
    )
  }
  // The sticky bit of /tmp lets nobody else replace a file of ours (unlink(2)).
  if ((found.mode & 0o1000) !== 0) return
  const who = await otherWriters(found)
  if (who === undefined) return
  throw invalid(
    path,
    `stands in a directory that may be written to by ${who}: ${printable(dir)}`,
    `chmod go-w ${shellWord(dir)}`,
  )
}

const isStrangers = ({ uid }: Stats): boolean => uid !== ownUid() && uid !== 0

/** Who beside us and root may write there; undefined for nobody. */
const otherWriters = async ({ mode, gid }: Stats): Promise<string | undefined> => {
  const shown = `mode ${(mode & 0o7777).toString(8).padStart(4, '0')}`
  if ((mode & 0o002) !== 0) return `everybody (${shown})`
  if ((mode & 0o020) === 0 || (await isOwnPrivateGroup(gid))) return undefined
  return `its group (gid ${gid}, ${shown})`
}

const unreadable = (path: string, failure: unknown): DproxyError => {
  const errno = errnoOf(failure)
  if (errno === 'EACCES')
    return invalid(path, 'may not be read by you', `chmod u+r ${shellWord(path)}`, failure)
  if (errno === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
    return invalid(path, 'is not UTF-8 text', 'save it as UTF-8', failure)
  }
  const why = failure instanceof Error ? failure.message : String(failure)
  return invalid(path, `cannot be read: ${printable(why)}`, 'name another file with --config', failure)
}

const invalid = (path: string, why: string, hint: string, cause?: unknown): DproxyError =>
  new DproxyError('CONFIG_INVALID', `the config file ${printable(path)} ${why}`, { hint, cause })
