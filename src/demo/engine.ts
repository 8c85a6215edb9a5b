import { createServer } from 'node:http'
import { listenUnix } from '../base/unix-socket.js'
import { startHealthChecks } from './engine/events.js'
import { requestListener } from './engine/routes.js'
import { createWorld } from './engine/world.js'

export interface EngineOptions {
  /** The host it pretends to be: `prod` has more containers than any other. */
  name: string
  socketPath: string
  /** The same seed makes the same containers, ids, logs and loads. */
  seed: string
}

export interface Engine extends AsyncDisposable {
  readonly socketPath: string
  /** Stops listening and cuts every answer under way. */
  close(): Promise<void>
}

/**
 * An HTTP server on a Unix socket that answers as a Docker engine would, as far as looking around goes
 * (API 1.50): version, info, ps, images, inspect, logs, events, stats, top, start, stop, save, load. It runs
 * nothing and stores nothing; what it cannot do it refuses with 501 in Docker's own form.
 * @throws DproxyError SOCKET_PATH_TOO_LONG, SOCKET_BUSY or SOCKET_FAILED
 */
export const startEngine = async ({ name, socketPath, seed }: EngineOptions): Promise<Engine> => {
  const world = createWorld(name, seed)
  // An upload may take as long as it likes.
  const server = createServer({ requestTimeout: 0 }, requestListener(world))
  // By default Node hangs up on a client that has ended its own direction. Not in @types/node.
  Object.assign(server, { httpAllowHalfOpen: true })
  const bound = await listenUnix(server, socketPath)
  const healthChecks = startHealthChecks(world)

  const close = async () => {
    clearInterval(healthChecks)
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
    await bound.release()
  }
  return { socketPath, close, [Symbol.asyncDispose]: close }
}
