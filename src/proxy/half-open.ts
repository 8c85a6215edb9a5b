import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { DproxyError } from '../base/errors.js'
import { formatDuration } from '../base/duration.js'

/** How long a stream may stay that has ended in one direction only. */
export interface HalfOpenLimits {
  /** How often such a stream is looked at, milliseconds. */
  readonly lookEveryMs: number
  /** How long a client may be silent whose engine has ended, milliseconds. */
  readonly silenceMs: number
}

export const HALF_OPEN_LIMITS: HalfOpenLimits = { lookEveryMs: 3000, silenceMs: 5 * 60_000 }

const NOTHING = Buffer.alloc(0)

/**
 * Looks after a stream that has ended in one direction, until the returned function is called.
 * - The client has finished sending: its end has been read, so nothing tells any more when it dies, but a write.
 *   A write of no bytes is seen by nobody, and fails when the client is gone (Linux: unix_stream_sendmsg asks for
 *   that first). Only after all it sent has reached the engine: it may have left without waiting for the answer.
 * - The engine has finished, and all it sent has been handed to the client: one that neither closes nor sends is
 *   reaped after a bounded silence; one that is held back by the engine is not silent.
 */
export const watchHalfOpen = (
  client: Socket,
  engine: Duplex,
  { lookEveryMs, silenceMs }: HalfOpenLimits,
  reap: (why: DproxyError) => void,
): (() => void) => {
  let received = client.bytesRead
  let sinceMs = performance.now()
  const look = () => {
    if (client.readableEnded && engine.writableFinished && client.writable && client.writableLength === 0) {
      if (process.platform === 'linux') client.write(NOTHING)
    }
    const busy = client.bytesRead !== received || engine.writableNeedDrain || !client.writableFinished
    if (busy || client.readableEnded) {
      received = client.bytesRead
      sinceMs = performance.now()
    } else if (performance.now() - sinceMs >= silenceMs) reap(silent(silenceMs))
  }
  let timer: NodeJS.Timeout | undefined
  const begin = () => (timer ??= setInterval(look, lookEveryMs).unref())
  client.once('end', begin)
  engine.once('end', begin)
  return () => clearInterval(timer)
}

const silent = (ms: number): DproxyError =>
  new DproxyError(
    'STOPPED',
    `the engine had finished, and its client neither sent nor closed for ${formatDuration(ms)}`,
  )
