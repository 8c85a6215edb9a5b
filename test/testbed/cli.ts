import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { HOST_NAMES, type HostName, type TestHost, type TestHosts } from './hosts.js'
import { Kept } from './kept.js'
import type { Netns } from './netns.js'
import { program } from './parts.js'
import { withEnvironment } from './processes.js'
import { Pty } from './pty.js'
import { TempDir } from './temp-dir.js'

export interface RunOptions {
  /** Its standard input; `open`: the test writes to it. Nothing to read unless told. */
  input?: Uint8Array | 'open'
  /** On top of the world's own environment. */
  env?: Record<string, string>
  cwd?: string
  /** Past this it is killed. 45 s unless told: less than a test may take, so that the test can say what hung. */
  timeoutMs?: number
}

export interface WorldOptions {
  /** The network that dproxy runs in; ours unless told. Its sockets are files, and reached from anywhere. */
  netns?: Netns
}

export interface Finished {
  /** undefined when a signal ended it. */
  exitCode: number | undefined
  stdout: string
  stderr: string
  timedOut: boolean
}

/**
 * A user's account of its own for dproxy and docker: home, configuration, state, sockets, all in one
 * directory. Whatever was started in it, a supervisor too, is gone with its scope.
 */
export class World implements AsyncDisposable {
  readonly dir: string
  /** The whole environment of what runs here. */
  readonly env: Record<string, string>
  readonly configPath: string
  readonly controlSocket: string
  readonly #dir: TempDir
  readonly #kept: Kept
  readonly #launcher: readonly string[]

  static async create({ netns }: WorldOptions = {}): Promise<World> {
    const dir = await TempDir.create()
    for (const name of ['home', 'work', 's', 'config/dproxy'])
      await mkdir(join(dir.path, name), { recursive: true })
    return new World(dir, netns)
  }

  private constructor(dir: TempDir, netns: Netns | undefined) {
    this.#dir = dir
    this.#launcher = netns?.launcher ?? []
    this.dir = dir.path
    this.env = environmentIn(dir.path)
    this.configPath = join(dir.path, 'config/dproxy/config.yaml')
    this.controlSocket = join(dir.path, 'run/control.sock')
    // It runs nothing: it is here to clean up when this process is killed.
    this.#kept = Kept.start(['true'], { dir: dir.path, log: '/dev/null', apart: false })
  }

  /** Where `configure` puts the socket of a host. */
  socket(name: string): string {
    return join(this.dir, 's', `${name}.sock`)
  }

  /** Writes the user's own configuration file: a document, or text as it is. */
  async config(document: object | string): Promise<void> {
    await writeFile(this.configPath, typeof document === 'string' ? document : stringify(document))
  }

  /** Writes a configuration that names the two hosts; `more` goes into each entry. */
  async configure(hosts: TestHosts, more: object = {}): Promise<void> {
    const entries = HOST_NAMES.map((name) => [name, { ...this.entry(name, hosts[name]), ...more }])
    await this.config({ hosts: Object.fromEntries(entries) })
  }

  /** The entry of one host for a configuration file. */
  entry(name: string, { host, port, user, keyFile, knownHostsFile, remoteSocket }: TestHost): object {
    return {
      ssh: `ssh://${user}@${host.includes(':') ? `[${host}]` : host}:${port}`,
      identityFile: keyFile,
      identitiesOnly: true,
      knownHostsFile,
      remoteSocket,
      socket: this.socket(name),
    }
  }

  /** Runs dproxy to its end; whatever that is, it is a result. */
  dproxy(args: readonly string[], options?: RunOptions): Promise<Finished> {
    return finished(this.start(args, options))
  }

  /** Starts dproxy; for what runs until it is told to stop. */
  start(args: readonly string[], options?: RunOptions): Running {
    const [file = '', ...words] = [...this.#launcher, process.execPath, DPROXY, ...args]
    return this.spawn(file, words, options)
  }

  /** Runs docker against a host's socket to its end; whatever that is, it is a result. */
  docker(name: HostName, args: readonly string[], options?: RunOptions): Promise<Finished> {
    return finished(this.startDocker(name, args, options))
  }

  startDocker(name: HostName, args: readonly string[], options: RunOptions = {}): Running {
    return this.spawn(DOCKER, args, { ...options, env: { ...this.dockerEnv(name), ...options.env } })
  }

  /** docker under a terminal. */
  dockerPty(name: HostName, args: readonly string[]): Pty {
    return Pty.start([DOCKER, ...args], {
      env: { ...this.env, ...this.dockerEnv(name) },
      cwd: join(this.dir, 'work'),
    })
  }

  /** What makes docker talk to a host. */
  dockerEnv(name: string): Record<string, string> {
    return { DOCKER_HOST: `unix://${this.socket(name)}` }
  }

  /** Starts any program in this world. */
  spawn(file: string, args: readonly string[], options: RunOptions = {}): Running {
    const { env, cwd = join(this.dir, 'work') } = options
    return run(file, args, { ...options, cwd, env: { ...this.env, ...env } })
  }

  /** Everything that runs in this world: a supervisor, or nothing once it was told to go. */
  processes(): number[] {
    return withEnvironment('TESTBED', this.dir)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Politely first: a supervisor that cannot leave by itself shows in the tests that ask for it.
    if (existsSync(this.controlSocket)) {
      await this.dproxy(['down', '--all', '--drain', '0s', '--yes'], { timeoutMs: 10_000 })
    }
    await this.#kept[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}

// DPROXY_MAIN: an installed dproxy instead of the one built here.
const DPROXY = process.env.DPROXY_MAIN ?? fileURLToPath(new URL('../../dist/main.js', import.meta.url))
const DOCKER = program('docker') ?? 'docker'

const environmentIn = (dir: string): Record<string, string> => ({
  PATH: process.env.PATH ?? '/usr/bin:/bin',
  LANG: 'C.UTF-8',
  TERM: 'xterm',
  SHELL: '/bin/sh',
  HOME: join(dir, 'home'),
  XDG_CONFIG_HOME: join(dir, 'config'),
  XDG_STATE_HOME: join(dir, 'state'),
  XDG_CACHE_HOME: join(dir, 'cache'),
  XDG_RUNTIME_DIR: dir,
  DPROXY_RUNTIME_DIR: join(dir, 'run'),
  DOCKER_CONFIG: join(dir, 'docker'),
  // The mark by which keep.sh and `processes` find what belongs to this world.
  TESTBED: dir,
})

type Running = ReturnType<typeof run>

const run = (
  file: string,
  args: readonly string[],
  { input, env = {}, cwd = '/', timeoutMs = 45_000 }: RunOptions,
) =>
  execa(file, args, {
    ...(input === 'open' ? {} : { input: input ?? '' }),
    cwd,
    env,
    extendEnv: false,
    reject: false,
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })

const finished = async (running: Running): Promise<Finished> => {
  const { exitCode, stdout, stderr, timedOut } = await running
  return { exitCode, stdout, stderr, timedOut }
}
