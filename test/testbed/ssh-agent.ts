import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { answers } from '../../src/base/unix-socket/path.js'
import { Kept } from './kept.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/** A real ssh-agent, empty at first, gone with its scope. */
export class SshAgent implements AsyncDisposable {
  readonly socket: string
  readonly #dir: TempDir
  readonly #kept: Kept

  static async start(): Promise<SshAgent> {
    const dir = await TempDir.create()
    const socket = join(dir.path, 'agent.sock')
    const words = ['ssh-agent', '-D', '-a', socket]
    const kept = Kept.start(words, { dir: dir.path, log: join(dir.path, 'log'), apart: false })
    const agent = new SshAgent(dir, socket, kept)
    await until('the agent listens', () => answers(socket))
    return agent
  }

  private constructor(dir: TempDir, socket: string, kept: Kept) {
    this.#dir = dir
    this.socket = socket
    this.#kept = kept
  }

  /** Runs ssh-add with `words`; whatever it asks for is answered with `answer`. */
  async add(words: readonly string[], answer = ''): Promise<void> {
    const askpass = join(this.#dir.path, 'askpass')
    await writeFile(`${askpass}.answer`, `${answer}\n`)
    await writeFile(askpass, `#!/bin/sh\ncat ${askpass}.answer\n`, { mode: 0o700 })
    const env = { PATH: process.env.PATH, SSH_AUTH_SOCK: this.socket, SSH_ASKPASS: askpass }
    await promisify(execFile)('ssh-add', ['-q', ...words], { env: { ...env, SSH_ASKPASS_REQUIRE: 'force' } })
  }

  lock(): Promise<void> {
    return this.add(['-x'], 'locked')
  }

  /** Ends it, and leaves a socket that nobody serves. */
  async stop(): Promise<void> {
    await this.#kept.endButKeepDir()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}
