/** The back-off law: half a second, doubled each time up to half a minute, of which at least half is waited. */
export const mostTriesIn = (ms: number): number => {
  let tries = 0
  for (let waited = 0, wait = 500; waited + wait / 2 <= ms; wait = Math.min(wait * 2, 30_000)) {
    waited += wait / 2
    tries += 1
  }
  return tries
}

/** The most of `times`, in milliseconds, that lie within any tenth of a second. */
export const mostInAnyTenth = (times: readonly number[]): number => {
  const sorted = times.toSorted((one, other) => one - other)
  let most = 0
  for (let first = 0, last = 0; last < sorted.length; last += 1) {
    while (sorted[last]! - sorted[first]! >= 100) first += 1
    most = Math.max(most, last - first + 1)
  }
  return most
}
