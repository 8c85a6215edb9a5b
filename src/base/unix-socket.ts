import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import type { Server } from 'node:net'
import { dirname } from 'node:path'
import type { DproxyError } from './errors.js'
import { KeptSocket } from './unix-socket/kept-socket.js'
import { cannotListen, checkLength } from './unix-socket/path.js'
import { replaceableAt } from './unix-socket/place.js'

/** A path that a server listens on, until released. */
export interface BoundPath {
  readonly path: string
  /** Why clients cannot get in at the path now: SOCKET_BUSY or SOCKET_FAILED; undefined when they can. */
  readonly lost: DproxyError | undefined
  /** Removes the path if it still names our socket, and nothing else ever. */
  release(): Promise<void>
}

export interface ListenOptions {
  /**
   * Takes the place of a living socket of our own user, too: it is renamed over, so that at no moment a client
   * finds nothing there. Only for whoever knows that the one who serves it is about to leave.
   */
  readonly takeOver?: boolean
  /**
   * Hears that somebody deleted the socket, and that it was made again (undefined) or why it could not be, once
   * for each reason.
   */
  readonly onChange?: (lost: DproxyError | undefined) => void
}

/**
 * Makes `server` listen on the Unix socket `path`, mode 0600 from its first instant under any umask.
 * The socket is bound to a temporary name beside it and then hard-linked into place, because link(2) fails
 * where something exists, because no client ever meets a socket bound but not yet listening, and because
 * Node's close() unlinks the bound name, which is then no longer the public one.
 * A dead socket of our own is replaced; anything else is left untouched. As long as the server listens, a socket
 * that was deleted is made again, and its directory if that was our own.
 * @throws DproxyError SOCKET_PATH_TOO_LONG, SOCKET_BUSY or SOCKET_FAILED
 */
export const listenUnix = async (
  server: Server,
  path: string,
  { takeOver = false, onChange = () => undefined }: ListenOptions = {},
): Promise<BoundPath> => {
  checkLength(path)
  const socket = new KeptSocket(server, path, onChange)
  await socket.make(takeOver)
  return socket
}

/**
 * What `listenUnix` would find at `path`, looked at only: nothing, or a dead socket of our own to replace.
 * @throws DproxyError as `listenUnix` would
 */
export const couldListen = async (path: string): Promise<'free' | 'dead socket'> => {
  checkLength(path)
  const inTheWay = await replaceableAt(path, false)
  await access(dirname(path), constants.W_OK | constants.X_OK).catch((failure: unknown) => {
    throw cannotListen(path, failure)
  })
  return inTheWay === 'nothing' ? 'free' : 'dead socket'
}
