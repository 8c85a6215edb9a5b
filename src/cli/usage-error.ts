import { DproxyError } from '../base/errors.js'
import { printable } from '../base/text.js'
import { nearest } from '../registry/nearest.js'
import type { Command } from './command.js'

/** A command line that yargs refused. */
export interface CommandLine {
  /** The verbs that were understood. */
  readonly path: readonly string[]
  readonly command: Command | undefined
  /** The names of every option that may stand there. */
  readonly options: readonly string[]
  readonly args: readonly string[]
}

/** yargs' complaint as one sentence of ours, with the nearest word that exists. */
export const usageError = (
  { message }: Error,
  { path, command, options, args }: CommandLine,
): DproxyError => {
  const hint = helpFor(path)
  const [, unfinished] = /^Not enough arguments following: (.+)$/u.exec(message) ?? []
  if (unfinished !== undefined)
    return new DproxyError('USAGE', `--${printable(unfinished)} needs a value`, { hint })
  const [, got] = /^Not enough non-option arguments: got (\d+)/u.exec(message) ?? []
  const [missing] = [...(command?.usage ?? '').matchAll(/<\w+>/gu)][Number(got)] ?? []
  if (command && missing !== undefined) return missingWord(missing, path, command)
  const [, option, given, choices] = /Argument: (\S+), Given: (.+), Choices: (.+)$/su.exec(message) ?? []
  if (option !== undefined && given !== undefined && choices !== undefined) {
    const known = choices.split(', ').map((choice) => choice.replaceAll('"', ''))
    return new DproxyError('USAGE', `--${option} takes ${known.join(' or ')}, not ${printable(given)}`, {
      hint,
    })
  }
  const [, unknown] = /^Unknown arguments?: (.+)$/u.exec(message) ?? []
  if (unknown === undefined) {
    return new DproxyError('USAGE', printable(message.split('\n').join(' ')), { hint })
  }
  const [word = unknown] = unknown.split(', ')
  const near = nearest(word, options)
  const what =
    word.length > 1 || args.includes(word)
      ? `there is no option or word "${printable(word)}" here`
      : `there is no option -${printable(word)} here`
  return new DproxyError('USAGE', near === undefined ? what : `${what}; did you mean "--${near}"?`, { hint })
}

const missingWord = (missing: string, path: readonly string[], { usage, examples }: Command): DproxyError => {
  const line = ['dproxy', ...path.slice(0, -1), usage].join(' ')
  const [example] = examples?.[0] ?? []
  const hint = example === undefined ? helpFor(path) : `for example: ${example}`
  return new DproxyError('USAGE', `${missing} is missing: ${line}`, { hint })
}

/** What shows how a command is meant. */
export const helpFor = (path: readonly string[]): string => ['dproxy', ...path, '--help'].join(' ')
