import { createServer, type Server } from 'node:http'
import { listenUnix, type ListenOptions } from '../base/unix-socket.js'
import { LineChannel } from './line-channel.js'
import { API_VERSION, HandOverOrder } from './messages.js'
import { routes } from './server/routes.js'
import type { ControlService } from './service.js'

export interface ControlServer extends AsyncDisposable {
  readonly path: string
  /** Frees the path for another supervisor; who is connected already is still served. */
  release(): Promise<void>
}

// The way two supervisors talk while one takes the other's place.
const HAND_OVER = '/v1/hand-over'

/**
 * Serves `service` as plain HTTP/1.1 on the Unix socket `path`, mode 0600. Bodies are bounded and checked
 * against their schemas; every failure is a `Reply` with `ok: false`. Disposing stops it and removes the path.
 * @throws DproxyError SOCKET_*
 */
export const serveControl = async (
  path: string,
  service: ControlService,
  version: string,
  how?: ListenOptions,
): Promise<ControlServer> => {
  const router = routes(service)
  const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
    response.setHeader('Dproxy-Api', API_VERSION)
    response.setHeader('Dproxy-Version', version)
    router.lookup(request, response)
  })
  server.on('connect', (request, socket, head) => {
    // Node listens for its errors no longer (nodejs.org/api/http.html, event 'connect').
    socket.on('error', () => undefined)
    if (request.url === HAND_OVER) {
      socket.write(`HTTP/1.1 200 OK\r\nDproxy-Api: ${API_VERSION}\r\nDproxy-Version: ${version}\r\n\r\n`)
      service.handOver(new LineChannel(socket, HandOverOrder, head))
    } else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n', () => socket.destroy())
  })
  const bound = await listenUnix(server, path, how)
  return {
    path,
    release: () => bound.release(),
    [Symbol.asyncDispose]: async () => {
      try {
        await bound.release()
      } finally {
        await closeServer(server)
      }
    },
  }
}

const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
    // Watchers and log followers never end by themselves.
    setTimeout(() => server.closeAllConnections(), 100).unref()
  })
