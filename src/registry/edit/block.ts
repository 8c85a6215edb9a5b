import { isMap, visit, Document, type Pair, type YAMLMap } from 'yaml'
import type { NewHost } from './entry.js'
import { contentEnd, inserted, keyStart, lineEndOf, lineStart, nextLine, without } from './text-places.js'

/** Adds hosts behind the last one of a block mapping, indented as that one is. */
export const addToBlock = (text: string, hosts: YAMLMap, added: readonly NewHost[]): string => {
  const last = hosts.items.at(-1)
  if (!last) return text
  const column = columnOf(text, last)
  const inner = isMap(last.value) && last.value.flow !== true ? last.value.items[0] : undefined
  // Behind an explicit key (`? name`) a value may stand no deeper than it.
  const step = Math.max(1, inner ? columnOf(text, inner) - column : column)
  return withLines(text, endOf(text, last, column), rendered(added, column, step))
}

/** Adds the first hosts: `value` is what stands behind `hosts:`, `{}` or nothing. */
export const startBlock = (
  text: string,
  key: Pair,
  [from, to]: readonly number[],
  added: readonly NewHost[],
): string => {
  const column = columnOf(text, key) + 2
  const head = text.slice(0, from).replace(/[ \t]+$/u, '')
  const tail = text.slice(to)
  // A comment begins behind a space only.
  const bare = head + (tail.startsWith('#') ? ' ' : '') + tail
  return withLines(bare, nextLine(bare, head.length), rendered(added, column, 2))
}

/** Adds `hosts:` itself to a file that has none yet. */
export const startHosts = (text: string, added: readonly NewHost[]): string =>
  withLines(text, text.length, `hosts:\n${rendered(added, 2, 2)}`)

/** Removes hosts: their lines, and the comment lines directly above. The last one leaves `hosts: {}`. */
export const removeFromBlock = (
  text: string,
  key: Pair,
  hosts: YAMLMap,
  removed: readonly Pair[],
): string => {
  // From the end, so that the places of those before stay what they are.
  const rest = removed
    .toReversed()
    .reduce((left, host) => withoutLines(left, ...linesOfBlock(text, host)), text)
  if (removed.length < hosts.items.length) return rest
  return inserted(rest, text.indexOf(':', contentEnd(key.key)) + 1, ' {}')
}

/** Where the lines of a host begin and end, its comments included. */
export const linesOfBlock = (text: string, host: Pair): [from: number, to: number] => {
  const column = columnOf(text, host)
  let from = lineStart(text, keyStart(host))
  for (;;) {
    const above = lineStart(text, from - 1)
    if (from === 0 || commentColumn(text.slice(above, from)) !== column) break
    from = above
  }
  return [from, endOf(text, host, column)]
}

/** Where the lines of a host end: comments behind it that are indented more than its name are its own. */
const endOf = (text: string, host: Pair, column: number): number => {
  const content = contentEnd(host)
  // The text of a block scalar ends behind its newline.
  let end = text[content - 1] === '\n' ? content : nextLine(text, content)
  for (let line = end; line < text.length; line = nextLine(text, line)) {
    const shown = text.slice(line, nextLine(text, line))
    const comment = commentColumn(shown)
    if (comment !== undefined && comment > column) end = nextLine(text, line)
    else if (shown.trim() !== '') break
  }
  return end
}

const commentColumn = (line: string): number | undefined => /^( *)#/u.exec(line)?.[1]?.length

const columnOf = (text: string, pair: Pair): number => keyStart(pair) - lineStart(text, keyStart(pair))

const rendered = (hosts: readonly NewHost[], column: number, step: number): string => {
  const document = new Document(new Map(hosts.map(({ name, entry }) => [name, entry])))
  visit(document, { Seq: (_, list) => void (list.flow = true) })
  return document
    .toString({ indent: step, lineWidth: 0, flowCollectionPadding: false })
    .replaceAll(/^(?=.)/gmu, ' '.repeat(column))
}

/** A text with whole lines put in; where its last line has no end, the new last one has none either. */
const withLines = (text: string, at: number, lines: string): string => {
  const end = lineEndOf(text)
  const piece = lines.replaceAll('\n', end)
  if (at < text.length || text === '' || text.endsWith('\n')) return inserted(text, at, piece)
  return text + end + piece.slice(0, -end.length)
}

const withoutLines = (text: string, from: number, to: number): string => {
  const above = lineStart(text, from - 1)
  const last = to >= text.length
  if (last && !text.endsWith('\n')) return text.slice(0, from).replace(/\r?\n$/u, '')
  const isBetweenBlanks =
    from > 0 && isBlank(text.slice(above, from)) && (last || isBlank(text.slice(to, nextLine(text, to))))
  return without(text, isBetweenBlanks ? above : from, to)
}

const isBlank = (line: string): boolean => line.trim() === ''
