import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { deferred } from '../../src/base/deferred.js'
import type { Netns } from './netns.js'
import { namespaces } from './parts.js'
import { descendants } from './processes.js'

export interface KeptOptions {
  /** Goes with the process. */
  dir: string
  /** Where the command's output is appended. */
  log: string
  /** In namespaces of its own; wherever they can be had, unless told. */
  apart?: boolean
  /** The network it sees: ours, unless told. */
  netns?: Netns | undefined
}

/**
 * A process that cannot outlive the one that started it, not even when that one is killed with -9; nor can
 * anything it forked or mounted. See keep.sh.
 */
export class Kept implements AsyncDisposable {
  /** The command's exit code, once it has ended by itself or was ended by us (137). */
  readonly exited: Promise<number>
  readonly #keeper: ChildProcess
  readonly #gone: Promise<unknown>

  static start(command: string[], { dir, log, apart = namespaces(), netns }: KeptOptions): Kept {
    const keep = ['sh', KEEP, apart ? 'yes' : 'no', dir, log, ...command]
    const [file = 'sh', ...words] = [...(netns?.launcher ?? []), ...keep]
    // A session of its own: the terminal's Ctrl-C reaches us alone, and our end ends the keeper.
    const keeper = spawn(file, words, { stdio: ['pipe', 'pipe', 'ignore'], detached: true })
    return new Kept(keeper)
  }

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper
    this.#gone = once(keeper, 'exit')
    const exited = deferred<number>()
    this.exited = exited.promise
    const lines = createInterface({ input: keeper.stdout! })
    lines.on('line', (line) => exited.resolve(Number(line.replace('exited ', ''))))
    // The keeper may be told to end when it is already gone.
    keeper.stdin!.on('error', () => {})
  }

  /** The processes of the command, its children and theirs, by their pids out here; parents first. */
  pids(): number[] {
    return this.#keeper.pid === undefined ? [] : descendants(this.#keeper.pid)
  }

  /** Ends the command and all that came of it, but leaves its directory. */
  async endButKeepDir(): Promise<void> {
    this.#keeper.stdin!.end('keep\n')
    await this.#gone
  }

  /** Ends the command and all that came of it, and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#keeper.stdin!.end()
    await this.#gone
  }
}

const KEEP = fileURLToPath(new URL('keep.sh', import.meta.url))
