#!/usr/bin/env node
/** argv in, exit code out: the only reader of the process's arguments, signals and streams. */
import { setMaxListeners } from 'node:events'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isatty, type WriteStream } from 'node:tty'
import { promptAt } from './cli/prompt.js'
import { runCommandLine } from './cli/run.js'
import type { Io, Output } from './cli/io.js'
import { DproxyError, errnoOf } from './base/errors.js'

// What a shell reports for a program that SIGPIPE ended; Node ignores that signal and sees EPIPE instead.
const NOBODY_READS = 141

const args = process.argv.slice(2)
const interrupt = new AbortController()
setMaxListeners(0, interrupt.signal) // one for each request under way
const stopListeners: ((signal: NodeJS.Signals) => void)[] = []

const outputOf = (stream: WriteStream, fd: number): Output => ({
  isTTY: isatty(fd),
  get columns() {
    return stream.columns || 80
  },
  get rows() {
    return stream.rows || 24
  },
  colors: isatty(fd) && !process.env.NO_COLOR && !args.includes('--no-color'),
  write: (text) => void stream.write(text),
})

/** The environment; a relative run directory counts from here, also for the supervisor, which runs elsewhere. */
const environment = (): NodeJS.ProcessEnv => {
  const { DPROXY_RUNTIME_DIR: dir } = process.env
  return dir ? { ...process.env, DPROXY_RUNTIME_DIR: resolve(dir) } : process.env
}

const stop = (signal: NodeJS.Signals): void => {
  if (stopListeners.length > 0) for (const listener of stopListeners) listener(signal)
  else if (interrupt.signal.aborted) process.exit(130)
  else interrupt.abort(new DproxyError('INTERRUPTED', 'interrupted'))
}

const terminal = {
  input: process.stdin,
  output: process.stderr,
  interrupt: () => stop('SIGINT'),
}

const askWith =
  (echo: boolean) =>
  (question: string, signal?: AbortSignal): Promise<string> =>
    promptAt(terminal, question, {
      echo,
      signal: signal ? AbortSignal.any([interrupt.signal, signal]) : interrupt.signal,
    })

// A secret is a line; whoever pipes in more has named the wrong file.
const LONGEST_INPUT = 1024 * 1024

const readStdin = async (): Promise<string> => {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > LONGEST_INPUT) throw new DproxyError('USAGE', 'standard input is longer than 1 MiB')
  }
  try {
    // Anything else would be stored as something else, without a word.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new DproxyError('USAGE', 'standard input is not UTF-8 text', { hint: 'convert it: iconv -t UTF-8' })
  }
}

const failedToWrite = (name: string) => (failure: Error) => {
  // Whoever serves others goes on when nobody reads its log any more, or its terminal has gone.
  if (stopListeners.length > 0) return
  const errno = errnoOf(failure)
  if (errno !== 'EPIPE' && name === 'standard output' && !interrupt.signal.aborted) {
    process.stderr.write(`dproxy: cannot write to ${name}: ${errno ?? failure.message}\n`)
  }
  process.exitCode = errno === 'EPIPE' ? NOBODY_READS : 1
  interrupt.abort(new DproxyError('INTERRUPTED', 'nobody reads the output any more'))
}

process.stdout.on('error', failedToWrite('standard output'))
process.stderr.on('error', failedToWrite('standard error'))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(signal))

const main = fileURLToPath(import.meta.url)
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}
const isPerson = process.stdin.isTTY && process.stderr.isTTY
const io: Io = {
  env: environment(),
  cwd: process.cwd(),
  self: [process.execPath, main],
  pid: process.pid,
  version,
  out: outputOf(process.stdout, 1),
  err: outputOf(process.stderr, 2),
  ask: isPerson ? askWith(true) : undefined,
  askSecret: isPerson ? askWith(false) : undefined,
  readStdin,
  interrupted: interrupt.signal,
  onCrash: (listener) => {
    process.on('uncaughtException', (failure) => {
      void listener(failure).then((survives) => survives || process.exit(1))
    })
  },
  onStop: (listener) => void stopListeners.push(listener),
}
const code = await runCommandLine(args, io)
process.exitCode ??= code
