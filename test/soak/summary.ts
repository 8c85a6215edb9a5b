import type { Holdings } from './watch.js'
import { median, slope, type Tally } from './tally.js'

export interface Run {
  readonly seed: number
  readonly minutes: number
  readonly before: Holdings
  readonly after: Holdings
}

/** All that a soak has seen, to be read by people. */
export const summary = (tally: Tally, { seed, minutes, before, after }: Run): string => {
  const faults = [...tally.faults].toSorted(([, one], [, other]) => other - one)
  const resident = tally.resident.map(({ bytes }) => bytes)
  return [
    `soak: ${minutes} min, seed ${seed}`,
    `faults: ${sum(faults.map(([, times]) => times))}`,
    ...faults.map(([kind, times]) => `  ${kind.padEnd(24)} ${times}`),
    row('work:', ['done', '503', 'no socket', 'cut']).trimStart(),
    ...Array.from(tally.work, ([kind, { done, refused, away, cut }]) =>
      row(kind, [done, refused, away, cut]),
    ),
    `bytes of transfers that ended well, each with the right sha256: ${mib(tally.bytes)}`,
    `wrong: ${tally.wrong.length}`,
    ...tally.wrong.slice(0, 50).map((what) => `  ${what}`),
    `recovery: median ${Math.round(median(tally.recoveries))} ms, worst ${Math.round(most(tally.recoveries))} ms`,
    `control socket: ${tally.answers.length} answers, median ${Math.round(median(tally.answers))} ms, ` +
      `worst ${Math.round(most(tally.answers))} ms`,
    `supervisor's memory: start ${mib(resident[0]!)}, peak ${mib(most(resident))}, end ${mib(resident.at(-1)!)}, ` +
      `${(slope(settled(tally)) / MIB).toFixed(2)} MiB/min from the first third on`,
    `supervisor's descriptors: start ${before.supervisor}, end ${after.supervisor}`,
    `sessions' descriptors: start ${before.sessions}, end ${after.sessions}`,
    `connections at the engines: start ${before.engines}, end ${after.engines}`,
    `streams open: start ${before.streams}, end ${after.streams}`,
  ].join('\n')
}

/** The samples of memory after the first third: by then every part of the program has been used. */
export const settled = ({ resident }: Tally): Tally['resident'] =>
  resident.slice(Math.floor(resident.length / 3))

export const MIB = 1024 * 1024

const row = (kind: string, cells: readonly (number | string)[]): string =>
  `  ${kind.padEnd(16)} ${cells.map((cell) => String(cell).padStart(9)).join(' ')}`

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)
const most = (numbers: readonly number[]): number => numbers.reduce((max, each) => Math.max(max, each), 0)
