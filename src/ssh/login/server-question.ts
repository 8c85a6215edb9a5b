import type { Prompt as Asked } from 'ssh2'
import { printable } from '../../base/text.js'
import type { Prompt, Question } from '../person.js'
import { where, type Resolved } from '../target.js'

/** As many questions as one round may have. */
export const MOST_PROMPTS = 100
const LONGEST_PROMPT = 1024
const LONGEST_QUESTION = 8 * 1024

/**
 * What a server asks, fit for a terminal: nothing in it is obeyed, none of it is endless. Of a prompt of several
 * lines only the last is the prompt; what stands above, such as a list of devices, comes before.
 */
export const questionOf = (
  resolved: Resolved,
  name: string,
  instructions: string,
  asked: readonly Asked[],
): Question => {
  const above: string[] = [`${printable(where(resolved))} asks:`, ...linesOf(name), ...linesOf(instructions)]
  let room = LONGEST_QUESTION
  const prompts = asked.map(({ prompt, echo }): Prompt => {
    const lines = linesOf(prompt)
    const text = cut(lines.pop() ?? '', Math.min(LONGEST_PROMPT, room))
    room -= text.length
    above.push(...lines)
    return { text, echo: echo === true }
  })
  return { kind: 'keyboard-interactive', text: cut(above.join('\n'), Math.max(room, 0)), prompts }
}

/** Printable lines, empty ones at both ends left out. */
const linesOf = (text: string): string[] => {
  // Cut first: making it printable may make it six times as long.
  const lines = text
    .slice(0, LONGEST_QUESTION)
    .split(/\r?\n/u)
    .map((line) => printable(line))
  while (lines.length > 0 && lines[0]?.trim() === '') lines.shift()
  while (lines.length > 0 && lines.at(-1)?.trim() === '') lines.pop()
  return lines
}

const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, Math.max(length - 1, 0))}…`
