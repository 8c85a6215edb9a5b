import { setMaxListeners } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { asDproxyError, DproxyError } from '../base/errors.js'
import { LONGEST_TIMER_MS } from '../base/timeout.js'
import { listenUnix, type BoundPath } from '../base/unix-socket.js'
import type { Dial } from './dial.js'
import { refuse } from './refuse.js'
import { relay } from './relay.js'

export interface Totals {
  /** Bytes from clients to the engine. */
  readonly up: number
  /** Bytes from the engine to clients. */
  readonly down: number
}

/** One client and its stream, as seen now. */
export interface StreamView {
  readonly id: string
  readonly sinceMs: number
  readonly bytes: Totals
}

export interface ProxyOptions {
  /** The Unix socket to listen on. */
  readonly path: string
  readonly dial: Dial
  /** The sentence a client is given that cannot be served. */
  readonly explain: (error: DproxyError) => string
  /** Hears of streams that were cut or could not be opened; for the log. */
  readonly onFailed: (streamId: string, error: DproxyError) => void
  /** Hears that a stream has come or gone. */
  readonly onChange: () => void
}

interface Stream {
  readonly sinceMs: number
  readonly client: Socket
  readonly engine: Duplex
}

/**
 * A host's listener and its streams. Each accepted client gets a stream of its own from `dial`; what happens
 * to one stream never touches another. Knows no SSH and looks into no bytes.
 */
export class Proxy {
  readonly #options: ProxyOptions
  readonly #server: Server
  readonly #stop = new AbortController()
  readonly #streams = new Map<string, Stream>()
  /** Accepted clients of any kind, those being dialled for or refused included, and until when each is served. */
  readonly #clients = new Map<Socket, Promise<void>>()
  #bound: BoundPath | undefined
  #accepted = 0
  #total = 0
  #ended: Totals = { up: 0, down: 0 }

  private constructor(options: ProxyOptions) {
    this.#options = options
    setMaxListeners(0, this.#stop.signal) // one for each client being dialled for
    // Half-open: a client that has finished sending still waits for its answer. Paused: nothing is read from a
    // client before there is somewhere to send it to.
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) =>
      this.#accept(client),
    )
  }

  /**
   * Starts to listen.
   * @throws DproxyError SOCKET_PATH_TOO_LONG, SOCKET_BUSY or SOCKET_FAILED
   */
  static async listen(options: ProxyOptions): Promise<Proxy> {
    const proxy = new Proxy(options)
    proxy.#bound = await listenUnix(proxy.#server, options.path)
    // After a successful listen, what can fail is accepting (no descriptor left): that client is lost, the
    // listener goes on.
    proxy.#server.on('error', (failure) => options.onFailed('-', asDproxyError(failure)))
    return proxy
  }

  get openStreams(): number {
    return this.#streams.size
  }

  /** Streams opened since the start. */
  get totalStreams(): number {
    return this.#total
  }

  /** Bytes carried since the start, those of streams still open included. */
  get bytes(): Totals {
    let { up, down } = this.#ended
    for (const { client } of this.#streams.values()) {
      up += client.bytesRead
      down += client.bytesWritten
    }
    return { up, down }
  }

  *streams(): Generator<StreamView> {
    for (const [id, { sinceMs, client }] of this.#streams) {
      yield { id, sinceMs, bytes: { up: client.bytesRead, down: client.bytesWritten } }
    }
  }

  has(id: string): boolean {
    return this.#streams.has(id)
  }

  /** Cuts one stream; false when there is none of that id. */
  cut(id: string): boolean {
    const stream = this.#streams.get(id)
    if (stream) destroyBoth(stream)
    return stream !== undefined
  }

  /**
   * Stops: removes the socket, lets open streams end by themselves for `drainMs`, then cuts them.
   * `hurry` cuts at once. Resolves with how many were cut, when no client is left.
   * @throws a system error when the socket could not be removed; everything else is done by then
   */
  async close(drainMs: number, hurry: AbortSignal): Promise<number> {
    const failure = await this.#bound?.release().catch((thrown: unknown) => thrown)
    this.#server.close()
    if (this.#clients.size > 0 && drainMs > 0 && !hurry.aborted) await this.#drained(drainMs, hurry)
    const cut = this.#streams.size
    this.#stop.abort()
    for (const client of this.#clients.keys()) client.destroy()
    for (const stream of this.#streams.values()) destroyBoth(stream)
    await Promise.all(this.#clients.values())
    if (failure) throw failure
    return cut
  }

  async #drained(drainMs: number, hurry: AbortSignal): Promise<void> {
    const limit = new AbortController()
    const signal = AbortSignal.any([limit.signal, hurry])
    const deadline = sleep(Math.min(drainMs, LONGEST_TIMER_MS), undefined, { signal }).catch(() => undefined)
    await Promise.race([Promise.all(this.#clients.values()), deadline])
    limit.abort()
  }

  #accept(client: Socket): void {
    this.#accepted += 1
    const id = String(this.#accepted)
    const served = this.#serve(id, client).catch((failure: unknown) => {
      client.destroy()
      this.#options.onFailed(id, asDproxyError(failure))
    })
    this.#clients.set(client, served)
    void served.finally(() => this.#clients.delete(client))
  }

  async #serve(id: string, client: Socket): Promise<void> {
    const { dial, explain, onFailed, onChange } = this.#options
    // A client may reset while it is being dialled for, and nobody else listens then.
    client.on('error', ignore)
    let engine
    try {
      engine = await dial(this.#stop.signal)
      // A stream that closed before we could listen would never say so again.
      if (engine.destroyed) throw engine.errored ?? new DproxyError('LINK_LOST', 'the stream was lost')
    } catch (failure) {
      if (this.#stop.signal.aborted) return void client.destroy()
      const error = asDproxyError(failure)
      onFailed(id, error)
      return refuse(client, explain(error))
    }
    if (client.destroyed || this.#stop.signal.aborted) {
      client.destroy()
      engine.destroy()
      return undefined
    }
    this.#total += 1
    this.#streams.set(id, { sinceMs: Date.now(), client, engine })
    onChange()
    const failure = await relay(client, engine)
    this.#streams.delete(id)
    this.#ended = { up: this.#ended.up + client.bytesRead, down: this.#ended.down + client.bytesWritten }
    onChange()
    if (failure && !this.#stop.signal.aborted) onFailed(id, asDproxyError(failure))
    return undefined
  }
}

const ignore = (): void => undefined

/** A client that has left already cannot take its engine's side with it. */
const destroyBoth = ({ client, engine }: Stream): void => {
  client.destroy()
  engine.destroy()
}
