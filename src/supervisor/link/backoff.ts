// The first try after a loss is quick, because most losses are short; the cap keeps a host that is away for a
// weekend from being asked more than twice a minute.
const FIRST_MS = 500
const LONGEST_MS = 30_000

/**
 * How long to wait before try number `attempt` (from 1): doubling, capped, and drawn at random from the upper
 * half, so that hosts that went away together do not come back together.
 */
export const delayBefore = (attempt: number, random: () => number = Math.random): number => {
  const whole = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 16))
  return Math.round(whole / 2 + (whole / 2) * random())
}

/**
 * How long to wait at the least when the other side has asked for `retryAfterMs` of peace: a little more, drawn
 * at random, because many may have been asked for the same.
 */
export const leastDelay = (retryAfterMs: number, random: () => number = Math.random): number =>
  Math.round(retryAfterMs * (1 + random() / 4))
