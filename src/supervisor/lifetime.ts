import { deferred } from '../base/deferred.js'
import { DproxyError } from '../base/errors.js'

/** What has become of a supervisor: each of it happens once, and is not taken back. */
export class Lifetime {
  readonly #emptied = new AbortController()
  readonly #retired = new AbortController()
  readonly #left = deferred<void>()
  #isStopping = false
  #serves: boolean
  #holdsPlace: boolean

  /** `serves`: there is no other supervisor whose place is to be taken first. */
  constructor(serves: boolean) {
    this.#serves = serves
    this.#holdsPlace = serves
  }

  /** Whether the hosts' sockets are ours, or just being taken. */
  get serves(): boolean {
    return this.#serves
  }

  /** Whether we are the one supervisor of our run directory. */
  get holdsPlace(): boolean {
    return this.#holdsPlace && !this.isRetired
  }

  /** Whether no more hosts are started. */
  get isStopping(): boolean {
    return this.#isStopping
  }

  get isRetired(): boolean {
    return this.#retired.signal.aborted
  }

  /** Aborts when another supervisor has taken our place; streams may still go on. */
  get retired(): AbortSignal {
    return this.#retired.signal
  }

  /** Aborts when nothing is left to do. */
  get emptied(): AbortSignal {
    return this.#emptied.signal
  }

  /** Resolves when the control socket's path is free for another supervisor, or another one's. */
  get left(): Promise<void> {
    return this.#left.promise
  }

  serve(): void {
    this.#serves = true
  }

  holdPlace(): void {
    this.#holdsPlace = true
  }

  stop(): void {
    this.#isStopping = true
  }

  retire(): void {
    this.stop()
    this.#retired.abort()
    // Whoever is refused finds our successor.
    this.leave()
  }

  leave(): void {
    this.#left.resolve()
  }

  /** Nothing is left to do. */
  end(): void {
    this.#emptied.abort()
  }

  /** From here on a request to start a host is refused, and its sender starts a new supervisor. */
  endUnlessStopping(): void {
    if (this.isStopping) return
    this.stop()
    this.end()
  }

  /** @throws DproxyError SUPERVISOR_DOWN */
  refuseWhenStopping(): void {
    if (!this.isStopping) return
    throw new DproxyError('SUPERVISOR_DOWN', 'the supervisor is stopping', { hint: 'try again in a moment' })
  }
}
