import type { Options } from 'yargs'
import type { ExitCode } from '../base/errors.js'
import type { GlobalWords, Io } from './io.js'

/** Words of a command line as yargs gives them; each command reads its own. */
export type Words = Readonly<Record<string, unknown>> & GlobalWords

/**
 * One verb: its words declared beside what it does. The help, the completions and the man page are made from
 * the table of these.
 */
export interface Command {
  /** The verb and its positional words in yargs' notation: `down [names..]`. */
  readonly usage: string
  readonly aliases?: readonly string[]
  /** One line for the list of commands; undefined hides the command. */
  readonly summary?: string
  readonly positionals?: Readonly<Record<string, string>>
  readonly options?: Readonly<Record<string, Options>>
  /** Command line and what it does. */
  readonly examples?: readonly (readonly [line: string, does: string])[]
  readonly run: (words: Words, io: Io) => Promise<ExitCode>
}

/** The strings of a list option or positional. */
export const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])

/** The value of a string option; undefined when it was not given. */
export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
