import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { DproxyError, errnoOf } from '../base/errors.js'
import { ownUid } from '../base/paths.js'
import { printable } from '../base/text.js'

// A thousand hosts fit; reading what is made to be slow still takes about a second at most.
const LARGEST_BYTES = 256 * 1024

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
  if (found.uid !== ownUid() && found.uid !== 0) {
    throw invalid(
      path,
      `belongs to another user (uid ${found.uid}), who could send you to any host`,
      `if you trust what it says, make it yours: sudo chown ${ownUid()} ${printable(path)}`,
    )
  }
  if ((found.mode & 0o002) !== 0) {
    throw invalid(path, 'may be written to by everybody', `chmod o-w ${printable(path)}`)
  }
  if (found.size > LARGEST_BYTES) throw invalid(path, 'is larger than 256 KiB', 'is it really a config file?')
}

const unreadable = (path: string, failure: unknown): DproxyError => {
  const errno = errnoOf(failure)
  if (errno === 'EACCES')
    return invalid(path, 'may not be read by you', `chmod u+r ${printable(path)}`, failure)
  if (errno === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
    return invalid(path, 'is not UTF-8 text', 'save it as UTF-8', failure)
  }
  const why = failure instanceof Error ? failure.message : String(failure)
  return invalid(path, `cannot be read: ${printable(why)}`, 'name another file with --config', failure)
}

const invalid = (path: string, why: string, hint: string, cause?: unknown): DproxyError =>
  new DproxyError('CONFIG_INVALID', `the config file ${printable(path)} ${why}`, { hint, cause })
