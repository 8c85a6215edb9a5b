import type { Duplex } from 'node:stream'
import { unless } from '../base/timeout.js'

/**
 * Opens one stream to the remote Docker engine. The proxy neither knows nor cares how.
 * The stream keeps Node's contract: half-close each way, every write calls back, an error when it is cut.
 */
export type Dial = (signal: AbortSignal) => Promise<Duplex>

/** What `dial` opens, unless `signal` aborts first; what it opens after that is closed. */
export const dialUnless = async (signal: AbortSignal, dial: Dial): Promise<Duplex> => {
  const dialled = dial(signal)
  try {
    return await unless([signal], dialled)
  } catch (failure) {
    void dialled.then((late) => late.on('error', ignore).destroy(), ignore)
    throw failure
  }
}

const ignore = (): void => undefined
