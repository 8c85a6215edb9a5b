import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { refuseForeignSocket } from '../foreign-socket.js'
import { silent, unreachable, versionRefusal } from './errors.js'

export interface SendOptions {
  readonly signal?: AbortSignal
  /** Whatever protocol it speaks. */
  readonly anyVersion?: boolean
}

/**
 * HTTP over the control socket at one path. Every request checks that what answers is our own supervisor and speaks
 * our protocol, and rejects with a DproxyError.
 */
export class Transport {
  readonly #path: string
  readonly #answersWithinMs: number

  constructor(path: string, answersWithinMs: number) {
    this.#path = path
    this.#answersWithinMs = answersWithinMs
  }

  /** Resolves when the answer begins. What is not ordered but asked (GET) must be answered in time. */
  async send(
    method: string,
    path: string,
    body?: unknown,
    { signal, anyVersion = false }: SendOptions = {},
  ): Promise<IncomingMessage> {
    await refuseForeignSocket(this.#path)
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'Content-Type': 'application/json' }
      const asked = httpRequest(
        {
          socketPath: this.#path,
          method,
          path,
          headers: { Host: 'dproxy', ...headers },
          agent: false,
          ...(signal ? { signal } : {}),
        },
        (response) => {
          clearTimeout(limit)
          const refusal = versionRefusal(response, this.#path, anyVersion)
          if (refusal) {
            response.destroy()
            reject(refusal)
          } else resolve(response)
        },
      )
      // What is ordered may take its time: a drain.
      const limit =
        method === 'GET'
          ? setTimeout(() => asked.destroy(silent(this.#path, this.#answersWithinMs)), this.#answersWithinMs)
          : undefined
      asked.once('error', (failure) => {
        clearTimeout(limit)
        reject(signal?.aborted ? signal.reason : unreachable(this.#path, failure))
      })
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  }

  /** Opens a connection both ways, by CONNECT; `take` is given it at once, with what came in together with the answer. */
  async connect<T>(path: string, take: (socket: Duplex, head: Buffer) => T): Promise<T> {
    await refuseForeignSocket(this.#path)
    return new Promise((resolve, reject) => {
      const asked = httpRequest({
        socketPath: this.#path,
        method: 'CONNECT',
        path,
        headers: { Host: 'dproxy' },
        agent: false,
        timeout: this.#answersWithinMs,
      })
      asked.once('timeout', () => asked.destroy(silent(this.#path, this.#answersWithinMs)))
      asked.once('error', (failure) => reject(unreachable(this.#path, failure)))
      asked.once('connect', (response, socket, head) => {
        socket.setTimeout(0)
        const refusal = versionRefusal(response, this.#path, false)
        if (!refusal) return resolve(take(socket, head))
        socket.destroy()
        return reject(refusal)
      })
      asked.end()
    })
  }
}
