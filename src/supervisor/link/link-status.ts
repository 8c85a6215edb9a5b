import type { DproxyError } from '../../base/errors.js'
import type { HostState } from '../../control/messages.js'

/** The states a link itself can be in; `draining` is its host's. */
export type LinkState = Exclude<HostState, 'draining'>

export interface LinkStatusOptions {
  /** Hears a new state before anybody else does. */
  readonly onEnter: (state: LinkState) => void
  /** Hears every change. */
  readonly onChange: () => void
}

/** Which state a link is in, since when, and what went wrong last. */
export class LinkStatus {
  readonly #options: LinkStatusOptions
  #state: LinkState = 'idle'
  #sinceMs = Date.now()
  #error: { readonly error: DproxyError; readonly atMs: number } | undefined

  constructor(options: LinkStatusOptions) {
    this.#options = options
  }

  get state(): LinkState {
    return this.#state
  }
  get sinceMs(): number {
    return this.#sinceMs
  }
  get lastError(): { readonly error: DproxyError; readonly atMs: number } | undefined {
    return this.#error
  }

  enter(state: LinkState): void {
    if (this.#state !== state) this.#sinceMs = Date.now()
    this.#state = state
    if (state === 'up') this.#error = undefined
    this.#options.onEnter(state)
    this.#options.onChange()
  }

  note(error: DproxyError): void {
    this.#error = { error, atMs: Date.now() }
    this.#options.onChange()
  }

  /** What failed before works again. */
  forgive(): void {
    if (!this.#error) return
    this.#error = undefined
    this.#options.onChange()
  }
}
