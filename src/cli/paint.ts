import pc from 'picocolors'
import stringWidth from 'string-width'
import type { DproxyError, Stage } from '../base/errors.js'
import type { HostState } from '../control/messages.js'
import { printable, printableLines } from '../base/text.js'
import type { Output } from './io.js'

/** Colours for one output; plain text where none are wanted. */
export const paintFor = ({ colors }: Pick<Output, 'colors'>) => pc.createColors(colors)

/** How wide a line may be: as the terminal, or as it likes where there is none. */
export const widthOf = ({ isTTY, columns }: Pick<Output, 'isTTY' | 'columns'>): number =>
  isTTY ? columns : Number.POSITIVE_INFINITY

export type Paint = ReturnType<typeof paintFor>

/** A state is told by its glyph and its word, never by colour alone. */
export const paintState = (state: HostState, paint: Paint): string => {
  switch (state) {
    case 'up':
      return paint.green('● up')
    case 'idle':
      return paint.cyan('○ idle')
    case 'connecting':
      return paint.yellow('◐ connecting')
    case 'retrying':
      return paint.yellow('◐ retrying')
    case 'failed':
      return paint.red('✗ failed')
    case 'draining':
      return paint.yellow('◌ draining')
    case 'stopped':
      return paint.dim('○ stopped')
    default:
      return state satisfies never
  }
}

/** Columns two spaces apart, as wide as their widest cell; the last one is not padded. */
export const table = (rows: readonly (readonly string[])[]): string => {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => stringWidth(row[column] ?? ''))),
  )
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : pad(cell, widths[column] ?? 0)))
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

const pad = (cell: string, width: number): string => cell + ' '.repeat(Math.max(0, width - stringWidth(cell)))

interface Told {
  readonly stage?: Stage | null | undefined
  readonly message: string
  readonly hint?: string | null | undefined
}

/** `dproxy: prod: login: … refused the only key offered` and, on the next line, what to do. */
export const failureText = (
  { stage, message, hint }: Told | DproxyError,
  paint: Paint,
  host?: string,
): string => {
  const where = [...(host === undefined ? [] : [host]), ...(stage ? [stage] : [])]
    .map((part) => `${part}: `)
    .join('')
  const [first = '', ...more] = printableLines(message).split('\n')
  const lines = [`${paint.red('dproxy:')} ${where}${first}`, ...more]
  if (hint)
    lines.push(
      ...printableLines(hint)
        .split('\n')
        .map((line, index) => (index === 0 ? `  ${paint.dim('next:')} ${line}` : `  ${line}`)),
    )
  return `${lines.join('\n')}\n`
}

/** A cell whose text may come from anywhere. */
export const cell = (text: string | null | undefined): string => (text ? printable(text) : '–')
