import { setTimeout as sleep } from 'node:timers/promises'
import type { KeepAlive, LinkLane } from './link-lane.js'

/**
 * Watches a lane until `signal` aborts, and closes it when it is dead. Any byte from the server is a sign of
 * life, so a slow line that is busy is never taken for a dead one; only silence is asked after, once an
 * interval.
 */
export const keepAlive = async (
  lane: LinkLane,
  { intervalMs, misses }: KeepAlive,
  signal: AbortSignal,
): Promise<void> => {
  let unanswered = 0
  while (!signal.aborted) {
    const rest = Math.max(intervalMs - lane.silentMs, 0)
    if (rest > 0) {
      unanswered = 0
      await sleep(rest, undefined, { signal }).catch(() => undefined)
    } else if (unanswered >= misses) {
      lane.close(`no sign of life for ${Math.round(lane.silentMs / 1000)} s`)
    } else {
      unanswered += 1
      // Late or not: whether anything was heard meanwhile is what the next round looks at.
      await lane.ping(intervalMs, signal).catch(() => undefined)
    }
  }
}
