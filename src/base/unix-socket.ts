import { randomBytes } from 'node:crypto'
import { link, lstat, rename, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { DproxyError, errnoOf } from './errors.js'
import { LONGEST_SOCKET_PATH, ownUid } from './paths.js'

// The longest queue of clients not yet accepted; the system cuts it to net.core.somaxconn. On a full queue a
// Unix socket's connect() fails at once with EAGAIN (unix(7)), so 500 clients at once need all of it.
const BACKLOG = 4096

/** Which file a path named when it was looked at: the pair that never lies, whatever happens to the name. */
interface FileIdentity {
  readonly dev: bigint
  readonly ino: bigint
}

const identityOf = async (path: string): Promise<FileIdentity> => {
  const { dev, ino } = await lstat(path, { bigint: true })
  return { dev, ino }
}

const same = (a: FileIdentity, b: FileIdentity): boolean => a.dev === b.dev && a.ino === b.ino

/** A path that a server listens on, until released. */
export interface BoundPath {
  readonly path: string
  /** Removes the path if it still names our socket, and nothing else ever. */
  release(): Promise<void>
}

/**
 * Makes `server` listen on the Unix socket `path`, mode 0600 from its first instant under any umask.
 * The socket is bound to a temporary name beside it and then hard-linked into place, because link(2) fails
 * where something exists, because no client ever meets a socket bound but not yet listening, and because
 * Node's close() unlinks the bound name, which is then no longer the public one.
 * A dead socket of our own is replaced; anything else is left untouched.
 * @throws DproxyError SOCKET_PATH_TOO_LONG, SOCKET_BUSY or SOCKET_FAILED
 */
export const listenUnix = async (server: Server, path: string): Promise<BoundPath> => {
  checkLength(path)
  await removeIfDead(path)
  const temporary = await bindBeside(server, path)
  try {
    await link(temporary, path)
    const identity = await identityOf(path)
    return { path, release: () => removeIfSame(path, identity) }
  } catch (failure) {
    server.close()
    throw cannotListen(path, failure)
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
}

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

const bindBeside = async (server: Server, path: string): Promise<string> => {
  // No longer than the name it stands in for, so that whatever fits the limit still does.
  const name = randomBytes(6)
    .toString('hex')
    .slice(0, Math.min(12, Buffer.byteLength(basename(path))))
  const temporary = join(dirname(path), name)
  await new Promise<void>((resolve, reject) => {
    const failed = (failure: Error) => reject(cannotListen(path, failure))
    server.once('error', failed)
    // bind(2) happens inside this call, and so does its use of the umask.
    const umask = process.umask(0o177)
    try {
      server.listen({ path: temporary, backlog: BACKLOG }, () => {
        server.off('error', failed)
        resolve()
      })
    } finally {
      process.umask(umask)
    }
  })
  return temporary
}

const cannotListen = (path: string, failure: unknown): DproxyError => {
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

const busy = (path: string, why: string, cause?: unknown): DproxyError =>
  new DproxyError('SOCKET_BUSY', `${path} is taken: ${why}; it was left untouched`, {
    stage: 'socket',
    hint: 'remove it yourself if you are sure, or choose another path with `socket:` or --local-socket',
    cause,
  })

/** Clears the way for a bind, if what stands there is a dead socket of our own; throws for all else. */
const removeIfDead = async (path: string): Promise<void> => {
  const found = await lstat(path, { bigint: true }).catch((failure: unknown) => {
    if (errnoOf(failure) === 'ENOENT') return undefined
    throw cannotListen(path, failure)
  })
  if (!found) return
  if (found.isSymbolicLink()) throw busy(path, 'it is a symbolic link')
  if (found.isDirectory()) throw busy(path, 'it is a directory')
  // Connecting to a regular file gives ECONNREFUSED just like a dead socket: the type is asked first.
  if (!found.isSocket()) throw busy(path, 'it is a file, not a socket')
  if (Number(found.uid) !== ownUid()) throw busy(path, `it is a socket of another user (uid ${found.uid})`)
  if (await answers(path)) throw busy(path, 'another process serves it')
  await removeIfSame(path, found)
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

/**
 * Removes `path` only if it still is the file once seen. It is moved aside first and looked at there: between
 * a look and an unlink by name, another process could have put its own socket in place.
 */
const removeIfSame = async (path: string, expected: FileIdentity): Promise<void> => {
  const aside = join(dirname(path), randomBytes(6).toString('hex'))
  try {
    if (!same(await identityOf(path), expected)) return
    await rename(path, aside)
  } catch (failure) {
    if (errnoOf(failure) === 'ENOENT') return
    throw failure
  }
  if (!same(await identityOf(aside), expected)) await link(aside, path).catch(() => undefined)
  await unlink(aside)
}
