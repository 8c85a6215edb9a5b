import { randomBytes } from 'node:crypto'
import type { Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { errnoOf } from '../errors.js'
import { LONGEST_SOCKET_PATH } from '../paths.js'

// The longest queue of clients not yet accepted; the system cuts it to net.core.somaxconn. On a full queue a
// Unix socket's connect() fails at once with EAGAIN (unix(7)), so 500 clients at once need all of it.
const BACKLOG = 4096

const MOST_TRIES = 100

/**
 * Makes `server` listen on a free name in the directory of `path`, mode 0600 from its first instant under any
 * umask; gives that name.
 * @throws a system error
 */
export const bindBeside = async (server: Server, path: string): Promise<string> => {
  for (let tries = 1; ; tries += 1) {
    const temporary = nameBeside(path)
    try {
      await bind(server, temporary)
      return temporary
    } catch (failure) {
      // Short names run out of luck: somebody else's file, another of ours on its way, or `path` itself.
      if (errnoOf(failure) !== 'EADDRINUSE' || tries === MOST_TRIES) throw failure
    }
  }
}

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
    const settle = (failure?: Error) => {
      server.off('error', settle).off('listening', settle)
      if (failure) reject(failure)
      else resolve()
    }
    server.on('error', settle).on('listening', settle)
    // bind(2) happens inside this call, and so does its use of the umask.
    const umask = process.umask(0o177)
    try {
      server.listen({ path, backlog: BACKLOG })
    } finally {
      process.umask(umask)
    }
  })
