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
  const timer = setTimeout(() => limit.abort(late()), ms)
  const onOuter = () => limit.abort(outer.reason)
  outer.addEventListener('abort', onOuter, { once: true })
  try {
    return await Promise.race([work(limit.signal), aborted(limit.signal)])
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', onOuter)
  }
}

/** Rejects with the signal's reason once it aborts; otherwise stays pending and is collected. */
export const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
