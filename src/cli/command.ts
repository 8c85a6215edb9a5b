import type { Options } from 'yargs'
import type { ExitCode } from '../base/errors.js'
import type { GlobalWords, Io } from './io.js'

/** Words of a command line as yargs gives them; each command reads its own. */
export type Words = Readonly<Record<string, unknown>> & GlobalWords

/**
 * One verb: its words declared beside what it does. The help, the completions and the man page are made from
 * the table of these.
 */
export type Command = Action | Group

/** A verb that does something. */
export interface Action extends Described {
  readonly run: (words: Words, io: Io) => Promise<ExitCode>
  readonly subcommands?: undefined
}

/** A verb that is followed by another one, as in `host add`; its usage is its one word. */
export interface Group extends Described {
  readonly subcommands: readonly Command[]
  readonly run?: undefined
}

interface Described {
  /** The verb and its positional words in yargs' notation: `down [names..]`. Below a group, without the group. */
  readonly usage: string
  readonly aliases?: readonly string[]
  /** One line for the list of commands; undefined hides the command. */
  readonly summary?: string
  readonly positionals?: Readonly<Record<string, string>>
  readonly options?: Readonly<Record<string, Options>>
  /** Command line and what it does. */
  readonly examples?: readonly (readonly [line: string, does: string])[]
}

/** The verb of a command: the first word of its usage. */
export const verbOf = ({ usage }: Command): string => usage.split(' ')[0] ?? usage

/** The command that a word names, by its verb or an alias. */
export const commandNamed = (commands: readonly Command[], word: string | undefined): Command | undefined =>
  commands.find(
    (command) => verbOf(command) === word || (word !== undefined && command.aliases?.includes(word)),
  )

/** Every word that names a command a person may type. */
export const wordsFor = (commands: readonly Command[]): string[] =>
  commands
    .filter(({ summary }) => summary !== undefined)
    .flatMap((command) => [verbOf(command), ...(command.aliases ?? [])])

/** The strings of a list option or positional. */
export const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])

/** The value of a string option; undefined when it was not given. */
export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
