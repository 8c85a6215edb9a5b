import type { Duplex } from 'node:stream'

/**
 * Opens one stream to the remote Docker engine. The proxy neither knows nor cares how.
 * The stream keeps Node's contract: half-close each way, every write calls back, an error when it is cut.
 */
export type Dial = (signal: AbortSignal) => Promise<Duplex>
