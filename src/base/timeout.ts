// Node's timers take 31 bits of milliseconds and fire at once beyond; 24 days are as good as for ever.
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Runs `work` under `outer` and for at most `ms`; past that the signal given to it aborts with `late()` and
 * the returned promise rejects with the same error, even if `work` ignores its signal.
 */
export const within = async <T>(
  ms: number,
  outer: AbortSignal,
  late: () => Error,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> => {
  outer.throwIfAborted()
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(late()), Math.min(ms, LONGEST_TIMER_MS))
  const onOuter = () => limit.abort(outer.reason)
  outer.addEventListener('abort', onOuter, { once: true })
  try {
    return await Promise.race([work(limit.signal), aborted(limit.signal)])
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', onOuter)
  }
}

/**
 * What `work` comes to, unless one of `signals` aborts first: then its reason. Leaves no listener behind, so it
 * is fit for waits that are repeated under a signal that stays.
 */
export const unless = async <T>(signals: readonly AbortSignal[], work: Promise<T>): Promise<T> => {
  const taken: (() => void)[] = []
  const over = new Promise<never>((_, reject) => {
    for (const signal of signals) {
      const onAbort = () => reject(signal.reason)
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      taken.push(() => signal.removeEventListener('abort', onAbort))
    }
  })
  try {
    return await Promise.race([over, work])
  } finally {
    for (const giveBack of taken) giveBack()
  }
}

/**
 * Rejects with the signal's reason once it aborts; otherwise stays pending. Its listener lives as long as the
 * signal: not for a wait that is repeated under a signal that stays (see {@link unless}).
 */
export const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
