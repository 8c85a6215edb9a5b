import { aborted, LONGEST_TIMER_MS } from '../base/timeout.js'

/** Whether a person is being asked right now. */
export interface PersonAsked {
  readonly asked: boolean
  /** Hears each change of `asked`. */
  onChange: (() => void) | undefined
}

/**
 * As `within` of src/base, but the clock stands still while a person is asked: what they take is no sign of a
 * server that hangs.
 */
export const withinItsOwnTime = async <T>(
  ms: number,
  person: PersonAsked,
  outer: AbortSignal,
  late: () => Error,
  work: () => Promise<T>,
): Promise<T> => {
  const limit = new AbortController()
  let left = Math.min(ms, LONGEST_TIMER_MS)
  let startedMs = performance.now()
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    if (timer === undefined) return
    clearTimeout(timer)
    timer = undefined
    left -= performance.now() - startedMs
  }
  const go = () => {
    if (timer !== undefined || person.asked) return
    startedMs = performance.now()
    timer = setTimeout(() => limit.abort(late()), Math.max(left, 0))
  }
  const onOuter = () => limit.abort(outer.reason)
  outer.addEventListener('abort', onOuter, { once: true })
  person.onChange = () => (person.asked ? stop() : go())
  go()
  try {
    outer.throwIfAborted()
    return await Promise.race([work(), aborted(limit.signal)])
  } finally {
    stop()
    person.onChange = undefined
    outer.removeEventListener('abort', onOuter)
  }
}
