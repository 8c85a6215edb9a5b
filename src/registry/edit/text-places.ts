import { isMap, isPair, isSeq, type Pair } from 'yaml'
import { startOf } from '../yaml-places.js'

/** How the lines of a text end. */
export const lineEndOf = (text: string): '\n' | '\r\n' => (/^[^\n]*\r\n/u.test(text) ? '\r\n' : '\n')

/** Where the line that holds an offset begins. */
export const lineStart = (text: string, offset: number): number =>
  offset <= 0 ? 0 : text.lastIndexOf('\n', offset - 1) + 1

/** Where the line after the one that holds an offset begins; the end of the text for its last line. */
export const nextLine = (text: string, offset: number): number => {
  const newline = text.indexOf('\n', offset)
  return newline === -1 ? text.length : newline + 1
}

/** The spaces and tabs before an offset, when nothing else of its line stands before it. */
export const indentBefore = (text: string, offset: number): string | undefined => {
  const before = text.slice(lineStart(text, offset), offset)
  return /^[ \t]*$/u.test(before) ? before : undefined
}

export const keyStart = (pair: Pair): number => startOf(pair.key) ?? 0

/** Where the last thing written in a node ends; its range may go on over empty lines and comments. */
export const contentEnd = (node: unknown): number => {
  if (isPair(node)) return contentEnd(node.value ?? node.key)
  const isBlock = (isMap(node) || isSeq(node)) && node.flow !== true
  const last: unknown = isBlock ? node.items.at(-1) : undefined
  if (last !== undefined) return contentEnd(last)
  const { range } = node as { range?: readonly number[] | null }
  return range?.[1] ?? 0
}

/** A text without what stands between two offsets. */
export const without = (text: string, from: number, to: number): string =>
  text.slice(0, from) + text.slice(to)

/** A text with something inserted at an offset. */
export const inserted = (text: string, at: number, piece: string): string =>
  text.slice(0, at) + piece + text.slice(at)
