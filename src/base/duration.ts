const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/u

/** `10s`, `1.5m` or `250ms` in milliseconds; undefined for anything else, a bare number included. */
export const parseDuration = (text: string): number | undefined => {
  const [, amount, unit] = DURATION.exec(text.trim()) ?? []
  return amount === undefined ? undefined : Math.round(Number(amount) * UNITS[unit as keyof typeof UNITS])
}

/** A span for people, one unit and never more than needed: `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`. */
export const formatDuration = (ms: number): string => {
  if (ms < 999.5) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 10_000) return `${Math.floor(Math.max(ms, 1000) / 100) / 10} s`
  if (ms < 60_000) return `${Math.floor(ms / 1000)} s`
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h`
  return `${Math.floor(ms / 86_400_000)} d`
}
