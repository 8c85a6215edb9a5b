import type { AnyAuthMethod } from 'ssh2'
import type { LoginMethod } from '../target.js'

/** One method of logging in, tried step by step. */
export interface Way {
  readonly method: LoginMethod
  /** What to put before the server next; undefined: nothing, or nothing more. */
  next(): Promise<AnyAuthMethod | undefined>
  /**
   * Hears that the server did not let us in by what `next` gave.
   * @param more true when that was right and it wants more (RFC 4252 section 5.1, partial success)
   */
  notYetIn(more: boolean): void
}
