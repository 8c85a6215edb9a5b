import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * An image registry (OCI distribution specification) that has every image asked for and never hands out what
 * is in it: a pull from it lasts until it is given up. It ends with its scope.
 */
export class StuckRegistry implements AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string
  readonly #server: Server

  static async start(): Promise<StuckRegistry> {
    const server = createServer(({ url = '' }, response) => {
      if (url === '/v2/') return void response.end('{}')
      if (!url.includes('/manifests/')) return undefined // and the blob never comes
      const headers = { 'Content-Type': TYPE, 'Docker-Content-Digest': digest(MANIFEST) }
      return void response.writeHead(200, headers).end(MANIFEST)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new StuckRegistry(server)
  }

  private constructor(server: Server) {
    this.#server = server
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }
}

const digest = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`

const TYPE = 'application/vnd.docker.distribution.manifest.v2+json'
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: TYPE,
  config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: 7, digest: digest('config') },
  layers: [
    { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: 7, digest: digest('layer') },
  ],
})
