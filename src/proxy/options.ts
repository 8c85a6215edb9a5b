import type { DproxyError } from '../base/errors.js'
import type { Descriptors } from './descriptors.js'
import type { Dial } from './dial.js'
import type { HalfOpenLimits } from './half-open.js'

export interface ProxyOptions {
  /** The Unix socket to listen on. */
  readonly path: string
  readonly dial: Dial
  /** The sentence a client is given that cannot be served. */
  readonly explain: (error: DproxyError) => string
  /** Hears of streams that were cut or could not be opened; for the log. */
  readonly onFailed: (streamId: string, error: DproxyError) => void
  /** Hears that a stream has come or gone, or a client was turned away. */
  readonly onChange: () => void
  /** Hears that the socket was deleted: made again (undefined), or why it could not be. */
  readonly onSocket?: (lost: DproxyError | undefined) => void
  /** Whose descriptors the clients take; those of this process unless told. */
  readonly descriptors?: Descriptors
  readonly halfOpen?: HalfOpenLimits
}
