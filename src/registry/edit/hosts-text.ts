import { isDeepStrictEqual } from 'node:util'
import { isMap, isScalar, parseDocument, type Pair, type YAMLMap } from 'yaml'
import { DproxyError } from '../../base/errors.js'
import type { ConfigDocument } from '../document.js'
import { sameNameKey } from '../host.js'
import { keyText } from '../yaml-places.js'
import { addToBlock, linesOfBlock, removeFromBlock, startBlock, startHosts } from './block.js'
import type { NewHost } from './entry.js'
import { addToFlow, removeFromFlow } from './flow.js'

/** The text of a config file after a change, and what it must say when it is read. */
export interface Changed {
  readonly text: string
  readonly data: unknown
}

/**
 * A config file with hosts added behind those it has; every other character stays as it is. `text` must be valid
 * YAML or JSON; the result is to be {@link proven}.
 * @throws DproxyError NOT_SUPPORTED when the text is written in a way that this cannot be done for
 */
export const withHosts = (text: string, added: readonly NewHost[]): Changed => {
  const { key, hosts, isBlock, data } = partsOf(text)
  const entries = Object.fromEntries(added.map(({ name, entry }) => [name, entry]))
  const changed = (): string => {
    if (key === undefined) return startHosts(text, added)
    if (isMap(hosts) && hosts.items.length > 0) {
      return hosts.flow === true ? addToFlow(text, key, hosts, added) : addToBlock(text, hosts, added)
    }
    if (isMap(hosts) && !isBlock) return addToFlow(text, key, hosts, added)
    const isEmpty = isMap(hosts) || (isScalar(hosts) && hosts.value === null)
    if (isEmpty && hosts.range) return startBlock(text, key, hosts.range, added)
    throw notPossible()
  }
  return { text: changed(), data: { ...data, hosts: { ...(data.hosts as object | null), ...entries } } }
}

/**
 * A config file without some of its hosts: their lines go, and the comment lines directly above.
 * @throws DproxyError NOT_SUPPORTED, as {@link withHosts}
 */
export const withoutHosts = (text: string, names: readonly string[]): Changed => {
  const { key, hosts, data } = partsOf(text)
  if (!key || !isMap(hosts)) throw notPossible()
  const wanted = names.map((name) => meantBy(name, hosts))
  const removed = hosts.items.filter((pair) => wanted.includes(pair))
  const gone = new Set(removed.map(({ key: name }) => keyText(name)))
  const left = Object.entries(data.hosts as object).filter(([name]) => !gone.has(name))
  return {
    text:
      hosts.flow === true ? removeFromFlow(text, hosts, removed) : removeFromBlock(text, key, hosts, removed),
    data: { ...data, hosts: Object.fromEntries(left) },
  }
}

/** What {@link withoutHosts} would take away for one host; undefined where its lines hold other things as well. */
export const linesOfHost = (text: string, name: string): string | undefined => {
  const { hosts } = partsOf(text)
  const host = isMap(hosts) && hosts.flow !== true ? meantBy(name, hosts) : undefined
  if (!host) return undefined
  return text.slice(...linesOfBlock(text, host))
}

/**
 * The changed text, if reading it gives what it should and nothing else differs: a file can be written in ways
 * that nobody foresees, and then it is better left alone.
 * @throws DproxyError NOT_SUPPORTED
 */
export const proven = ({ text, data }: Changed, { value, problems }: ConfigDocument): string => {
  if (problems.length > 0 || !isDeepStrictEqual(plain(value ?? null), plain(data))) throw notPossible()
  return text
}

interface Parts {
  /** `hosts:` itself; undefined when the file has none, so that it can be put behind all else. */
  readonly key: Pair | undefined
  readonly hosts: unknown
  /** Whether `hosts:` stands on a line of its own rather than in braces. */
  readonly isBlock: boolean
  readonly data: Record<string, unknown>
}

const partsOf = (text: string): Parts => {
  const document = parseDocument(text)
  const { contents } = document
  const isNothing = contents === null || (isScalar(contents) && contents.value === null)
  if (isNothing) return { key: undefined, hosts: undefined, isBlock: true, data: {} }
  const key = isMap(contents) ? contents.items.find((pair) => keyText(pair.key) === 'hosts') : undefined
  if (!isMap(contents)) throw notPossible()
  const isBlock = contents.flow !== true
  if (!key && !isBlock) throw notPossible()
  return { key, hosts: key?.value, isBlock, data: document.toJS() as Record<string, unknown> }
}

/** The host of a name; of two that differ in letter case alone, which no file may have, the one that is spelled so. */
const meantBy = (name: string, { items }: YAMLMap): Pair | undefined =>
  items.find(({ key }) => keyText(key) === name) ??
  items.find(({ key }) => sameNameKey(keyText(key) ?? '') === sameNameKey(name))

/** The same data without what only an object in memory can hold, such as a key whose value is undefined. */
const plain = (data: unknown): unknown => JSON.parse(JSON.stringify(data))

const notPossible = (): DproxyError =>
  new DproxyError(
    'NOT_SUPPORTED',
    'the config file is written in a way that cannot be changed without rewriting more of it',
    { hint: 'change it by hand' },
  )
