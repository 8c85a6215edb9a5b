import { lstat, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DproxyError, errnoOf } from './errors.js'
import { ownUid } from './paths.js'

/**
 * Makes `path` a directory that only we can enter (0700), or proves that it already is one.
 * The run directory may stand in the world-writable /tmp, where anyone can create it before us; whoever owns
 * it could then serve our control socket.
 * @throws DproxyError SUPERVISOR_FAILED when it cannot be made, is somebody else's or open to others
 */
export const privateDir = async (path: string): Promise<void> => {
  const failure = await makeDirs(path).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  // What stands there says more than mkdir's complaint about it.
  const found = await lstat(path).catch(() => undefined)
  const why = !found
    ? `cannot be made: ${errnoOf(failure) ?? String(failure)}`
    : !found.isDirectory()
      ? 'is not a directory'
      : found.uid !== ownUid()
        ? `belongs to uid ${found.uid}`
        : (found.mode & 0o077) !== 0
          ? `is open to others (mode ${(found.mode & 0o777).toString(8)})`
          : undefined
  if (why === undefined) return
  throw new DproxyError('SUPERVISOR_FAILED', `the directory ${path} ${why}`, {
    hint: `remove it or make it yours alone (chmod 700), or set DPROXY_RUNTIME_DIR to another one`,
    cause: failure,
  })
}

/**
 * Makes `path` and what is missing above it, 0700 each unless told; harmless when it is there. Not by mkdir's own
 * `recursive`, which never settles below a directory that says ENOENT to everything, such as /proc (Node 20).
 * @throws a system error
 */
export const makeDirs = async (path: string, mode = 0o700): Promise<void> => {
  try {
    await mkdir(path, { mode })
  } catch (failure) {
    const above = dirname(path)
    if (errnoOf(failure) === 'EEXIST') return
    if (errnoOf(failure) !== 'ENOENT' || above === path) throw failure
    await makeDirs(above)
    await mkdir(path, { mode })
  }
}
