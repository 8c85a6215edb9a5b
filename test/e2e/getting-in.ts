import { execa } from 'execa'
import { once } from 'node:events'
import { chmod, copyFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { Scope } from '../../src/base/scope.js'
import { TempDir } from '../testbed/temp-dir.js'
import { World } from '../testbed/cli.js'
import { Pty } from '../testbed/pty.js'
import { Sshd, type SshdOptions } from '../testbed/sshd.js'
import { DPROXY, hostOf } from './lifecycle.js'

/** A world whose host `prod` is a server of its own; `entry` goes over what its config says of it. */
export class Entrance implements AsyncDisposable {
  readonly world: World
  readonly sshd: Sshd
  readonly #scope: Scope
  readonly #remoteSocket: string

  static async open(
    remoteSocket: string,
    entry: object = {},
    options: SshdOptions = { hostKeyTypes: ['ed25519'] },
  ): Promise<Entrance> {
    const scope = new Scope()
    const sshd = scope.use(await Sshd.start(options))
    const entrance = new Entrance(scope, sshd, scope.use(await World.create()), remoteSocket)
    await entrance.configure(entry)
    return entrance
  }

  private constructor(scope: Scope, sshd: Sshd, world: World, remoteSocket: string) {
    this.#scope = scope
    this.sshd = sshd
    this.world = world
    this.#remoteSocket = remoteSocket
  }

  /** Writes the config anew, with other words about `prod`. */
  async configure(entry: object): Promise<void> {
    const host = this.world.entry('prod', hostOf(this.sshd, this.#remoteSocket))
    await this.world.config({ hosts: { prod: { ...host, ...entry } } })
  }

  /** A file in this world; its path. */
  async file(name: string, text: string, mode = 0o600): Promise<string> {
    const path = join(this.world.dir, name)
    await writeFile(path, text, { mode })
    return path
  }

  /** The server's client key under a passphrase; its path. */
  async encryptedKey(passphrase: string): Promise<string> {
    const path = await this.file('locked_key', '')
    await copyFile(this.sshd.keyFile, path)
    await execa('ssh-keygen', ['-q', '-p', '-P', '', '-N', passphrase, '-f', path])
    return path
  }

  /** dproxy under a terminal; it ends with this entrance. */
  terminal(...args: string[]): Pty {
    const { env, dir } = this.world
    return this.#scope.use(Pty.start([...DPROXY, ...args], { env, cwd: dir, columns: 160 }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]()
  }
}

/** The least that counts as a Docker engine, at a socket that every user of this machine may use. */
export const openEngine = async (scope: Scope): Promise<string> => {
  const dir = scope.use(await TempDir.create()).path
  const path = join(dir, 'engine.sock')
  const engine = createServer((_, response) => response.end('{"Version":"1.0","ApiVersion":"1.50"}'))
  engine.listen(path)
  await once(engine, 'listening')
  scope.add(engine, () => engine.close())
  await chmod(dir, 0o755)
  await chmod(path, 0o777)
  return path
}
