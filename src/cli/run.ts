import yargs, { type Argv } from 'yargs'
import { asDproxyError, DproxyError, exitCodeOf, type ExitCode } from '../base/errors.js'
import { printable } from '../base/text.js'
import { nearest } from '../registry/nearest.js'
import { strings, type Command, type Words } from './command.js'
import type { Io } from './io.js'
import { failureText, paintFor } from './paint.js'
import { COMMANDS, VERBS, verbOf } from './table.js'

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
  const verb = args.find((word) => !word.startsWith('-'))
  const command = COMMANDS.find(
    (each) => verbOf(each) === verb || (verb !== undefined && each.aliases?.includes(verb)),
  )
  // `--config FILE` before the verb would make FILE look like the verb: then yargs finds out.
  if (!command && verb !== undefined && !args.includes('--config')) throw unknownVerb(verb)
  let chosen: { command: Command; words: Words } | undefined
  const parser = build(io, (taken, words) => {
    chosen = { command: taken, words }
  })
  const printed = await new Promise<string>((resolve, reject) => {
    void parser.parse([...args], {}, (failure, _, output) => {
      if (failure) reject(usageError(failure, command))
      else resolve(output)
    })
  })
  if (!chosen) {
    io.out.write(printed === '' ? `${await parser.getHelp()}\n` : `${printed}\n`)
    return printed === '' ? 2 : 0
  }
  refuseRepeated(chosen.command, chosen.words)
  return chosen.command.run(withWordsAfterDashes(chosen.command, chosen.words), io)
}

/** What stands behind `--` are words too, whatever they begin with; yargs would drop them without a sound. */
const withWordsAfterDashes = ({ usage }: Command, words: Words): Words => {
  const rest = strings(words['--'])
  if (rest.length === 0) return words
  const [, list] = /\[(\w+)\.\.\]$/u.exec(usage) ?? []
  if (list !== undefined) return { ...words, [list]: [...strings(words[list]), ...rest] }
  throw new DproxyError('USAGE', `there is no place for the word "${printable(rest[0] ?? '')}" here`, {
    hint: `dproxy ${usage.split(' ')[0]} --help`,
  })
}

/** yargs makes a list of an option that is given twice; taking one of the two in silence would be a guess. */
const refuseRepeated = (command: Command, words: Words): void => {
  const options = { ...GLOBAL_OPTIONS, ...command.options }
  const name = Object.keys(options).find((option) => Array.isArray(words[option]))
  if (name !== undefined)
    throw new DproxyError('USAGE', `--${name} was given more than once`, { hint: 'give it once' })
}

const unknownVerb = (verb: string): DproxyError => {
  const near = nearest(verb, VERBS)
  const what = `there is no command "${printable(verb)}"`
  return new DproxyError('USAGE', near === undefined ? what : `${what}; did you mean "${near}"?`, {
    hint: 'dproxy --help lists them',
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

const build = (io: Io, choose: (command: Command, words: Words) => void): Argv => {
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
  for (const command of COMMANDS) declare(parser, command, choose)
  return parser
}

const declare = (parser: Argv, command: Command, choose: (command: Command, words: Words) => void): void => {
  parser.command(
    [command.usage, ...(command.aliases ?? [])],
    // yargs hides a command whose description is false; its types know that only of another overload.
    (command.summary ?? false) as string,
    (builder) => {
      for (const [name, describe] of Object.entries(command.positionals ?? {}))
        builder.positional(name, { type: 'string', describe })
      for (const [line, does] of command.examples ?? []) builder.example(line, does)
      return builder
        .options({ ...command.options })
        .usage(`$0 ${command.usage}\n\n${command.summary ?? ''}`)
        .epilogue('')
    },
    (words) => choose(command, words as unknown as Words),
  )
}

/** yargs' complaint as one sentence of ours, with the nearest word that exists. */
const usageError = ({ message }: Error, command: Command | undefined): DproxyError => {
  const help = `dproxy ${command ? `${verbOf(command)} ` : ''}--help`
  const [, unfinished] = /^Not enough arguments following: (.+)$/u.exec(message) ?? []
  if (unfinished !== undefined)
    return new DproxyError('USAGE', `--${printable(unfinished)} needs a value`, { hint: help })
  const [, unknown] = /^Unknown arguments?: (.+)$/u.exec(message) ?? []
  if (unknown === undefined) {
    return new DproxyError('USAGE', printable(message.split('\n').join(' ')), { hint: help })
  }
  const [word = unknown] = unknown.split(', ')
  const options = [...Object.keys(GLOBAL_OPTIONS), ...Object.keys(command?.options ?? {}), 'help', 'version']
  const near = nearest(word, options)
  const what =
    options.length > 0 && word.length > 1
      ? `there is no option or word "${printable(word)}" here`
      : `there is no option -${printable(word)} here`
  return new DproxyError('USAGE', near === undefined ? what : `${what}; did you mean "--${near}"?`, {
    hint: help,
  })
}

const printableStack = (failure: unknown): string =>
  failure instanceof Error ? (failure.stack ?? '') : String(failure)
