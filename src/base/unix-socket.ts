import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { access, link, lstat, stat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { DproxyError, errnoOf } from './errors.js'
import { exclusively } from './exclusively.js'
import { LONGEST_SOCKET_PATH, ownUid } from './paths.js'

// The longest queue of clients not yet accepted; the system cuts it to net.core.somaxconn. On a full queue a
// Unix socket's connect() fails at once with EAGAIN (unix(7)), so 500 clients at once need all of it.
const BACKLOG = 4096

/**
 * Which file a path named when it was looked at, whatever happens to the name. The time of birth is part of it
 * because a file system may give the inode number of a removed file to the very next one, as ext4 does.
 */
interface FileIdentity {
  readonly dev: bigint
  readonly ino: bigint
  readonly birthtimeNs: bigint
}

const identityOf = (path: string): Promise<FileIdentity> => lstat(path, { bigint: true })

const same = (a: FileIdentity, b: FileIdentity): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.birthtimeNs === b.birthtimeNs

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
  const inTheWay = await deadSocketAt(path)
  const temporary = await bindBeside(server, path)
  try {
    // Taken from the name that nobody else knows: at the public one somebody may already have replaced us.
    const identity = await identityOf(temporary)
    if (inTheWay) await replaceDead(temporary, path)
    else await link(temporary, path)
    return { path, release: () => removeIfSame(path, identity) }
  } catch (failure) {
    server.close()
    throw cannotListen(path, failure)
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
}

/**
 * What `listenUnix` would find at `path`, looked at only: nothing, or a dead socket of our own to replace.
 * @throws DproxyError as `listenUnix` would
 */
export const couldListen = async (path: string): Promise<'free' | 'dead socket'> => {
  checkLength(path)
  const isDead = await deadSocketAt(path)
  await access(dirname(path), constants.W_OK | constants.X_OK).catch((failure: unknown) => {
    throw cannotListen(path, failure)
  })
  return isDead ? 'dead socket' : 'free'
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
  for (let tries = 1; ; tries += 1) {
    const temporary = nameBeside(path)
    try {
      await bind(server, temporary)
      return temporary
    } catch (failure) {
      // Short names run out of luck: somebody else's file, another of ours on its way, or `path` itself.
      if (errnoOf(failure) !== 'EADDRINUSE' || tries === MOST_TRIES) throw cannotListen(path, failure)
    }
  }
}

const MOST_TRIES = 100

/** A free name in the same directory, probably; never longer than a socket's may be, and never `path`. */
const nameBeside = (path: string): string => {
  const directory = join(dirname(path), '/')
  const letters = Math.min(12, LONGEST_SOCKET_PATH - Buffer.byteLength(directory))
  for (;;) {
    // No encoding but this one has 64 letters that are all fit for a file name.
    const name = randomBytes(letters).toString('base64url').slice(0, letters)
    if (name !== basename(path)) return `${directory}${name}`
  }
}

const bind = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    // bind(2) happens inside this call, and so does its use of the umask.
    const umask = process.umask(0o177)
    try {
      server.listen({ path, backlog: BACKLOG }, () => {
        server.off('error', reject)
        resolve()
      })
    } finally {
      process.umask(umask)
    }
  })

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

/** True for a dead socket of our own at `path`, false for nothing; throws for all else. */
const deadSocketAt = async (path: string): Promise<boolean> => {
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
  if (await answers(path)) throw busy(path, 'another process serves it')
  return true
}

/**
 * Whoever finds a dead socket could, a moment later, remove the living one that another process has put in its
 * place. So nothing is ever removed but under a lock, and after another look.
 */
const replaceDead = (temporary: string, path: string): Promise<void> =>
  exclusively(lockOf(path), async () => {
    if (await deadSocketAt(path)) await unlink(path)
    await link(temporary, path)
  })

const lockOf = (path: string): string => `${path}.lock`

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

/** Removes `path` only if it still is the file once seen. */
const removeIfSame = async (path: string, expected: FileIdentity): Promise<void> => {
  try {
    await exclusively(lockOf(path), async () => {
      if (same(await identityOf(path), expected)) await unlink(path)
    })
  } catch (failure) {
    if (errnoOf(failure) !== 'ENOENT') throw failure
  }
}
