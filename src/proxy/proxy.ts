import { setMaxListeners } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { asDproxyError, DproxyError } from '../base/errors.js'
import { LONGEST_TIMER_MS } from '../base/timeout.js'
import { acceptWaiting } from '../base/unix-socket/accept-waiting.js'
import { listenUnix, type BoundPath, type ListenOptions } from '../base/unix-socket.js'
import { descriptorsOfThisProcess, type Descriptors } from './descriptors.js'
import { dialUnless } from './dial.js'
import { HALF_OPEN_LIMITS } from './half-open.js'
import type { ProxyOptions } from './options.js'
import { refuse } from './refuse.js'
import { Streams, type StreamView, type Totals } from './streams.js'
import { TurnedAway } from './turned-away.js'

/**
 * A host's listener and its streams. Each accepted client gets a stream of its own from `dial`; what happens
 * to one stream never touches another. Knows no SSH and looks into no bytes.
 */
export class Proxy {
  readonly #options: ProxyOptions
  readonly #server: Server
  readonly #stop = new AbortController()
  readonly #streams: Streams
  /** Accepted clients of any kind, those being dialled for or refused included, and until when each is served. */
  readonly #clients = new Map<Socket, Promise<void>>()
  readonly #descriptors: Descriptors
  readonly #turnedAway = new TurnedAway()
  #bound: BoundPath | undefined
  #unreserve: (() => void) | undefined
  #accepted = 0

  private constructor(options: ProxyOptions) {
    this.#options = options
    this.#streams = new Streams(options.onChange)
    this.#descriptors = options.descriptors ?? descriptorsOfThisProcess()
    setMaxListeners(0, this.#stop.signal) // one for each client being dialled for
    // Half-open: a client that has finished sending still waits for its answer. Paused: nothing is read from a
    // client before there is somewhere to send it to.
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) =>
      this.#accept(client),
    )
  }

  /** A proxy that does not listen yet. */
  static create(options: ProxyOptions): Proxy {
    return new Proxy(options)
  }

  /**
   * A proxy that listens.
   * @throws DproxyError SOCKET_PATH_TOO_LONG, SOCKET_BUSY or SOCKET_FAILED
   */
  static async listen(options: ProxyOptions): Promise<Proxy> {
    const proxy = new Proxy(options)
    await proxy.listen()
    return proxy
  }

  /**
   * Starts to listen, once. `takeOver` takes the place of another process of ours that still serves the path.
   * @throws DproxyError SOCKET_PATH_TOO_LONG, SOCKET_BUSY or SOCKET_FAILED
   */
  async listen(how: Pick<ListenOptions, 'takeOver'> = {}): Promise<void> {
    const { path, onFailed, onSocket } = this.#options
    this.#bound = await listenUnix(this.#server, path, { ...how, ...(onSocket && { onChange: onSocket }) })
    this.#unreserve = this.#descriptors.reserve()
    // What can fail now is accepting (no memory left): that client is lost, the listener goes on. That the
    // socket cannot be made again is told apart.
    this.#server.on('error', (failure) => {
      if (this.#server.listening) onFailed('-', asDproxyError(failure))
    })
  }

  /** Why no client gets in at the socket now: somebody deleted it, and it could not be made again. */
  get lost(): DproxyError | undefined {
    return this.#bound?.lost
  }

  /** Clients that were turned away since the start, because there was no file descriptor to spare. */
  get turnedAway(): number {
    return this.#turnedAway.count
  }

  get openStreams(): number {
    return this.#streams.open
  }

  /** Streams opened since the start. */
  get totalStreams(): number {
    return this.#streams.total
  }

  /** Bytes carried since the start, those of streams still open included. */
  get bytes(): Totals {
    return this.#streams.bytes
  }

  streams(): Iterable<StreamView> {
    return this.#streams.views()
  }

  has(id: string): boolean {
    return this.#streams.has(id)
  }

  /** Cuts one stream; false when there is none of that id. */
  cut(id: string): boolean {
    return this.#streams.cut(id)
  }

  /**
   * Stops listening, for good: removes the socket unless another stands in its place, and accepts everybody who
   * had connected to ours by then. Open streams go on; `close` ends them.
   * @throws a system error when the socket could not be removed; everything else is done by then
   */
  async retire(): Promise<void> {
    try {
      await this.#bound?.release()
    } finally {
      await acceptWaiting(this.#server)
      this.#server.close()
      this.#unreserve?.()
      this.#unreserve = undefined
    }
  }

  /**
   * Stops: removes the socket, lets open streams end by themselves for `drainMs`, then cuts them.
   * `hurry` cuts at once. Resolves with how many were cut, when no client is left.
   * @throws a system error when the socket could not be removed; everything else is done by then
   */
  async close(drainMs: number, hurry: AbortSignal): Promise<number> {
    const failure = await this.retire().catch((thrown: unknown) => thrown)
    if (this.#clients.size > 0 && drainMs > 0 && !hurry.aborted) await this.#drained(drainMs, hurry)
    this.#stop.abort()
    const cut = this.#streams.cutAll()
    for (const client of this.#clients.keys()) client.destroy()
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
    // It may reset before anybody else listens: while it is being dialled for, or once it is refused.
    client.on('error', ignore)
    const admission = this.#descriptors.admit(client)
    const work = admission === 'served' ? this.#serve(id, client) : this.#turnAway(id, client, admission)
    const served = work.catch((failure: unknown) => {
      client.destroy()
      this.#options.onFailed(id, asDproxyError(failure))
    })
    this.#clients.set(client, served)
    void served.finally(() => this.#clients.delete(client))
  }

  #turnAway(id: string, client: Socket, how: 'answered' | 'closed'): Promise<void> {
    const { explain, onFailed, onChange } = this.#options
    const error = this.#descriptors.tooMany()
    const turned = this.#turnedAway.turn(client, how, explain(error), () => onFailed(id, error))
    onChange()
    return turned
  }

  async #serve(id: string, client: Socket): Promise<void> {
    const { dial, explain, onFailed, halfOpen = HALF_OPEN_LIMITS } = this.#options
    let engine
    try {
      engine = await dialUnless(this.#stop.signal, dial)
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
    const failure = await this.#streams.carry(id, client, engine, halfOpen)
    if (failure && !this.#stop.signal.aborted) onFailed(id, asDproxyError(failure))
    return undefined
  }
}

const ignore = (): void => undefined
