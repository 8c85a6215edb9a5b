import { lstat, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { DproxyError, errnoOf } from '../errors.js'
import { LONGEST_SOCKET_PATH, ownUid } from '../paths.js'

/** @throws DproxyError SOCKET_PATH_TOO_LONG when the system could not take `path` as a socket's name */
export const checkLength = (path: string): void => {
  const bytes = Buffer.byteLength(path)
  if (bytes <= LONGEST_SOCKET_PATH) return
  throw new DproxyError(
    'SOCKET_PATH_TOO_LONG',
    `the socket path ${path} has ${bytes} bytes, the system takes ${LONGEST_SOCKET_PATH}`,
    { stage: 'socket', hint: 'choose a shorter one with `socket:` in the config or --local-socket' },
  )
}

/** What of ours stands at a path: nothing, or a socket that nobody or somebody listens on. */
export type Standing = 'nothing' | 'dead socket' | 'live socket'

/**
 * Looks at what stands at `path`. To ask whether a socket is alive is to be its client for a moment.
 * @throws DproxyError SOCKET_BUSY when it is anything but a socket of our own user, SOCKET_FAILED when the
 * directory cannot be looked into
 */
export const standingAt = async (path: string): Promise<Standing> => {
  if (!(await isOwnSocket(path))) return 'nothing'
  return (await answers(path)) ? 'live socket' : 'dead socket'
}

/**
 * Whether a socket of our own user stands at `path`, alive or not; false when nothing does.
 * @throws DproxyError as `standingAt`
 */
export const isOwnSocket = async (path: string): Promise<boolean> => {
  const found = await lstat(path, { bigint: true }).catch(async (failure: unknown) => {
    if (errnoOf(failure) !== 'ENOENT') throw cannotListen(path, failure)
    // Asked here, because libuv's bind says EACCES where the directory is missing.
    await stat(dirname(path)).catch((missing: unknown) => {
      throw cannotListen(path, missing)
    })
    return undefined
  })
  if (!found) return false
  if (found.isSymbolicLink()) throw busy(path, 'it is a symbolic link')
  if (found.isDirectory()) throw busy(path, 'it is a directory')
  // Connecting to a regular file gives ECONNREFUSED just like a dead socket: the type is asked first.
  if (!found.isSocket()) throw busy(path, 'it is a file, not a socket')
  if (Number(found.uid) !== ownUid()) throw busy(path, `it is a socket of another user (uid ${found.uid})`)
  return true
}

/** True when something accepts connections at `path`; false only when the kernel says nobody does. */
export const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', (failure) => {
      const errno = errnoOf(failure)
      // EAGAIN (its queue is full) and EACCES mean that somebody is there.
      resolve(errno !== 'ECONNREFUSED' && errno !== 'ENOENT')
    })
  })

/** The refusal of a path that is not ours to take. */
export const busy = (path: string, why: string, cause?: unknown): DproxyError =>
  new DproxyError('SOCKET_BUSY', `${path} is taken: ${why}; it was left untouched`, {
    stage: 'socket',
    hint: 'remove it yourself if you are sure, or choose another path with `socket:` or --local-socket',
    cause,
  })

/** A system error of making or looking at the socket `path`, in our words. */
export const cannotListen = (path: string, failure: unknown): DproxyError => {
  if (failure instanceof DproxyError) return failure
  const errno = errnoOf(failure)
  if (errno === 'EEXIST') return busy(path, 'another process made it just now', failure)
  const why: Record<string, string> = {
    ENOENT: `the directory ${dirname(path)} does not exist`,
    ENOTDIR: `${dirname(path)} is not a directory`,
    EACCES: `you may not write to ${dirname(path)}`,
    EROFS: `${dirname(path)} is read-only`,
    ENOSPC: `no space left in ${dirname(path)}`,
  }
  const reason = (errno && why[errno]) ?? (failure instanceof Error ? failure.message : String(failure))
  return new DproxyError('SOCKET_FAILED', `cannot listen on ${path}: ${reason}`, {
    stage: 'socket',
    hint: 'create or free the directory, or choose another path with `socket:` or --local-socket',
    cause: failure,
  })
}
