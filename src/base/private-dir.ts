import { lstat, mkdir } from 'node:fs/promises'
import { DproxyError } from './errors.js'
import { ownUid } from './paths.js'

/**
 * Makes `path` a directory that only we can enter (0700), or proves that it already is one.
 * The run directory may stand in the world-writable /tmp, where anyone can create it before us; whoever owns
 * it could then serve our control socket.
 * @throws DproxyError SUPERVISOR_FAILED when the directory is somebody else's or open to others
 */
export const privateDir = async (path: string): Promise<void> => {
  await mkdir(path, { recursive: true, mode: 0o700 })
  const found = await lstat(path)
  const why = !found.isDirectory()
    ? 'is not a directory'
    : found.uid !== ownUid()
      ? `belongs to uid ${found.uid}`
      : (found.mode & 0o077) !== 0
        ? `is open to others (mode ${(found.mode & 0o777).toString(8)})`
        : undefined
  if (why === undefined) return
  throw new DproxyError('SUPERVISOR_FAILED', `the directory ${path} ${why}`, {
    hint: `remove it or make it yours alone (chmod 700), or set DPROXY_RUNTIME_DIR to another one`,
  })
}
