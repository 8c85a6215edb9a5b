import type { Env } from '../base/paths.js'

/** One of the two output streams, as a command sees it. */
export interface Output {
  readonly isTTY: boolean
  /** Columns and rows of the terminal; 80 by 24 where there is none. */
  readonly columns: number
  readonly rows: number
  /** Whether colours are wanted here: a terminal, no NO_COLOR, no --no-color. */
  readonly colors: boolean
  write(text: string): void
}

/** All that a command may touch of the process it runs in. Data goes to `out`, talk to `err`. */
export interface Io {
  readonly env: Env
  readonly cwd: string
  /** Node and our main file: how to start ourselves again. */
  readonly self: readonly [node: string, main: string]
  readonly pid: number
  readonly version: string
  readonly out: Output
  readonly err: Output
  /** Asks a person; undefined when nobody can answer (standard input or error is no terminal). */
  readonly ask: ((question: string, signal?: AbortSignal) => Promise<string>) | undefined
  /** As `ask`, but what is typed is not shown. */
  readonly askSecret: ((question: string, signal?: AbortSignal) => Promise<string>) | undefined
  /** All of standard input, as UTF-8; for secrets and lists that are piped in. */
  readonly readStdin: () => Promise<string>
  /** Aborts at the first Ctrl-C or SIGTERM, with an INTERRUPTED error, or when nobody reads our output. */
  readonly interrupted: AbortSignal
  /** Hears of exceptions that nobody caught, from now on; the process ends with 1 unless it resolves with true. */
  readonly onCrash: (listener: (failure: unknown) => Promise<boolean>) => void
  /** Hears every Ctrl-C, SIGTERM and SIGHUP from now on; `interrupted` is left alone then. */
  readonly onStop: (listener: (signal: NodeJS.Signals) => void) => void
}

/** What every command is given beside its own words. */
export interface GlobalWords {
  readonly config?: string | undefined
  readonly json: boolean
  readonly quiet: boolean
}
