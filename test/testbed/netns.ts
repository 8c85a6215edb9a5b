import { execFile } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { promisify } from 'node:util'
import { Kept } from './kept.js'
import { program } from './parts.js'
import { commandOf } from './processes.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/**
 * A network namespace that lives as long as its scope and whatever still runs in it; root only. It has no name
 * (see ip-netns(8)): a process holds it, and one that holds it cannot outlive us. So nothing stays behind, and no
 * two of them can collide, whatever addresses they use.
 */
export class Netns implements AsyncDisposable {
  /** Its own address, once it is wired to another one. */
  readonly address: string
  /** The process that holds it; ip-link(8) takes it for a name. */
  readonly pid: number
  /** Words to put in front of a command that shall run in it; nothing else of that command changes. */
  readonly launcher: readonly string[]
  readonly #kept: Kept

  static async create(address: string): Promise<Netns> {
    const dir = await TempDir.create()
    const kept = Kept.start(['unshare', '--net', '--', 'sleep', 'infinity'], {
      dir: dir.path,
      log: '/dev/null',
    })
    try {
      const pid = await until('a process holds the namespace', () => kept.pids().find(holds))
      const netns = new Netns(address, pid, kept)
      await netns.run('ip', 'link', 'set', 'lo', 'up')
      return netns
    } catch (failure) {
      await kept[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(address: string, pid: number, kept: Kept) {
    this.address = address
    this.pid = pid
    this.launcher = [program('nsenter') ?? 'nsenter', `--net=${this.path}`, '--']
    this.#kept = kept
  }

  /** The namespace itself, for setns(2). */
  get path(): string {
    return `/proc/${this.pid}/ns/net`
  }

  /** Runs a program in it and returns what it printed; anything but exit code 0 rejects. */
  async run(name: string, ...words: readonly string[]): Promise<string> {
    const [file = '', ...rest] = [...this.launcher, program(name) ?? name, ...words]
    const { stdout } = await promisify(execFile)(file, rest)
    return stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
  }
}

const holds = (pid: number): boolean => {
  try {
    return (
      commandOf(pid) === 'sleep infinity' &&
      readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync('/proc/self/ns/net')
    )
  } catch {
    return false
  }
}
