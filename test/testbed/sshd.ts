import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PortTaken, onFreePort } from './free-port.js'
import { Kept } from './kept.js'
import type { Netns } from './netns.js'
import { commandOf } from './processes.js'
import { type SshdConfig, homeIn, launcherOf, sshdConfig } from './sshd-config.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

export type HostKeyType = 'ed25519' | 'ecdsa' | 'rsa'

export interface SshdOptions {
  /** Lines of sshd_config(5). They come first: sshd takes the first value it sees of most words. */
  options?: readonly string[]
  /** The kinds of host key it has; all three unless told. */
  hostKeyTypes?: readonly HostKeyType[]
  /** A Docker socket of this machine that its sessions see as /var/run/docker.sock; needs root. */
  dockerSocket?: string
  /** More sockets of this machine, by the paths in /run or the home directory at which its sessions see them. */
  sockets?: Readonly<Record<string, string>>
  /** The network it listens in, at that one's address; ours, at 127.0.0.1, unless told. */
  netns?: Netns
}

/**
 * A real OpenSSH server on a port of 127.0.0.1 or of another network, with throw-away keys, that lets the current
 * user in with one of them. It ends with its scope, its sessions and their commands with it.
 */
export class Sshd implements AsyncDisposable {
  readonly host: string
  readonly user = userInfo().username
  readonly port: number
  readonly dir: string
  /** The client's private key: OpenSSH format, ed25519, no passphrase. */
  readonly keyFile: string
  /** The public keys that may log in, one a line; read at every login. */
  readonly authorizedKeysFile: string
  /** known_hosts(5) with one line for each of its keys, under `[host]:port`. */
  readonly knownHostsFile: string
  /** Its public keys, as `ssh-ed25519 AAAA…`. */
  readonly hostKeys: readonly string[]
  /** The home directory of its sessions, empty at first; only as root (else they have the user's own). */
  readonly home: string
  /** What it says at LogLevel VERBOSE. */
  readonly logPath: string
  readonly #dir: TempDir
  readonly #config: SshdConfig
  #kept: Kept

  static async start({
    options = [],
    hostKeyTypes = ALL_TYPES,
    dockerSocket,
    sockets = {},
    netns,
  }: SshdOptions = {}): Promise<Sshd> {
    const host = netns?.address ?? '127.0.0.1'
    const dir = await TempDir.create()
    try {
      await mkdir(homeIn(dir.path))
      const hostKeys = await makeKeys(dir.path, hostKeyTypes)
      return await onFreePort(async (port) => {
        const config: SshdConfig = {
          dir: dir.path,
          host,
          port,
          netns,
          options,
          hostKeyFiles: hostKeyTypes.map(keyName),
          sockets: { ...(dockerSocket !== undefined && { '/run/docker.sock': dockerSocket }), ...sockets },
        }
        await writeFile(
          join(dir.path, 'known_hosts'),
          hostKeys.map((key) => `[${host}]:${port} ${key}\n`),
        )
        return new Sshd(dir, config, hostKeys, await launch(config))
      })
    } catch (failure) {
      await dir[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(dir: TempDir, config: SshdConfig, hostKeys: readonly string[], kept: Kept) {
    this.#dir = dir
    this.#config = config
    this.#kept = kept
    this.host = config.host
    this.port = config.port
    this.dir = dir.path
    this.hostKeys = hostKeys
    this.keyFile = join(dir.path, CLIENT_KEY)
    this.authorizedKeysFile = join(dir.path, 'authorized_keys')
    this.knownHostsFile = join(dir.path, 'known_hosts')
    this.home = homeIn(dir.path)
    this.logPath = logOf(dir.path)
  }

  /** Ends the server and all its sessions at once, as a power cut does. */
  async stop(): Promise<void> {
    await this.#kept.endButKeepDir()
  }

  /** The same server again, same port and keys; with other `options` if given. Sessions do not survive. */
  async restart(options: readonly string[] = this.#config.options): Promise<void> {
    await this.stop()
    this.#config.options = options
    this.#kept = await launch(this.#config)
  }

  /** The process that listens. */
  listener(): number {
    const pid = this.#kept.pids().find(listens)
    if (pid === undefined) throw new Error(`sshd does not run (${this.logPath})`)
    return pid
  }

  /** The processes of its sessions, what runs in them included; parents first. */
  sessions(): number[] {
    const pids = this.#kept.pids()
    return pids.slice(pids.findIndex(listens) + 1)
  }

  log(): Promise<string> {
    return readFile(this.logPath, 'utf8')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}

const ALL_TYPES: readonly HostKeyType[] = ['ed25519', 'ecdsa', 'rsa']
const CLIENT_KEY = 'client_key'
const keyName = (type: HostKeyType): string => `host_${type}_key`
const logOf = (dir: string): string => join(dir, 'sshd.log')

// Since 7.x the listener renames itself; until it has, its command line is the one we gave it.
const listens = (pid: number): boolean => /\[listener\]|^\S*sshd -D/u.test(commandOf(pid))

// Returns the public halves of the server's keys.
const makeKeys = async (dir: string, types: readonly HostKeyType[]): Promise<string[]> => {
  const [client, ...host] = await Promise.all([
    keygen('ed25519', join(dir, CLIENT_KEY)),
    ...types.map((type) => keygen(type, join(dir, keyName(type)))),
  ])
  await writeFile(join(dir, 'authorized_keys'), `${client}\n`)
  return host
}

const keygen = async (type: HostKeyType, file: string): Promise<string> => {
  // 2048 bits: half a second less than the default, and still accepted everywhere.
  const size = type === 'rsa' ? ['-b', '2048'] : []
  await promisify(execFile)('ssh-keygen', ['-q', '-t', type, ...size, '-N', '', '-C', '', '-f', file])
  return (await readFile(`${file}.pub`, 'utf8')).trim()
}

const launch = async (config: SshdConfig): Promise<Kept> => {
  const log = logOf(config.dir)
  await writeFile(log, '')
  await writeFile(join(config.dir, 'sshd_config'), await sshdConfig(config))
  const kept = Kept.start(launcherOf(config), { dir: config.dir, log, netns: config.netns })
  try {
    // The log tells, not a connection: newer servers hold clients that never log in against their address.
    const listening = until(`sshd listens (${log})`, async () =>
      /Server listening/u.test(await readFile(log, 'utf8')),
    )
    await Promise.race([listening, kept.exited.then((code) => explain(code, log))])
    return kept
  } catch (failure) {
    await kept.endButKeepDir()
    throw failure
  }
}

const explain = async (code: number, log: string): Promise<never> => {
  const said = await readFile(log, 'utf8')
  if (said.includes('Address already in use')) throw new PortTaken(said)
  throw new Error(`sshd ended with ${code}: ${said}`)
}
