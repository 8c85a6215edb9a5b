import { readFile, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { basename, join } from 'node:path'
import { Kept } from './kept.js'
import { program } from './parts.js'
import { commandOf } from './processes.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/**
 * A real Docker engine with everything of its own: data, socket, containerd, namespaces, control groups.
 * It needs root and no network. With its scope it goes, its containers and its data with it.
 */
export class Dockerd implements AsyncDisposable {
  readonly dir: string
  /** The Unix socket it serves. */
  readonly socket: string
  readonly logPath: string
  readonly #dir: TempDir
  #kept: Kept

  static async start(): Promise<Dockerd> {
    const dir = await TempDir.create()
    try {
      // An empty file of ours instead of the machine's own configuration.
      await writeFile(join(dir.path, 'daemon.json'), '{}')
      return new Dockerd(dir, await launch(dir.path))
    } catch (failure) {
      await dir[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(dir: TempDir, kept: Kept) {
    this.#dir = dir
    this.#kept = kept
    this.dir = dir.path
    this.socket = socketIn(dir.path)
    this.logPath = logIn(dir.path)
  }

  /** The engine's process: send it SIGSTOP for an engine that hangs, SIGCONT to let it go on. */
  pid(): number {
    const pid = this.pids().find((each) => /^\S*dockerd /u.test(commandOf(each)))
    if (pid === undefined) throw new Error(`dockerd does not run (${this.logPath})`)
    return pid
  }

  /** All its processes: containerd, shims and what runs in containers too. */
  pids(): number[] {
    return this.#kept.pids()
  }

  /** Ends it and its containers at once, as a power cut does: its socket stays behind, dead. */
  async kill(): Promise<void> {
    await this.#kept.endButKeepDir()
  }

  /** The engine again, with its images and (stopped) containers. */
  async restart(): Promise<void> {
    await this.kill()
    this.#kept = await launch(this.dir)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}

const socketIn = (dir: string): string => join(dir, 'docker.sock')
const logIn = (dir: string): string => join(dir, 'dockerd.log')

const launch = async (dir: string): Promise<Kept> => {
  const log = logIn(dir)
  const kept = Kept.start(['sh', '-c', APART, 'sh', ...commandLine(dir)], { dir, log })
  try {
    const answering = until(`dockerd answers (${log})`, () => answers(socketIn(dir)), 60_000)
    await Promise.race([answering, kept.exited.then((code) => explain(code, log))])
    return kept
  } catch (failure) {
    await kept.endButKeepDir()
    throw failure
  }
}

const commandLine = (dir: string): string[] =>
  [
    [program('dockerd') ?? 'dockerd', '--config-file', join(dir, 'daemon.json')],
    ['--data-root', join(dir, 'data'), '-H', `unix://${socketIn(dir)}`],
    // Pids in files mean nothing to the next process namespace: they must not survive a kill.
    ['--exec-root', '/run/docker-exec', '--pidfile', '/run/dockerd.pid'],
    // No network of its own, and no say over the machine's.
    ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-masq=false'],
    // Named after the directory, so that keep.sh finds what the kernel keeps of them.
    ['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${basename(dir)}`],
  ].flat()

// In its own mount namespace: what it writes to /run and /etc/docker is not the machine's, and goes with it.
const APART =
  'mount -t tmpfs none /run && if [ -d /etc/docker ]; then mount -t tmpfs none /etc/docker; fi && exec "$@"'

const answers = (socketPath: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const request = get({ socketPath, path: '/_ping', timeout: 1000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on('timeout', () => request.destroy(new Error('no answer within a second'))).on('error', reject)
  })

const explain = async (code: number, log: string): Promise<never> => {
  const said = await readFile(log, 'utf8')
  throw new Error(`dockerd ended with ${code}: ${said.slice(-2000)}`)
}
