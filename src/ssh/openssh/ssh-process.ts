import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { removeLaneDir } from './lane-dir.js'

export interface SshProcessOptions {
  readonly words: readonly string[]
  /** Where it runs, and what is removed with it. */
  readonly dir: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Hears what it says on stderr. */
  readonly onSaid: (chunk: Buffer) => void
}

/**
 * A running `ssh`, and whatever it starts itself (proxy commands, jump hosts): one group of processes that
 * leaves nothing behind, neither when it is told to end nor when this process is killed.
 */
export class SshProcess {
  /** Resolves when it has ended and all that it said has been heard. */
  readonly ended: Promise<void>
  /** Resolves when its directory is gone too. */
  readonly gone: Promise<void>
  readonly #child: ChildProcess
  readonly #leash: Writable

  static start(options: SshProcessOptions): SshProcess {
    return new SshProcess(options)
  }

  private constructor({ words, dir, env, onSaid }: SshProcessOptions) {
    // A session of its own: no terminal that it could ask at, and a group that can be ended as one.
    this.#child = spawn('sh', ['-c', KEEPER, 'dproxy-ssh', dir, 'ssh', ...words], {
      cwd: dir,
      env,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    })
    const [, , said, leash] = this.#child.stdio as unknown as [null, null, Readable, Writable]
    this.#leash = leash
    // The keeper may have gone already.
    leash.on('error', () => undefined)
    said.on('data', onSaid).on('error', () => undefined)
    this.ended = this.#watch(said)
    this.gone = this.ended.then(() => removeLaneDir(dir)).catch(() => undefined)
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Ends it: politely, and by force after a second. */
  stop(): void {
    this.#leash.destroy()
    setTimeout(() => this.#kill(), KILL_AFTER_MS).unref()
  }

  async #watch(said: Readable): Promise<void> {
    const silent = once(said, 'close').catch(() => undefined)
    await new Promise<void>((resolve) => {
      this.#child.once('error', () => resolve())
      this.#child.once('exit', () => resolve())
    })
    this.#leash.destroy()
    // Something that it started may have left the group and still hold the other end.
    await Promise.race([silent, sleep(LAST_WORDS_MS)])
    said.destroy()
  }

  /** For a keeper that cannot do it: it was stopped, or killed by somebody else. */
  #kill(): void {
    const { pid, exitCode, signalCode } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // It has just ended.
    }
  }
}

const KILL_AFTER_MS = 3000
const LAST_WORDS_MS = 200

// Descriptor 3 ends when we end it, or when the kernel does because we were killed. Signal 0's group is all
// that was started here, so nothing else can be hit by a process id that was given away again.
const KEEPER = `dir=$1; shift
clean() { rm -f c; cd / && rmdir "$dir"; kill -9 0; }
"$@" </dev/null 3<&- & ssh=$!
exec 2>/dev/null
{ read -r _ <&3; kill "$ssh"; sleep 1; kill -9 "$ssh"; sleep 1; clean; } &
wait "$ssh"
clean`
