import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { until } from './until.js'

export interface PtyOptions {
  env?: Record<string, string>
  cwd?: string
  rows?: number
  columns?: number
}

/** A command under a real pseudo-terminal (script(1) holds it), and somebody who types. */
export class Pty implements AsyncDisposable {
  /** Resolves with the command's exit code; 128 and its number after a signal. */
  readonly exitCode: Promise<number>
  readonly #script: ChildProcess
  #output = ''
  #read = 0

  static start(command: readonly string[], options: PtyOptions = {}): Pty {
    const { env, cwd, rows = 24, columns = 80 } = options
    // sane: script(1) switches the echo off when its own input is not a terminal.
    const line = `stty sane rows ${rows} columns ${columns}; exec ${command.map(quote).join(' ')}`
    return new Pty(
      spawn('script', ['-qefc', line, '/dev/null'], { env, cwd, stdio: ['pipe', 'pipe', 'inherit'] }),
    )
  }

  private constructor(script: ChildProcess) {
    this.#script = script
    this.exitCode = once(script, 'close').then(([code]) => Number(code))
    script.stdout!.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    script.stdin!.on('error', () => {})
  }

  /** All that appeared on the screen so far, control sequences included. */
  get output(): string {
    return this.#output
  }

  /** Presses keys; `\r` is Enter, `\x03` Ctrl-C, `\x04` Ctrl-D. */
  type(text: string): void {
    this.#script.stdin!.write(text)
  }

  /** Waits until `pattern` appears in what no earlier call has seen; returns the match. */
  async sees(pattern: RegExp, ms = 20_000): Promise<RegExpExecArray> {
    const look = () => pattern.exec(this.#output.slice(this.#read)) ?? undefined
    const found = await until(`${String(pattern)} on the screen`, look, ms).catch((cause: unknown) => {
      throw new Error(`the screen shows: ${JSON.stringify(this.#output)}`, { cause })
    })
    this.#read += found.index + found[0].length
    return found
  }

  /** Closes the terminal's window: the system hangs up on what runs in it. */
  hangUp(): void {
    this.#script.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#script.kill('SIGKILL')
    await this.exitCode
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`
