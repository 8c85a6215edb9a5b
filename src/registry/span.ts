import { parseDuration } from '../base/duration.js'
import { bad, good, type Parsed } from './parsed.js'

const LONGEST_MS = 86_400_000

/** A duration of the config, `10s` or `1.5m`, in milliseconds: from 1 ms to 24 hours. */
export const parseSpan = (text: string): Parsed<number> => {
  const ms = parseDuration(text)
  if (ms === undefined) return bad('must be a duration with its unit, such as 500ms, 10s or 2m')
  return ms >= 1 && ms <= LONGEST_MS ? good(ms) : bad('must be a duration from 1ms to 24h')
}

/** As {@link parseSpan}; a number without a unit counts seconds. */
export const parseSeconds = (text: string): Parsed<number> =>
  parseSpan(/^\d+(\.\d+)?$/u.test(text) ? `${text}s` : text)
