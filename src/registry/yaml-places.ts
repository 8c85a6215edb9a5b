import { isAlias, isMap, isScalar, isSeq, type Document, type Pair, type YAMLMap } from 'yaml'
import type { Path } from './problems.js'

/** Where a node's text begins; undefined for what has no text. */
export const startOf = (node: unknown): number | undefined =>
  isAlias(node) || isScalar(node) || isMap(node) || isSeq(node) ? node.range?.[0] : undefined

/** The text of a mapping's key, or undefined when the key is not the plain word it looks like. */
export const keyText = (key: unknown): string | undefined => {
  if (!isScalar(key)) return undefined
  const text = String(key.value)
  // 1.0 is a number, and as a key of data would be called "1".
  return typeof key.value === 'string' || text === key.source ? text : undefined
}

/** Finds where the key or list item that a path leads to begins, or else the nearest thing around it. */
export const offsetsIn = (document: Document): ((path: Path) => number) => {
  // A file of a thousand faulty hosts would otherwise be searched a thousand times.
  const indexes = new WeakMap<YAMLMap, Map<string | undefined, Pair>>()
  const pairOf = (map: YAMLMap, key: string): Pair | undefined => {
    const index = indexes.get(map) ?? new Map(map.items.toReversed().map((pair) => [keyText(pair.key), pair]))
    indexes.set(map, index)
    return index.get(key)
  }
  return (path) => {
    let node: unknown = document.contents
    let offset = startOf(node) ?? 0
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document)
      if (isMap(node)) {
        const pair = pairOf(node, String(step))
        offset = startOf(pair?.key) ?? offset
        node = pair?.value
      } else if (isSeq(node)) {
        node = node.items[Number(step)]
        offset = startOf(node) ?? offset
      } else return offset
    }
    return offset
  }
}
