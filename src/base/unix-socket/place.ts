import { link, rename, unlink } from 'node:fs/promises'
import { errnoOf } from '../errors.js'
import { exclusively } from '../exclusively.js'
import { identityOf, same, type FileIdentity } from './file-identity.js'
import { busy, isOwnSocket, standingAt, type Standing } from './path.js'

/**
 * What stands at `path`, when it may be replaced.
 * @throws DproxyError SOCKET_BUSY, SOCKET_FAILED
 */
export const replaceableAt = async (path: string, takeOver: boolean): Promise<Standing> => {
  // Alive or not, it is taken: who is asked would serve us as a client, and tell of one that nobody has.
  if (takeOver) return (await isOwnSocket(path)) ? 'live socket' : 'nothing'
  const found = await standingAt(path)
  if (found === 'live socket') throw busy(path, 'another process serves it')
  return found
}

/**
 * Gives the socket `temporary` its public name, in place of `inTheWay`.
 * Whoever finds a dead socket could, a moment later, replace the living one that another process has put in its
 * place. So nothing is ever replaced but under a lock, and after another look.
 * @throws DproxyError SOCKET_BUSY, SOCKET_FAILED; a system error, EEXIST when somebody was quicker
 */
export const putInPlace = (
  temporary: string,
  path: string,
  inTheWay: Standing,
  takeOver: boolean,
): Promise<void> =>
  inTheWay === 'nothing' && !takeOver
    ? link(temporary, path)
    : exclusively(lockOf(path), async () => {
        if ((await replaceableAt(path, takeOver)) === 'nothing') await link(temporary, path)
        else await rename(temporary, path)
      })

/**
 * Removes `path` only if it still is the file once seen.
 * @throws a system error, unless it is not there
 */
export const removeIfSame = async (path: string, expected: FileIdentity): Promise<void> => {
  const remove = async () => {
    if (same(await identityOf(path), expected)) await unlink(path)
  }
  try {
    await exclusively(lockOf(path), remove).catch((failure: unknown) => {
      // Where no lock can be made for want of an inode, no socket can be made in our place either.
      if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(failure) ?? '')) throw failure
      return remove()
    })
  } catch (failure) {
    if (errnoOf(failure) !== 'ENOENT') throw failure
  }
}

const lockOf = (path: string): string => `${path}.lock`
