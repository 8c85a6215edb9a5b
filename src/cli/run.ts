import yargs, { type Argv, type Options } from 'yargs'
import { asDproxyError, DproxyError, exitCodeOf, type ExitCode } from '../base/errors.js'
import { printable } from '../base/text.js'
import { nearest } from '../registry/nearest.js'
import { commandNamed, strings, verbOf, wordsFor, type Command, type Words } from './command.js'
import type { Io } from './io.js'
import { failureText, paintFor } from './paint.js'
import { COMMANDS } from './table.js'
import { helpFor, usageError } from './usage-error.js'

/** Runs one command line (without node and our name) and returns its exit code. Never throws. */
export const runCommandLine = async (args: readonly string[], io: Io): Promise<ExitCode> => {
  try {
    return await dispatch(args, io)
  } catch (failure) {
    const error = asDproxyError(io.interrupted.aborted ? io.interrupted.reason : failure)
    if (error.code !== 'INTERRUPTED') io.err.write(failureText(error, paintFor(io.err)))
    if (error.code === 'INTERNAL' && io.env.DPROXY_DEBUG) io.err.write(`${printableStack(failure)}\n`)
    return exitCodeOf(error.code)
  }
}

const dispatch = async (args: readonly string[], io: Io): Promise<ExitCode> => {
  const meant = commandIn(args)
  // `--config FILE` before the verb would make FILE look like the verb: then yargs finds out.
  if (meant.unknown !== undefined && !args.includes('--config')) throw unknownVerb(meant)
  const { chosen, printed } = await parsed(args, meant, io)
  if (!chosen) {
    io.out.write(printed === '' ? (await parsed(['--help'], meant, io)).printed : printed)
    return printed === '' ? 2 : 0
  }
  const { path, command, words } = chosen
  if (!command.run) {
    io.out.write((await parsed([...path, '--help'], meant, io)).printed)
    return 2
  }
  refuseRepeated(command, words)
  return command.run(withWordsAfterDashes(path, command, words), io)
}

/** What the first words of a command line name. */
interface Meant {
  /** The verbs that were understood: `['host', 'add']`. */
  readonly path: readonly string[]
  readonly command: Command | undefined
  /** The commands among which the next verb was looked for, and the word that is none of them. */
  readonly among: readonly Command[]
  readonly unknown: string | undefined
}

const commandIn = (args: readonly string[]): Meant => {
  const words = args.filter((word) => !word.startsWith('-'))
  const path: string[] = []
  let command: Command | undefined
  let among = COMMANDS
  for (const word of words) {
    const next = commandNamed(among, word)
    if (!next) return { path, command, among, unknown: word }
    path.push(verbOf(next))
    command = next
    if (!next.subcommands) break
    among = next.subcommands
  }
  return { path, command, among, unknown: undefined }
}

interface Chosen {
  readonly path: readonly string[]
  readonly command: Command
  readonly words: Words
}

/** What yargs makes of a command line: a command with its words, or the help that was asked for. */
const parsed = async (
  args: readonly string[],
  meant: Meant,
  io: Io,
): Promise<{ chosen: Chosen | undefined; printed: string }> => {
  let chosen: Chosen | undefined
  const parser = build(io, (taken) => {
    chosen = taken
  })
  const printed = await new Promise<string>((resolve, reject) => {
    void parser.parse([...args], {}, (failure, _, output) => {
      if (failure) reject(usageError(failure, { ...meant, options: optionsOf(meant), args }))
      else resolve(output === '' ? '' : `${output}\n`)
    })
  })
  return { chosen, printed }
}

const optionsOf = ({ command }: Meant): string[] => [
  ...Object.keys(GLOBAL_OPTIONS),
  ...Object.keys(command?.options ?? {}),
  'help',
  'version',
]

/** What stands behind `--` are words too, whatever they begin with; yargs would drop them without a sound. */
const withWordsAfterDashes = (path: readonly string[], { usage }: Command, words: Words): Words => {
  const rest = strings(words['--'])
  if (rest.length === 0) return words
  const [, list] = /\[(\w+)\.\.\]$/u.exec(usage) ?? []
  if (list !== undefined) return { ...words, [list]: [...strings(words[list]), ...rest] }
  throw new DproxyError('USAGE', `there is no place for the word "${printable(rest[0] ?? '')}" here`, {
    hint: helpFor(path),
  })
}

/** yargs makes a list of an option that is given twice; taking one of the two in silence would be a guess. */
const refuseRepeated = (command: Command, words: Words): void => {
  const options: Record<string, Options> = { ...GLOBAL_OPTIONS, ...command.options }
  const name = Object.keys(options).find(
    (option) => options[option]?.array !== true && Array.isArray(words[option]),
  )
  if (name !== undefined)
    throw new DproxyError('USAGE', `--${name} was given more than once`, { hint: 'give it once' })
}

const unknownVerb = ({ path, among, unknown = '' }: Meant): DproxyError => {
  const near = nearest(unknown, wordsFor(among))
  const what = `there is no command "${printable([...path, unknown].join(' '))}"`
  return new DproxyError('USAGE', near === undefined ? what : `${what}; did you mean "${near}"?`, {
    hint: path.length === 0 ? 'dproxy --help lists them' : `${helpFor(path)} lists them`,
  })
}

const GLOBAL_OPTIONS = {
  config: { type: 'string', requiresArg: true, describe: 'The config file to use, and no other' },
  json: {
    type: 'boolean',
    default: false,
    describe: 'Print JSON: one document; with --watch and logs one a line',
  },
  quiet: {
    type: 'boolean',
    alias: 'q',
    default: false,
    describe: 'Less talk: no progress and no notes, and no table from up',
  },
  'no-color': { type: 'boolean', describe: 'No colours, as with NO_COLOR in the environment' },
} as const

type Choose = (chosen: Chosen) => void

const build = (io: Io, choose: Choose): Argv => {
  const parser = yargs()
    .scriptName('dproxy')
    .usage(
      '$0 COMMAND\n\nMakes every remote Docker engine local: one SSH link per host, one Unix socket each.',
    )
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'parse-positional-numbers': false,
      'strip-aliased': true,
      // Else `--tag eu prod` would make prod a tag.
      'greedy-arrays': false,
      'populate--': true,
    })
    .options(GLOBAL_OPTIONS)
    .group(Object.keys(GLOBAL_OPTIONS), 'Everywhere:')
    .version(io.version)
    .alias('help', 'h')
    .exitProcess(false)
    .strict()
    .wrap(Math.min(io.out.columns, 110))
    .showHelpOnFail(false)
    .epilogue(
      'Exit codes: 0 done, 1 failed, 2 wrong usage or config, 3 some hosts failed, 4 login or host key refused,\n5 supervisor unreachable, 130 interrupted.',
    )
    .locale('en')
  for (const command of COMMANDS) declare(parser, [], command, choose)
  return parser
}

const declare = (parser: Argv, above: readonly string[], command: Command, choose: Choose): void => {
  const path = [...above, verbOf(command)]
  parser.command(
    [command.usage, ...(command.aliases ?? [])],
    // yargs hides a command whose description is false; its types know that only of another overload.
    (command.summary ?? false) as string,
    (builder) => {
      for (const inner of command.subcommands ?? []) declare(builder, path, inner, choose)
      for (const [name, describe] of Object.entries(command.positionals ?? {}))
        builder.positional(name, { type: 'string', describe })
      for (const [line, does] of command.examples ?? []) builder.example(line, does)
      return builder
        .options({ ...command.options })
        .usage(`$0 ${[...above, command.usage].join(' ')}\n\n${command.summary ?? ''}`)
        .epilogue('')
    },
    (words) => choose({ path, command, words: words as unknown as Words }),
  )
}

const printableStack = (failure: unknown): string =>
  failure instanceof Error ? (failure.stack ?? '') : String(failure)
