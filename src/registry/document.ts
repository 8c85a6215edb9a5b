import { Alias, isMap, isSeq, LineCounter, parseDocument, visit, type Document } from 'yaml'
import { DEEPEST, isTooDeep } from './nesting.js'
import { short, type Path, type Problem } from './problems.js'
import { keyText, offsetsIn, startOf } from './yaml-places.js'

/** A config file's text, read as data, with the line of everything in it. */
export interface ConfigDocument {
  /** Plain data; undefined when the text could not be read as such. */
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** The line of a place, or of the nearest place around it that exists. Counted from 1. */
  readonly lineOf: (path: Path) => number
}

// A config needs a handful; a file that needs more is made to exhaust us ("billion laughs").
const MOST_ALIASES = 100

/** Reads YAML 1.2, and with it JSON, keeping every position. Problems are all collected, none thrown. */
export const readDocument = (text: string): ConfigDocument => {
  if (isTooDeep(text)) return unreadable([wholeFile(`must not be nested more than ${DEEPEST} levels deep`)])
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    // Warnings are told below. ('silent' would also be silent about a second document.)
    logLevel: 'error',
    // Equal keys are looked for below, where both lines can be named.
    uniqueKeys: false,
  })
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line)
  const broken = [...syntaxProblems(document, lineAt), ...aliasProblems(document, lineAt)]
  if (broken.length > 0) return unreadable(broken)
  const offsetOf = offsetsIn(document)
  const problems: Problem[] = []
  findKeyProblems(document.contents, [], lineAt, problems)
  try {
    const value: unknown = document.toJS({ maxAliasCount: MOST_ALIASES })
    return { value, problems, lineOf: (path) => lineAt(offsetOf(path)) }
  } catch (failure) {
    // What `yaml` throws when aliases of aliases multiply.
    if (failure instanceof ReferenceError) return unreadable([tooManyAliases])
    throw failure
  }
}

const unreadable = (problems: readonly Problem[]): ConfigDocument => ({
  value: undefined,
  problems,
  lineOf: () => 1,
})

const wholeFile = (sentence: string): Problem => ({ line: 1, path: [], sentence })

const tooManyAliases = wholeFile(`must not have more than ${MOST_ALIASES} aliases`)

type LineAt = (offset: number) => number

/** What the parser could not make sense of; an error that it repeats on a line is told once. */
const syntaxProblems = ({ errors, warnings }: Document.Parsed, lineAt: LineAt): Problem[] => {
  const problems = [...errors, ...warnings].map(({ code, message, pos }) => {
    const several = code === 'MULTIPLE_DOCS'
    const sentence = several
      ? 'must be one document: a second one begins here'
      : `is not valid YAML: ${message}`
    return { line: lineAt(pos[0]), path: [], sentence }
  })
  return [...new Map(problems.map((problem) => [`${problem.line} ${problem.sentence}`, problem])).values()]
}

const aliasProblems = (document: Document, lineAt: LineAt): Problem[] => {
  const problems: Problem[] = []
  const anchors = new Set<string>()
  let aliases = 0
  visit(document, {
    Node: (_, node) => {
      if (node instanceof Alias) {
        aliases += 1
        if (anchors.has(node.source)) return
        const sentence = `must not use the alias *${short(node.source)} before its anchor`
        problems.push({ line: lineAt(startOf(node) ?? 0), path: [], sentence })
      } else if (node.anchor) anchors.add(node.anchor)
    },
  })
  return aliases > MOST_ALIASES ? [tooManyAliases] : problems
}

/** Adds to `problems` the keys that occur twice in a mapping, or that are no words. */
const findKeyProblems = (node: unknown, path: Path, lineAt: LineAt, problems: Problem[]): void => {
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries())
      findKeyProblems(item, [...path, index], lineAt, problems)
  }
  if (!isMap(node)) return
  const seen = new Map<string, number>()
  for (const { key, value } of node.items) {
    const line = lineAt(startOf(key) ?? startOf(node) ?? 0)
    const text = keyText(key)
    if (text === undefined) {
      problems.push({ line, path, sentence: 'must have only words as keys; put this one in quotes' })
      continue
    }
    const place = [...path, text]
    const first = seen.get(text)
    if (first !== undefined) {
      problems.push({ line, path: place, sentence: `occurs twice, first on line ${first}` })
    }
    seen.set(text, first ?? line)
    findKeyProblems(value, place, lineAt, problems)
  }
}
