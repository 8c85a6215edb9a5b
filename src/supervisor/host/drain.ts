import { LONGEST_TIMER_MS } from '../../base/timeout.js'
import type { Proxy } from '../../proxy/proxy.js'
import type { Cuts } from './cuts.js'
import type { HostLog } from './host-log.js'

export interface DrainOptions {
  readonly proxy: Proxy
  readonly log: HostLog
  readonly cuts: Cuts
  readonly onChange: () => void
}

/** How a host takes its leave: it accepts no more clients, lets the streams it has end by themselves, and cuts the rest. */
export class Drain {
  readonly #options: DrainOptions
  readonly #hurry = new AbortController()
  #sinceMs: number | undefined

  constructor(options: DrainOptions) {
    this.#options = options
  }

  /** When it began; undefined: it has not. */
  get sinceMs(): number | undefined {
    return this.#sinceMs
  }

  get hasBegun(): boolean {
    return this.#sinceMs !== undefined
  }

  /** Lets it last for no more than `drainMs` from now; false when it has not begun. */
  hasten(drainMs: number): boolean {
    if (this.hasBegun) setTimeout(() => this.#hurry.abort(), drainMs).unref()
    return this.hasBegun
  }

  /** Lets streams end for `drainMs`, or until `hurry`. Resolves with how many were cut. */
  close(drainMs: number, hurry: AbortSignal): Promise<number> {
    this.#begin()
    return this.#options.proxy.close(drainMs, AbortSignal.any([hurry, this.#hurry.signal]))
  }

  /** Accepts the last client: another process serves the socket. Resolves with how many streams are open. */
  async retire(): Promise<number> {
    const { proxy } = this.#options
    this.#begin()
    await proxy.retire()
    return proxy.openStreams
  }

  /** As `close`, for what `retire` has left: whoever serves the socket now is told before streams are cut. */
  async finish(drainMs: number, hurry: AbortSignal): Promise<number> {
    const { proxy, cuts } = this.#options
    const over = new AbortController()
    const cut = () => {
      if (!over.signal.aborted && proxy.openStreams > 0) cuts.tell()
      over.abort()
    }
    const limit = setTimeout(cut, Math.min(drainMs, LONGEST_TIMER_MS))
    const sooner = AbortSignal.any([hurry, this.#hurry.signal])
    sooner.addEventListener('abort', cut, { once: true })
    if (sooner.aborted) cut()
    try {
      return await this.close(LONGEST_TIMER_MS, over.signal)
    } finally {
      clearTimeout(limit)
      sooner.removeEventListener('abort', cut)
    }
  }

  #begin(): void {
    if (this.hasBegun) return
    const { proxy, log, onChange } = this.#options
    this.#sinceMs = Date.now()
    onChange()
    log.draining(proxy.openStreams)
  }
}
