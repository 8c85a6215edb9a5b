import type { IdleCuts } from '../idle/cuts.js'
import type { IdleWatch } from '../idle/watch.js'
import type { Carrier } from './carrier.js'
import { Channel, type ChannelHost } from './channel.js'
import { MESSAGE, type Body, type Field } from './messages.js'
import { Windows } from './windows.js'

export const SESSION = 'session'

// The packet size that every implementation takes (RFC 4253 section 6.1).
const MAX_PACKET = 32 * 1024

/** The server did not open a channel: with the reason of RFC 4254 section 5.1, and its own words. */
export class OpenRefused extends Error {
  readonly reason: number

  constructor(reason: number, said: string) {
    super(said)
    this.reason = reason
  }
}

interface Opening {
  readonly type: string
  readonly window: number
  readonly watch: IdleWatch | undefined
  readonly signal: AbortSignal
  readonly resolve: (channel: Channel) => void
  readonly reject: (failure: unknown) => void
}

/** The channels of one SSH connection whose packets somebody else carries (RFC 4254 section 5). */
export class Channels implements ChannelHost {
  readonly #carrier: Carrier
  readonly #opening = new Map<number, Opening>()
  /** Those whose number is taken, streams that are over but not closed by the server included. */
  readonly #taken = new Map<number, Channel>()
  readonly #live = new Set<Channel>()
  readonly #windows = new Windows()
  readonly #onHeard: () => void
  readonly #idle: IdleCuts
  #lastId = 0
  #refused = 0
  #heard = 0
  #failure: Error | undefined

  /** `onHeard`: a message from the server came in; `onEnd`: no more will. */
  constructor(
    carrier: Carrier,
    idle: IdleCuts,
    onHeard: () => void,
    onEnd: (why: Error | undefined) => void,
  ) {
    this.#carrier = carrier
    this.#idle = idle
    this.#onHeard = onHeard
    carrier.listen((type, body) => this.#onMessage(type, body), onEnd)
  }

  get openStreams(): number {
    return [...this.#live].filter((channel) => channel.type !== SESSION && channel !== this.#idle.canary)
      .length
  }

  /** How many channels the server has refused to open. */
  get refused(): number {
    return this.#refused
  }

  /**
   * Opens a channel. One that is opened after `signal` has aborted is closed again.
   * @throws OpenRefused, or why the connection ended
   */
  open(type: string, signal: AbortSignal, ...fields: Field[]): Promise<Channel> {
    return this.#open(type, undefined, signal, fields)
  }

  /** Opens a stream to the Unix socket `path` there; see {@link Channels.open}. `watch`: who watches it instead. */
  openStreamLocal(path: string, signal: AbortSignal, watch?: IdleWatch): Promise<Channel> {
    // openssh-portable, PROTOCOL section 2.4: the path, and two fields that are reserved.
    return this.#open('direct-streamlocal@openssh.com', watch, signal, [path, '', 0])
  }

  #open(
    type: string,
    watch: IdleWatch | undefined,
    signal: AbortSignal,
    fields: readonly Field[],
  ): Promise<Channel> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      const id = this.#freeId()
      const window = this.#windows.take()
      this.#opening.set(id, { type, window, watch, signal, resolve, reject })
      return this.send(MESSAGE.open, [type, id, window, MAX_PACKET, ...fields])
    })
  }

  /** Asks the server for a sign of life; resolves when it has given one. */
  async ping(signal: AbortSignal): Promise<void> {
    // A stream that ends here takes its answer with it.
    for (const before = this.#heard; before === this.#heard && !signal.aborted;) {
      const any = [...this.#live].find(({ isOpen }) => isOpen)
      // No request that anybody knows: to refuse it is to answer (RFC 4254 section 5.4).
      if (any) await any.request('keepalive@openssh.com')
      // A session in which nothing is started, closed at once.
      else await this.open(SESSION, signal).then((channel) => channel.destroy(), ignoreRefusal)
    }
  }

  send(type: number, fields: readonly Field[]): void {
    this.#carrier.send(type, fields)
  }

  get hasRoom(): boolean {
    return this.#carrier.hasRoom
  }

  onRoom(then: () => void): void {
    this.#carrier.onRoom(then)
  }

  ended(channel: Channel): void {
    if (this.#live.delete(channel)) this.#windows.giveBack(channel.window)
  }

  closed(channel: Channel): void {
    this.#taken.delete(channel.id)
  }

  /** Nothing can come any more: every stream fails with `failure`. */
  fail(failure: Error): void {
    this.#failure = failure
    this.#carrier.close()
    for (const channel of this.#live) channel.destroy(failure)
    for (const { reject } of this.#opening.values()) reject(failure)
    this.#opening.clear()
    this.#taken.clear()
  }

  #freeId(): number {
    do this.#lastId = (this.#lastId + 1) % 2 ** 31
    while (this.#taken.has(this.#lastId) || this.#opening.has(this.#lastId))
    return this.#lastId
  }

  #onMessage(type: number, body: Body): void {
    this.#heard += 1
    this.#onHeard()
    const id = body.uint32()
    if (type === MESSAGE.opened) return this.#onOpened(id, body)
    if (type === MESSAGE.openFailed) return this.#onRefused(id, body)
    const channel = this.#taken.get(id)
    if (!channel) return undefined
    switch (type) {
      case MESSAGE.data:
        return channel.onData(body.string())
      case MESSAGE.extendedData:
        body.uint32()
        return channel.onAside(body.string())
      case MESSAGE.windowAdjust:
        return channel.onRoom(body.uint32())
      case MESSAGE.eof:
        return channel.onEnd()
      case MESSAGE.close:
        return channel.onClosed()
      case MESSAGE.request:
        return channel.onRequest(body.name(), body)
      case MESSAGE.success:
      case MESSAGE.failure:
        return channel.onReply(type === MESSAGE.success)
      default:
        return undefined
    }
  }

  #onOpened(id: number, body: Body): void {
    const opening = this.#opening.get(id)
    if (!opening) return
    this.#opening.delete(id)
    const { type, window, signal, resolve, watch = this.#idle.watch(type) } = opening
    const [remoteId, remoteWindow, remoteMaxPacket] = [body.uint32(), body.uint32(), body.uint32()]
    const opened = { type, id, remoteId, window, remoteWindow, remoteMaxPacket }
    const channel = new Channel(this, opened, watch)
    // Whoever gets the stream listens for itself; until then an 'error' event would end the process.
    channel.on('error', () => undefined)
    this.#taken.set(id, channel)
    this.#live.add(channel)
    // Whoever asked may have left meanwhile.
    if (signal.aborted) channel.destroy()
    resolve(channel)
  }

  #onRefused(id: number, body: Body): void {
    const opening = this.#opening.get(id)
    if (!opening) return
    this.#opening.delete(id)
    this.#windows.giveBack(opening.window)
    this.#refused += 1
    const reason = body.uint32()
    opening.reject(new OpenRefused(reason, body.name()))
  }
}

const ignoreRefusal = (failure: unknown): void => {
  if (!(failure instanceof OpenRefused)) throw failure
}
