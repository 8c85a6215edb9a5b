import { Parser, type CST } from 'yaml'

/** How deep lists and mappings may stand in each other; a config needs five. */
export const DEEPEST = 50

/**
 * True when YAML text is nested so deeply that turning it into data would exhaust the stack: with some thousand
 * brackets Node ends without an exception. The parser used here only sorts words, without recursion.
 */
export const isTooDeep = (text: string): boolean => {
  const waiting: { token: CST.Token; depth: number }[] = []
  for (const token of new Parser().parse(text)) waiting.push({ token, depth: 0 })
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { token, depth } = next
    if (depth > DEEPEST) return true
    for (const inner of tokensIn(token)) waiting.push({ token: inner, depth: depth + 1 })
  }
  return false
}

const tokensIn = (token: CST.Token): CST.Token[] => {
  if (token.type === 'document') return token.value ? [token.value] : []
  if (!('items' in token)) return []
  return token.items
    .flatMap(({ key, value }) => [key, value])
    .filter((inner) => inner !== undefined && inner !== null)
}
