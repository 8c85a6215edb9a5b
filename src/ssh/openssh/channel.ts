import { Duplex } from 'node:stream'
import { deferred } from '../../base/deferred.js'
import type { IdleWatch } from '../idle/watch.js'
import { MESSAGE, type Body, type Field } from './messages.js'
import { Pace } from './pace.js'

/** What a channel needs of the connection it lives in. */
export interface ChannelHost {
  send(type: number, fields: readonly Field[]): void
  readonly hasRoom: boolean
  /** Calls back the next time there is room. */
  onRoom(then: () => void): void
  /** The stream is over; its number is not free yet. */
  ended(channel: Channel): void
  /** Both sides have closed it: nothing will come for it any more. */
  closed(channel: Channel): void
}

/** What both sides said when the channel was opened (RFC 4254 section 5.1). */
export interface Opened {
  readonly type: string
  readonly id: number
  readonly remoteId: number
  /** Bytes that the server may send before we ask for more. */
  readonly window: number
  readonly remoteWindow: number
  readonly remoteMaxPacket: number
}

type Callback = (failure?: Error | null) => void

// How long to wait for the server to acknowledge anything before more is sent anyway.
const UNANSWERED_MS = 1000

/**
 * One SSH channel (RFC 4254 section 5) as a stream that keeps Node's contract. Its end is always the server's
 * word: it ends cleanly when the server said so, and only then; and not when the server did so of its own accord
 * (see {@link IdleWatch}). Once the server has closed the channel, what is
 * still written is dropped, as a socket whose peer has left would drop it; what was received is delivered.
 */
export class Channel extends Duplex {
  readonly type: string
  readonly id: number
  readonly window: number
  readonly #host: ChannelHost
  readonly #watch: IdleWatch
  readonly #remoteId: number
  readonly #maxPacket: number
  readonly #pace: Pace
  /** Bytes that the server can take. */
  #room: number
  /** Bytes that the server may still send. */
  #owed: number
  /** Bytes received that it was not told of yet. */
  #untold = 0
  #isRead = false
  #isHeld = false
  #ended = false
  #closeSent = false
  #closeReceived = false
  #rest: Buffer | undefined
  #unanswered: Callback | undefined
  #replies: ((accepted: boolean) => void)[] = []
  #patience: NodeJS.Timeout | undefined
  readonly #exit = deferred<number | string | null>()
  /** Hears what a command says on its error output. */
  onComplaint: ((bytes: Buffer) => void) | undefined

  constructor(host: ChannelHost, opened: Opened, watch: IdleWatch) {
    const { type, id, remoteId, window, remoteWindow, remoteMaxPacket } = opened
    // How a command ended is told after its output and its input have: only the server closes its channel then.
    const autoDestroy = type !== 'session'
    super({ readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024, autoDestroy })
    this.#host = host
    this.#watch = watch
    this.type = type
    this.id = id
    this.window = window
    this.#owed = window
    this.#remoteId = remoteId
    this.#room = remoteWindow
    this.#maxPacket = remoteMaxPacket
    this.#pace = new Pace(window, performance.now())
  }

  /** Whether the server still answers requests in it. */
  get isOpen(): boolean {
    return !this.#closeSent && !this.#closeReceived
  }

  /** How its command ended: an exit code, a signal's name, or null when the channel closed without a word. */
  get exit(): Promise<number | string | null> {
    return this.#exit.promise
  }

  /** Makes a request of the server; resolves with whether it was granted, false when the channel ends first. */
  request(name: string, ...fields: Field[]): Promise<boolean> {
    if (!this.isOpen) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#replies.push(resolve)
      this.#send(MESSAGE.request, name, true, ...fields)
    })
  }

  override _read(): void {
    this.#isRead = true
    this.#tell()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    // Later: who writes for as long as there is room would otherwise never stop.
    if (this.#closeSent) return process.nextTick(done)
    this.#rest = chunk
    this.#unanswered = done
    this.#pump()
  }

  override _final(done: Callback): void {
    if (!this.#closeReceived) {
      this.#watch.endSent()
      this.#send(MESSAGE.eof)
    }
    done()
  }

  override _destroy(failure: Error | null, done: Callback): void {
    this.#close()
    this.#host.ended(this)
    this.#giveUp(failure ?? new Error('the stream was closed'))
    done(failure)
  }

  onData(bytes: Buffer): void {
    if (this.destroyed || this.#ended) return
    this.#watch.received()
    this.#owed -= bytes.length
    this.#untold += bytes.length
    if (this.#owed < 0) return void this.destroy(new Error('the server sent more than it was allowed to'))
    // A copy: the few bytes of one stream would otherwise keep alive all that arrived with them for others.
    const own = Buffer.allocUnsafeSlow(bytes.length)
    bytes.copy(own)
    this.#isRead = this.push(own)
    this.#tell()
  }

  /** What the server sent beside the stream: a command's complaints. */
  onAside(bytes: Buffer): void {
    this.#owed -= bytes.length
    this.#untold += bytes.length
    this.onComplaint?.(bytes)
    this.#tell()
  }

  onEnd(): void {
    if (this.destroyed || this.#ended) return
    this.#ended = true
    this.#watch.ended((cut) => (cut ? this.destroy(cut) : this.push(null)))
  }

  onRoom(bytes: number): void {
    this.#room += bytes
    this.#pace.acknowledged(bytes, performance.now())
    this.#pump()
  }

  onReply(accepted: boolean): void {
    this.#replies.shift()?.(accepted)
  }

  /** sshd asks for signs of life this way (ClientAliveInterval); that we know of nothing is one (section 5.4). */
  onRequest(name: string, body: Body): void {
    if (body.boolean() && !this.#closeSent) this.#send(MESSAGE.failure)
    // RFC 4254 section 6.10.
    if (name === 'exit-status') this.#exit.resolve(body.uint32())
    if (name === 'exit-signal') this.#exit.resolve(`SIG${body.name()}`)
  }

  onClosed(): void {
    this.#closeReceived = true
    this.#watch.closed()
    this.#close()
    this.#host.closed(this)
    if (this.destroyed) return
    // What is still written is dropped from here on.
    this.#giveUp()
    this.onEnd()
    if (this.readableEnded) this.destroy()
    else this.once('end', () => this.destroy())
  }

  #send(type: number, ...fields: Field[]): void {
    this.#host.send(type, [this.#remoteId, ...fields])
  }

  #close(): void {
    if (this.#closeSent) return
    this.#closeSent = true
    this.#send(MESSAGE.close)
  }

  /** Asks for more, once enough was read that it is worth a message. */
  #tell(): void {
    if (!this.#isRead || this.#closeSent || this.#ended || this.#untold < this.window / 2) return
    this.#owed += this.#untold
    this.#send(MESSAGE.windowAdjust, this.#untold)
    this.#untold = 0
  }

  /** Sends of what is being written as much as the server, the pace and ssh can take now. */
  #pump(): void {
    while (this.#rest && !this.#isHeld) {
      if (this.#closeSent || this.#rest.length === 0) return this.#answer()
      const length = Math.min(this.#rest.length, this.#room, this.#pace.room, this.#maxPacket)
      if (length <= 0) return this.#waitForRoom()
      this.#send(MESSAGE.data, this.#rest.subarray(0, length))
      this.#watch.sent()
      this.#rest = this.#rest.subarray(length)
      this.#room -= length
      this.#pace.sent(length)
      if (!this.#host.hasRoom) this.#hold()
    }
  }

  #hold(): void {
    this.#isHeld = true
    this.#host.onRoom(() => {
      this.#isHeld = false
      this.#pump()
    })
  }

  #waitForRoom(): void {
    clearTimeout(this.#patience)
    if (this.#room <= 0) return
    this.#patience = setTimeout(() => {
      this.#pace.widen()
      this.#pump()
    }, UNANSWERED_MS).unref()
  }

  #giveUp(failure?: Error): void {
    clearTimeout(this.#patience)
    this.#exit.resolve(null)
    for (const reply of this.#replies.splice(0)) reply(false)
    this.#answer(failure)
  }

  #answer(failure?: Error): void {
    const done = this.#unanswered
    this.#unanswered = undefined
    this.#rest = undefined
    done?.(failure)
  }
}
