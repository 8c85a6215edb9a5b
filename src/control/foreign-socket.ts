import { lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DproxyError } from '../base/errors.js'
import { LONGEST_SOCKET_PATH, ownUid } from '../base/paths.js'

/**
 * Makes sure that nobody but us can serve a control socket at `path`: it may stand in the world-writable /tmp,
 * where another user could have made the directory first, and whoever we talk to is told where our agent is and
 * tells us which sockets are Docker's.
 * @throws DproxyError SUPERVISOR_FAILED when the directory is somebody else's or open to others,
 * SOCKET_PATH_TOO_LONG when the system could not take the path
 */
export const refuseForeignSocket = async (path: string): Promise<void> => {
  const bytes = Buffer.byteLength(path)
  if (bytes > LONGEST_SOCKET_PATH) {
    const why = `has ${bytes} bytes, the system takes ${LONGEST_SOCKET_PATH}`
    throw new DproxyError('SOCKET_PATH_TOO_LONG', `the path of the control socket, ${path}, ${why}`, {
      hint: 'set DPROXY_RUNTIME_DIR to a shorter directory',
    })
  }
  const directory = dirname(path)
  const found = await lstat(directory).catch(() => undefined)
  if (!found) return
  if (found.uid !== ownUid()) throw unsafe(directory, `belongs to uid ${found.uid}`)
  if ((found.mode & 0o022) !== 0) throw unsafe(directory, 'may be written to by others')
}

const unsafe = (directory: string, why: string): DproxyError =>
  new DproxyError(
    'SUPERVISOR_FAILED',
    `the control socket cannot be trusted: its directory ${directory} ${why}`,
    {
      hint: 'remove it or make it yours alone (chmod 700), or set DPROXY_RUNTIME_DIR to another one',
    },
  )
