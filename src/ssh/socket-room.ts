import type { Duplex } from 'node:stream'

// ssh2 ignores that the TCP socket is full and queues up to 2 MiB a stream in memory, in front of every other
// stream of the host. Above this many queued bytes, writers wait for the socket.
const QUEUE_BYTES = 128 * 1024

/** Makes the streams of one connection wait while its socket is full. */
export class SocketRoom {
  readonly #socket: Duplex
  #waiting: (() => void)[] = []

  constructor(socket: Duplex) {
    this.#socket = socket
    socket.on('drain', () => {
      const waiting = this.#waiting
      this.forget()
      for (const then of waiting) then()
    })
  }

  /** Calls back once the socket has room again; at once when it has. */
  whenRoom(then: () => void): void {
    if (this.#socket.writableLength <= QUEUE_BYTES) then()
    else this.#waiting.push(then)
  }

  /** Nobody who waits is called any more. */
  forget(): void {
    this.#waiting = []
  }
}
