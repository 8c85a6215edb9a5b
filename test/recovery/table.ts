/** What one run took, in milliseconds. */
export interface Times {
  /** From the fault until the client that was being served was cut off. */
  readonly cutMs: number
  /** From the fault until the host was no longer `up`; null where it stays up. */
  readonly detectedMs: number | null
  /** From the mending until the same local socket answered `GET /_ping`. */
  readonly recoveredMs: number
}

const HEADS = ['fault', 'client cut', 'not up', 'serves again']

/** Median, shortest and longest of each fault's times, as a Markdown table. */
export const table = (measured: ReadonlyMap<string, readonly Times[]>): string => {
  const rows = [...measured].map(([name, times]) => [
    name,
    summary(times.map(({ cutMs }) => cutMs)),
    summary(times.map(({ detectedMs }) => detectedMs).filter((ms) => ms !== null)),
    summary(times.map(({ recoveredMs }) => recoveredMs)),
  ])
  return [HEADS, HEADS.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

const summary = (ms: readonly number[]): string => {
  if (ms.length === 0) return '–'
  const sorted = ms.toSorted((one, other) => one - other)
  const [median, least, most] = [sorted[Math.floor(sorted.length / 2)]!, sorted[0]!, sorted.at(-1)!].map(
    seconds,
  )
  return `${median} s (${least} to ${most})`
}

const seconds = (ms: number): string => (ms / 1000).toFixed(ms < 100 ? 3 : 2)
