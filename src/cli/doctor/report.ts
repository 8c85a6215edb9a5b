import { formatDuration } from '../../base/duration.js'
import { count, list, printableLines } from '../../base/text.js'
import type { loadDoctor } from '../lazy.js'
import { cell, type Paint } from '../paint.js'

type Examine = Awaited<ReturnType<typeof loadDoctor>>['examine']

/** What was found at one stage of one host. */
export type StageReport = Parameters<Parameters<Examine>[2]>[0]

/** What was found of one host, as `--json` prints it. */
export interface HostReport {
  readonly host: string
  /** No stage failed; one may warn. */
  readonly ok: boolean
  readonly stages: readonly StageReport[]
}

export const hostReport = (host: string, stages: readonly StageReport[]): HostReport => ({
  host,
  ok: stages.every(({ state }) => state !== 'failed'),
  stages,
})

/** One stage: its glyph and its word, what was seen, and what to do about it. */
export const stageText = (
  { stage, state, ms, facts, error }: StageReport,
  { quiet }: { readonly quiet: boolean },
  paint: Paint,
): string => {
  if (quiet && !error) return ''
  const time = ms === null ? '' : paint.dim(formatDuration(ms))
  const head = `  ${STATE[state](paint, WORD[state].padEnd(13))}  ${stage.padEnd(13)}  ${time}`.trimEnd()
  const seen = quiet ? [] : facts.map((fact) => paint.dim(cell(fact)))
  const said = error ? printableLines(error.message).split('\n') : []
  const [next, ...more] = error?.hint ? printableLines(error.hint).split('\n') : []
  const hint = next === undefined ? [] : [`${paint.dim('next:')} ${next}`, ...more]
  return [head, ...[...seen, ...said, ...hint].map((line) => `      ${line}`), ''].join('\n')
}

const WORD = {
  ok: '✓ ok',
  failed: '✗ failed',
  warning: '! warning',
  'not reached': '– not reached',
} as const satisfies Record<StageReport['state'], string>

const STATE: Record<StageReport['state'], (paint: Paint, text: string) => string> = {
  ok: (paint, text) => paint.green(text),
  failed: (paint, text) => paint.red(text),
  warning: (paint, text) => paint.yellow(text),
  'not reached': (paint, text) => paint.dim(text),
}

/** `prod: ✗ failed: login, local socket; 1 warning` */
export const verdictText = ({ host, ok, stages }: HostReport, paint: Paint): string => {
  const failed = stages.filter(({ state }) => state === 'failed').map(({ stage }) => stage)
  const warnings = stages.filter(({ state }) => state === 'warning').length
  const state = ok ? paint.green(WORD.ok) : `${paint.red(WORD.failed)}: ${list(failed)}`
  return `${paint.bold(cell(host))}: ${state}${warnings === 0 ? '' : `; ${count(warnings, 'warning')}`}\n`
}
