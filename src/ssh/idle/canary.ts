import type { Duplex } from 'node:stream'
import { between, IdleWatch, QUIET_MS, type End } from './watch.js'

export interface CanaryOptions {
  /** Opens a stream that `watch` hears all of. */
  readonly open: (watch: IdleWatch) => Promise<Duplex>
  /** As {@link Judge.answered}. */
  readonly answered: () => Promise<unknown>
}

interface Present {
  readonly watch: IdleWatch
  /** Once it is open. */
  stream: Duplex | undefined
}

// The engine drops a client that never asks anything (dockerd after 5 min), but not one that may ask again.
const HELLO = 'HEAD /_ping HTTP/1.1\r\nHost: docker\r\nUser-Agent: dproxy\r\n\r\n'

// How long not to try again what did not open, so that a hundred clients of a stopped engine do not ask twice each.
const PAUSE_MS = 1000

// By how much the silences may differ after which two streams are cut: the server counts whole seconds.
const GRAIN_MS = 1500

// How far apart the news of them may be when both were cut at once.
const AT_ONCE_MS = 500

/**
 * A stream to the engine that is left idle on purpose, from before the first client's. A server that cuts idle
 * streams cuts it first, and by a CLOSE that cannot be the engine's doing, as our own end was never sent in it.
 * What happened to a client's stream whose end was sent (`docker exec` sends its end at once) shows in it alone.
 * (It also keeps the connection from being one that the server takes for unused: UnusedConnectionTimeout.)
 */
export class Canary {
  readonly #options: CanaryOptions
  #present: Present | undefined
  /** The shortest silence that the server is known to have cut. */
  #cutAfterMs = Number.POSITIVE_INFINITY
  #cutAtMs = Number.NEGATIVE_INFINITY
  #failedAtMs = Number.NEGATIVE_INFINITY

  constructor(options: CanaryOptions) {
    this.#options = options
  }

  get stream(): Duplex | undefined {
    return this.#present?.stream
  }

  /** Puts one in place, if there is none. To be called before a client's stream is opened. */
  keep(): void {
    if (this.#present || performance.now() - this.#failedAtMs < PAUSE_MS) return
    const present: Present = { watch: new IdleWatch(), stream: undefined }
    this.#present = present
    const gone = () => {
      this.#look()
      if (this.#present === present) this.#present = undefined
    }
    this.#options.open(present.watch).then(
      (stream) => {
        present.stream = stream
        stream.once('close', gone).on('error', ignore).resume()
        const destroy = () => void stream.destroy()
        // The engine has ended it, unless the server's CLOSE is about to come.
        stream.once('end', () => void this.#options.answered().then(destroy, destroy))
        stream.write(HELLO)
        if (stream.destroyed) gone()
      },
      () => {
        this.#failedAtMs = performance.now()
        gone()
      },
    )
  }

  /** What it tells of the end of another stream. */
  tells(end: End): 'cut' | 'whole' | 'nothing' {
    this.#look()
    // ChannelTimeout global (OpenSSH 9.7): all streams are cut once nothing goes through any, however long it was idle.
    if (this.#cutAtMs > end.at.ms - AT_ONCE_MS) return 'cut'
    const watch = this.#present?.watch
    // It was idle for longer, and lives.
    if (watch && this.#present?.stream && watch.quietSince.ms <= end.quietSince.ms) return 'whole'
    if (between(end.quietSince, end.at) + GRAIN_MS >= this.#cutAfterMs) return 'cut'
    return 'nothing'
  }

  /** Notes that it was cut, as soon as the CLOSE is in. */
  #look(): void {
    const watch = this.#present?.watch
    if (!watch?.closedAt) return
    this.#present = undefined
    const afterMs = between(watch.quietSince, watch.closedAt)
    // An engine that is gone is a reason for a CLOSE too, when something was just asked of it.
    if (afterMs < QUIET_MS) return
    this.#cutAfterMs = Math.min(this.#cutAfterMs, afterMs)
    this.#cutAtMs = watch.closedAt.ms
  }
}

const ignore = (): void => undefined
