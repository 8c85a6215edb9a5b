import type { z } from 'zod'
import { DproxyError } from '../base/errors.js'
import { count, printable } from '../base/text.js'
import { didYouMean } from './nearest.js'
import { keysAt } from './schema.js'

/** A place in a config file: the keys and list positions that lead there. */
export type Path = readonly (string | number)[]

/** One thing wrong with a config file. */
export interface Problem {
  /** Counted from 1. */
  readonly line: number
  readonly path: Path
  /** What is wrong, as the end of a sentence that begins with the path. */
  readonly sentence: string
}

/** All that is wrong with one file. */
export interface FileProblems {
  readonly file: string
  readonly problems: readonly Problem[]
}

// Of a file that is no config at all, the first few dozen are enough.
const MOST_SHOWN = 50

/** One error that tells of every problem of every file: a headline for each file, a line for each problem. */
export const configInvalid = (files: readonly FileProblems[]): DproxyError =>
  new DproxyError('CONFIG_INVALID', files.map(describe).join('\n'), {
    hint: `correct ${files.length === 1 ? 'it' : 'them'} and run the command again`,
  })

/** What zod found, as problems in the words of the file. */
export const problemsOf = (issues: readonly z.core.$ZodIssue[], lineOf: (path: Path) => number): Problem[] =>
  issues.flatMap((issue) => {
    const path = issue.path.filter((step) => typeof step !== 'symbol')
    if (issue.code !== 'unrecognized_keys') return [{ line: lineOf(path), path, sentence: sentenceOf(issue) }]
    return issue.keys.map((key) => ({
      line: lineOf([...path, key]),
      path,
      sentence: unknownKey(key, keysAt(path)),
    }))
  })

/** `unknown key "prot", did you mean "port"?` */
export const unknownKey = (key: string, known: readonly string[]): string =>
  `unknown key "${short(key)}"${didYouMean(key, known)}`

/** Text of the file that is too long to be shown whole. */
export const short = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text)

const sentenceOf = (issue: z.core.$ZodIssue): string => {
  const wrongType = issue.code === 'invalid_type' || issue.code === 'invalid_union'
  if (wrongType && issue.input === undefined) return 'is missing'
  if (wrongType && issue.input === null) return `is empty; it ${issue.message}`
  return issue.message
}

const describe = ({ file, problems }: FileProblems): string => {
  const sorted = problems.toSorted((a, b) => a.line - b.line)
  const lines = sorted.slice(0, MOST_SHOWN).map(({ line, path, sentence }) => {
    const place = path.length === 0 ? '' : `${shownPath(path)}: `
    return `  line ${line}: ${printable(place + sentence)}`
  })
  if (sorted.length > MOST_SHOWN) lines.push(`  and ${sorted.length - MOST_SHOWN} more`)
  return [`${printable(file)}: ${count(sorted.length, 'problem')}`, ...lines].join('\n')
}

const shownPath = (path: Path): string =>
  path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : (index ? '.' : '') + short(step)))
    .join('')
