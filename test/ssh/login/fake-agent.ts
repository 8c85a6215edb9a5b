import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Scope } from '../../../src/base/scope.js'
import { deferred } from '../../../src/base/deferred.js'
import { wireString, uint32 } from '../../../src/ssh/login/wire.js'

/** An agent that lists `blobs`, and answers a request for a signature with `sign`'s bytes, or as it likes. */
export const fakeAgent = async (
  scope: Scope,
  socket: string,
  { blobs, sign }: { blobs: readonly Buffer[]; sign: (client: Socket) => void },
): Promise<{ signatures: () => number; asked: Promise<void> }> => {
  const clients = new Set<Socket>()
  const asked = deferred<void>()
  let signatures = 0
  const server = createServer((client) => {
    clients.add(client)
    client.on('error', () => undefined)
    client.on('data', (message) => {
      if (message[4] === LIST) {
        const keys = blobs.map((blob) => Buffer.concat([wireString(blob), wireString('fake')]))
        client.write(wireString(Buffer.concat([Buffer.from([KEYS]), uint32(blobs.length), ...keys])))
      } else {
        signatures += 1
        asked.resolve()
        sign(client)
      }
    })
  })
  scope.add(server, (taken) => {
    for (const client of clients) client.destroy()
    taken.close()
  })
  server.listen(socket)
  await once(server, 'listening')
  return { signatures: () => signatures, asked: asked.promise }
}

const LIST = 11
const KEYS = 12
