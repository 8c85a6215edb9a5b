import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** A TCP port of 127.0.0.1 that was free a moment ago. Somebody may take it first: be ready to ask again. */
export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts something on a free port; `start` is called again, on another one, when the port was taken first. */
export const onFreePort = async <T>(start: (port: number) => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePort())
    } catch (failure) {
      if (!(failure instanceof PortTaken) || attempt === 5) throw failure
    }
  }
}

/** Somebody else listens on the port. */
export class PortTaken extends Error {}
