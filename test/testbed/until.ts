import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Asks `probe` until it gives something (not undefined, not false), at most `ms` long, and returns that.
 * What the last probe threw is the cause of the error when time runs out.
 */
export const until = async <T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  ms = 10_000,
): Promise<T> => {
  const deadline = Date.now() + ms
  for (let cause: unknown; ; await sleep(20)) {
    try {
      const found = await probe()
      if (found !== undefined && found !== false) return found
    } catch (failure) {
      cause = failure
    }
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`, { cause })
  }
}
