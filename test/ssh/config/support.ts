import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DproxyError } from '../../../src/base/errors.js'
import type { Env } from '../../../src/base/paths.js'
import { resolveTarget, targetOfHop } from '../../../src/ssh/config/resolve.js'
import type { Hop, Resolved, Target } from '../../../src/ssh/target.js'
import { TempDir } from '../../testbed/temp-dir.js'

export const never = new AbortController().signal

/** A directory with an ssh_config in it, and what else the test needs. It goes with its scope. */
export class Desk implements AsyncDisposable {
  readonly dir: string
  readonly #dir: TempDir

  static async create(config = ''): Promise<Desk> {
    const desk = new Desk(await TempDir.create())
    await desk.write('config', config)
    return desk
  }

  private constructor(dir: TempDir) {
    this.#dir = dir
    this.dir = dir.path
  }

  path(name: string): string {
    return join(this.dir, name)
  }

  async write(name: string, text: string | Uint8Array): Promise<string> {
    await mkdir(dirname(this.path(name)), { recursive: true })
    await writeFile(this.path(name), text)
    return this.path(name)
  }

  /** What a program sees that is to go by this configuration. */
  env(more: Env = {}): Env {
    return { PATH: process.env.PATH, DPROXY_SSH_CONFIG: this.path('config'), ...more }
  }

  resolve(destination: string, changes: Partial<Target> = {}, env: Env = {}): Promise<Resolved> {
    return resolveTarget(target(destination, changes), this.env(env), never)
  }

  /** A jump host on the way to `from`. */
  resolveHop(hop: Hop, from: Target, isThroughAnother = false): Promise<Resolved> {
    return resolveTarget(targetOfHop(hop, from, isThroughAnother), this.env(), never)
  }

  /** Every host to log in to, by its first hop's own configuration and so on, as whoever connects goes. */
  async way(to: Target): Promise<string[]> {
    const { route, host } = await resolveTarget(to, this.env(), never)
    if (route.kind !== 'jump') return [host]
    const [first, ...rest] = route.hops
    const others = await Promise.all(rest.map((hop) => this.resolveHop(hop, to, true)))
    return [...(await this.way(targetOfHop(first!, to))), ...others.map((hop) => hop.host), host]
  }

  async failure(destination: string, changes: Partial<Target> = {}, env: Env = {}): Promise<DproxyError> {
    try {
      await this.resolve(destination, changes, env)
    } catch (failure) {
      return failure as DproxyError
    }
    throw new Error('it was resolved')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]()
  }
}

/** A target that leaves everything to ssh's own configuration. */
export const target = (destination: string, changes: Partial<Target> = {}): Target => ({
  typed: 'prod',
  destination,
  user: null,
  port: null,
  identityFiles: [],
  identitiesOnly: false,
  knownHostsFiles: null,
  proxyJump: null,
  proxyCommand: null,
  transport: 'auto',
  connectTimeoutMs: null,
  keepAlive: { intervalMs: null, misses: null },
  ...changes,
})
