import { Duplex } from 'node:stream'
import type { ClientChannel } from 'ssh2'
import { hearArrivals } from './arrivals.js'
import type { IdleWatch } from './idle/watch.js'

/** What a stream needs of the lane it lives in. */
export interface ChannelHost {
  /** Calls back once the SSH socket has room again; at once when it has. */
  whenRoom(then: () => void): void
  /** The stream is over and need not be told of a lost link any more. */
  forget(stream: ChannelStream): void
}

type Callback = (failure?: Error | null) => void

/**
 * An ssh2 channel that keeps Node's stream contract, which the bare one breaks in four ways (lib/Channel.js):
 * a write to a channel that is not open never calls back; `destroy` takes no error and does not destroy;
 * a lost connection ends the channel as cleanly as an end-of-file would; and writes never wait for the TCP
 * socket. Here every write calls back, `destroy(error)` means it, the lane destroys its streams with the
 * reason before ssh2 fakes their end, and writing waits while the SSH socket is full.
 *
 * Half-close works both ways. Once the remote side has closed the channel altogether, what is still written
 * is dropped, as a socket whose peer has left would drop it; what was received is delivered first.
 * ssh2 ends its channel at that moment, but says 'close' only when all that was received has been read.
 *
 * An end that the server made, and not the engine, is an error (see {@link IdleWatch}).
 */
export class ChannelStream extends Duplex {
  readonly #channel: ClientChannel
  readonly #host: ChannelHost
  readonly #watch: IdleWatch
  /** The write or final that ssh2 may never answer. */
  #unanswered: Callback | undefined
  #remoteClosed = false
  #endHeard = false
  /** Of the two that the end waits for: that all was read, and that it is one. */
  #endWaitsFor = 2

  constructor(channel: ClientChannel, host: ChannelHost, watch: IdleWatch) {
    // How a command ended is told after its output and its input have: only the server closes its channel then.
    const autoDestroy = channel.type !== 'session'
    super({ readableHighWaterMark: 64 * 1024, writableHighWaterMark: 64 * 1024, autoDestroy })
    this.#channel = channel
    this.#host = host
    this.#watch = watch
    hearArrivals(channel, {
      data: () => watch.received(),
      end: () => this.#onEndArrived(),
      close: () => watch.closed(),
    })
    // Paused first: a 'data' listener would otherwise start the flow before anybody reads.
    channel.pause()
    channel.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) channel.pause()
    })
    channel.once('end', () => {
      // Of a command it may have come before we could listen for it.
      this.#onEndArrived()
      this.#mayEnd()
    })
    channel.once('close', () => this.#onRemoteClosed())
    channel.on('error', (failure: Error) => this.destroy(failure))
  }

  override _read(): void {
    this.#channel.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    // Ended, and not by us: the remote side has closed, and a write would count as one after the end.
    if (this.#remoteClosed || this.#channel.writableEnded) return done()
    this.#unanswered = done
    this.#watch.sent()
    this.#attempt(() =>
      this.#channel.write(chunk, () => {
        this.#watch.sent()
        this.#host.whenRoom(() => this.#answer())
      }),
    )
  }

  override _final(done: Callback): void {
    if (this.#remoteClosed) return done()
    this.#unanswered = done
    this.#watch.endSent()
    this.#attempt(() => this.#channel.end(() => this.#answer()))
  }

  override _destroy(failure: Error | null, done: Callback): void {
    this.#channel.removeAllListeners('data')
    this.#host.forget(this)
    // Sends CLOSE, which frees the channel on both sides; on a dead connection it does nothing.
    this.#attempt(() => this.#channel.destroy())
    this.#answer(failure ?? new Error('the stream was closed'))
    done(failure)
  }

  /** ssh2 throws out of whatever touches a connection that it has cleaned up. */
  #attempt(touch: () => unknown): void {
    try {
      touch()
    } catch (failure) {
      this.destroy(failure instanceof Error ? failure : new Error(String(failure)))
    }
  }

  #onEndArrived(): void {
    if (this.#endHeard) return
    this.#endHeard = true
    this.#watch.ended((cut) => (cut ? this.destroy(cut) : this.#mayEnd()))
  }

  #mayEnd(): void {
    this.#endWaitsFor -= 1
    if (this.#endWaitsFor === 0) this.push(null)
  }

  #onRemoteClosed(): void {
    this.#remoteClosed = true
    this.#answer()
    // What the channel delivered may still wait here for a slow reader.
    if (this.readableEnded) this.destroy()
    else this.once('end', () => this.destroy())
  }

  #answer(failure?: Error): void {
    const done = this.#unanswered
    this.#unanswered = undefined
    done?.(failure)
  }
}
