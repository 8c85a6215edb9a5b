import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '../../src/base/errors.js'
import { TempDir } from './temp-dir.js'

export interface SmallDiskOptions {
  /** Bytes that files may hold together. */
  bytes?: number
  /** Files, directories and links that there may be. */
  inodes?: number
}

// Whoever started it holds its standard input, so that the disk goes with them, even when they are killed.
const KEEP = 'mount -t tmpfs -o "$2" tmpfs "$1" && echo up; read -r _; umount -l "$1"; rmdir "$1"'

/** A disk of its own (tmpfs), small enough to fill; root only. */
export class SmallDisk implements AsyncDisposable {
  /** Its root directory. */
  readonly path: string
  readonly #keeper: ChildProcess
  #fillers = 0

  static async mount({ bytes = 1024 * 1024, inodes = 256 }: SmallDiskOptions = {}): Promise<SmallDisk> {
    const { path } = await TempDir.create()
    const words = ['-c', KEEP, 'sh', path, `mode=0700,size=${bytes},nr_inodes=${inodes}`]
    // A session of its own: the terminal's Ctrl-C reaches us alone.
    const keeper = spawn('sh', words, { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
    const disk = new SmallDisk(path, keeper)
    const [said] = await Promise.race([once(keeper.stdout, 'data'), once(keeper, 'exit')])
    if (String(said) === 'up\n') return disk
    await disk[Symbol.asyncDispose]()
    throw new Error(`no disk could be mounted at ${path}`)
  }

  private constructor(path: string, keeper: ChildProcess) {
    this.path = path
    this.#keeper = keeper
  }

  /** Leaves no page: a file may grow to the end of its last one, and no further. */
  async fill(): Promise<void> {
    const { bavail, bsize } = await statfs(this.path)
    this.#write(Buffer.alloc(bavail * bsize))
  }

  /** Leaves no inode. */
  useAllInodes(): void {
    try {
      for (;;) this.#write('')
    } catch (failure) {
      if (errnoOf(failure) !== 'ENOSPC') throw failure
    }
  }

  /** Gives back what was taken. */
  async free(): Promise<void> {
    for (let at = 1; at <= this.#fillers; at += 1) await rm(this.#filler(at), { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#keeper.exitCode !== null) return
    const gone = once(this.#keeper, 'exit')
    this.#keeper.stdin?.end()
    await gone
  }

  #write(content: string | Buffer): void {
    this.#fillers += 1
    writeFileSync(this.#filler(this.#fillers), content)
  }

  #filler(at: number): string {
    return join(this.path, `.filler-${at}`)
  }
}
