import { lstat, realpath } from 'node:fs/promises'
import { DproxyError, errnoOf } from '../errors.js'
import { ownUid } from '../paths.js'
import { makeDirs } from '../private-dir.js'

/** A directory, as it was when a socket was made in it. */
export interface Directory {
  readonly path: string
  /** What the path led to, links followed. */
  readonly real: string
  readonly uid: number
  readonly mode: number
  readonly isLink: boolean
}

/** @throws a system error */
export const directoryAt = async (path: string): Promise<Directory> => {
  const found = await lstat(path)
  const { uid, mode } = found
  return { path, real: await realpath(path), uid, mode: mode & 0o7777, isLink: found.isSymbolicLink() }
}

/**
 * Sees to it that the directory is there as it was: made again with no more rights than it had, when it was our
 * own. Where anybody may write, a stranger can be quicker, and would own whatever is put into theirs.
 * @throws DproxyError SOCKET_FAILED when another one stands there; a system error when it is not there and
 * not ours to make
 */
export const directoryAgain = async (before: Directory): Promise<void> => {
  const now = await directoryAt(before.path).catch(async (failure: unknown) => {
    if (errnoOf(failure) !== 'ENOENT' || before.uid !== ownUid() || before.isLink) throw failure
    await makeDirs(before.path, before.mode)
    return directoryAt(before.path)
  })
  if (now.uid === before.uid && now.real === before.real) return
  const why =
    now.uid === before.uid
      ? `it leads to ${now.real} now, not to ${before.real}`
      : `it belongs to uid ${now.uid} now`
  throw new DproxyError('SOCKET_FAILED', `the directory ${before.path} is not the one it was: ${why}`, {
    stage: 'socket',
    hint: 'look at who changed it; if it is meant to be so, restart the host',
  })
}
