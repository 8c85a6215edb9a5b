import { isMap, stringify, type Pair, type YAMLMap } from 'yaml'
import type { NewHost } from './entry.js'
import { contentEnd, indentBefore, inserted, keyStart, lineEndOf, nextLine, without } from './text-places.js'

/** Adds hosts behind the last one of a mapping in braces, JSON or YAML, laid out as that one is. */
export const addToFlow = (text: string, key: Pair, hosts: YAMLMap, added: readonly NewHost[]): string => {
  const end = lineEndOf(text)
  const last = hosts.items.at(-1)
  const outer = indentBefore(text, keyStart(key))
  if (!last) {
    const [open = 0] = hosts.range ?? []
    const close = contentEnd(hosts)
    if (outer === undefined) return text.slice(0, open) + `{${inLine(text, added)}}` + text.slice(close)
    const step = outer || '  '
    const body = onLines(text, added, outer + step, step)
    return text.slice(0, open) + `{${end}${outer + step}${body}${end}${outer}}` + text.slice(close)
  }

  const indent = indentBefore(text, keyStart(last))
  const behind = contentEnd(last)
  const comma = commaBehind(text, behind)
  const tail = comma === undefined ? '' : ','
  const from = comma === undefined ? behind : comma + 1
  const separated = comma === undefined ? inserted(text, behind, ',') : text
  const at = comma === undefined ? behind + 1 : comma + 1
  if (indent === undefined) return inserted(separated, at, ` ${inLine(text, added)}${tail}`)

  const isClosedHere = nextLine(text, from) > contentEnd(hosts) - 1
  const lineEnd = isClosedHere ? at : nextLine(separated, at) - end.length
  const inner = isMap(last.value) && last.value.items[0]
  const deeper = inner ? indentBefore(text, keyStart(inner)) : undefined
  const step = deeper?.startsWith(indent) ? deeper.slice(indent.length) : undefined
  const body = step === undefined ? inLine(text, added, end + indent) : onLines(text, added, indent, step)
  return inserted(separated, lineEnd, `${end}${indent}${body}${tail}`)
}

/** Removes hosts from a mapping in braces, with the commas that are no longer needed. */
export const removeFromFlow = (text: string, hosts: YAMLMap, removed: readonly Pair[]): string => {
  const [open = 0] = hosts.range ?? []
  if (removed.length === hosts.items.length) return without(text, open + 1, contentEnd(hosts) - 1)
  // From the end, so that the places of those before stay what they are.
  return removed.toReversed().reduce(
    ({ left, items }, host) => {
      const index = items.indexOf(host)
      return {
        left: withoutOne(left, host, items[index - 1], items[index + 1]),
        items: items.filter((item) => item !== host),
      }
    },
    { left: text, items: hosts.items },
  ).left
}

const withoutOne = (text: string, host: Pair, before: Pair | undefined, next: Pair | undefined): string => {
  const end = contentEnd(host)
  const comma = commaBehind(text, end)
  const lines = wholeLines(text, host, comma ?? end - 1)
  if (next) return lines ? without(text, ...lines) : without(text, keyStart(host), commaAfter(text, comma))
  const behind = before ? contentEnd(before) : keyStart(host)
  if (!lines) return without(text, behind, end)
  const rest = without(text, ...lines)
  const needless = comma === undefined ? commaBehind(text, behind) : undefined
  return needless === undefined ? rest : without(rest, needless, needless + 1)
}

/** Where the next host begins behind a comma; its own place may have moved. */
const commaAfter = (text: string, comma = 0): number =>
  comma + 1 + (/^\s*/u.exec(text.slice(comma + 1))?.[0].length ?? 0)

/** The place of the comma behind an offset, comments passed over; undefined when something else comes first. */
const commaBehind = (text: string, offset: number): number | undefined => {
  const [gap = ''] = /^(?:\s+#[^\n]*|\s)*/u.exec(text.slice(offset)) ?? []
  return text[offset + gap.length] === ',' ? offset + gap.length : undefined
}

/** The lines of a host, when nothing else but a comment stands on them; `end` is its last character. */
const wholeLines = (text: string, host: Pair, end: number): [from: number, to: number] | undefined => {
  const indent = indentBefore(text, keyStart(host))
  const to = nextLine(text, end)
  if (indent === undefined || !/^[ \t]*(#.*)?\r?\n?$/u.test(text.slice(end + 1, to))) return undefined
  return [keyStart(host) - indent.length, to]
}

const onLines = (text: string, hosts: readonly NewHost[], indent: string, step: string): string =>
  isJson(text)
    ? hosts
        .map(({ name, entry }) => `${JSON.stringify(name)}: ${JSON.stringify(entry, null, step)}`)
        .join(',\n')
        .replaceAll('\n', lineEndOf(text) + indent)
    : inLine(text, hosts, lineEndOf(text) + indent)

const inLine = (text: string, hosts: readonly NewHost[], between = ' '): string =>
  hosts.map((host) => oneInLine(host, isJson(text))).join(`,${between}`)

const oneInLine = ({ name, entry }: NewHost, json: boolean): string =>
  stringify(new Map([[name, entry]]), {
    collectionStyle: 'flow',
    flowCollectionPadding: false,
    lineWidth: 0,
    doubleQuotedAsJSON: true,
    ...(json && ({ defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'QUOTE_DOUBLE' } as const)),
  })
    .trim()
    .slice(1, -1)

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
