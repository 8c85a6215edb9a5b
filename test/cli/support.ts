import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExitCode } from '../../src/base/errors.js'
import type { Io } from '../../src/cli/io.js'
import { runCommandLine } from '../../src/cli/run.js'
import { TempDir } from '../testbed/temp-dir.js'

export interface Said {
  code: ExitCode
  out: string
  err: string
}

/** A command line in this process, with a home of its own: what it prints is kept. */
export class Desk implements AsyncDisposable {
  readonly dir: string
  readonly env: Record<string, string>
  /** What a person answers; undefined: nobody is there. */
  answer: string | undefined
  /** What is piped in. */
  stdin = ''
  readonly interrupt = new AbortController()
  readonly #dir: TempDir

  static async create(config?: string): Promise<Desk> {
    const dir = await TempDir.create()
    const desk = new Desk(dir)
    await mkdir(join(dir.path, '.config/dproxy'), { recursive: true })
    if (config !== undefined) await writeFile(join(dir.path, '.config/dproxy/config.yaml'), config)
    return desk
  }

  private constructor(dir: TempDir) {
    this.#dir = dir
    this.dir = dir.path
    this.env = { HOME: dir.path, DPROXY_RUNTIME_DIR: join(dir.path, 'run'), SHELL: '/bin/bash' }
  }

  async runs(...args: string[]): Promise<Said> {
    let out = ''
    let err = ''
    const code = await runCommandLine(
      args,
      this.io(
        (text) => (out += text),
        (text) => (err += text),
      ),
    )
    return { code, out, err }
  }

  io(out: (text: string) => void, err: (text: string) => void): Io {
    const { answer } = this
    return {
      env: this.env,
      cwd: this.dir,
      // Nothing here starts a process.
      self: ['/bin/false', '/bin/false'],
      pid: 1,
      version: '1.2.3',
      out: output(out),
      err: output(err),
      ask: answer === undefined ? undefined : async () => answer,
      askSecret: answer === undefined ? undefined : async () => answer,
      readStdin: async () => this.stdin,
      interrupted: this.interrupt.signal,
      onStop: () => undefined,
      onCrash: () => undefined,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]()
  }
}

const output = (write: (text: string) => void) => ({
  isTTY: false,
  columns: 80,
  rows: 24,
  colors: false,
  write,
})
