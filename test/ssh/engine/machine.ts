import { once } from 'node:events'
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { Scope } from '../../../src/base/scope.js'
import type { RawLane } from '../../../src/ssh/raw-lane.js'
import { startEngine, text } from '../../proxy/support.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { opensshLaneTo } from '../openssh/support.js'
import { laneTo, never, targetOf } from '../support.js'

const { homedir, uid } = userInfo()

/** Where engines are looked for, the first choice first; as sessions of the testbed's server see it. */
export const PLACES = [
  '/var/run/docker.sock',
  `/run/user/${uid}/docker.sock`,
  join(homedir, '.docker/run/docker.sock'),
  join(homedir, '.docker/desktop/docker.sock'),
  '/run/podman/podman.sock',
  `/run/user/${uid}/podman/podman.sock`,
  join(homedir, '.colima/default/docker.sock'),
  join(homedir, '.orbstack/run/docker.sock'),
  join(homedir, '.rd/docker.sock'),
] as const

export const TRANSPORTS = [
  ['ssh2', (scope: Scope, sshd: Sshd): Promise<RawLane> => laneTo(scope, targetOf(sshd))],
  ["the system's ssh", (scope: Scope, sshd: Sshd): Promise<RawLane> => opensshLaneTo(scope, targetOf(sshd))],
] as const

/** A server in whose sessions engines can stand at every place where one is looked for; none does at first. */
export class Machine implements AsyncDisposable {
  readonly sshd: Sshd
  readonly #dir: TempDir

  static async start(options: readonly string[] = []): Promise<Machine> {
    const dir = await TempDir.create()
    const sockets = Object.fromEntries(
      PLACES.map((place, index) => [place.replace('/var/run/', '/run/'), socketIn(dir.path, index)]),
    )
    return new Machine(dir, await Sshd.start({ hostKeyTypes: ['ed25519'], options, sockets }))
  }

  private constructor(dir: TempDir, sshd: Sshd) {
    this.#dir = dir
    this.sshd = sshd
  }

  /** The socket of this machine behind a place. */
  behind(place: string): string {
    return socketIn(this.#dir.path, PLACES.indexOf(place))
  }

  /** A path of no place, the same for sessions and for us. */
  elsewhere(name: string): string {
    return join(this.#dir.path, name)
  }

  /** An engine that says where it is to everybody. */
  async engineAt(scope: Scope, place: string, path = this.behind(place)): Promise<void> {
    await startEngine(scope, path, (client) => client.end(place))
  }

  /** As if it were bound where we cannot see: its name is not the one that it was bound by. */
  async unseenEngineAt(scope: Scope, place: string): Promise<void> {
    const path = this.behind(place)
    await this.engineAt(scope, place, `${path}.bound`)
    await rename(`${path}.bound`, path)
    scope.add(path, (left) => rm(left, { force: true }))
  }

  /** A socket that nobody listens behind any more. */
  async deadAt(scope: Scope, place: string, path = this.behind(place)): Promise<void> {
    const server = createServer().listen(`${path}.live`)
    await once(server, 'listening')
    await rename(`${path}.live`, path)
    server.close()
    await once(server, 'close')
    scope.add(path, (left) => rm(left, { force: true }))
  }

  /** Two places that are one, as the package podman-docker has it. */
  async linkAt(scope: Scope, place: string, to: string): Promise<void> {
    await symlink(this.behind(to), this.behind(place))
    scope.add(place, (left) => rm(this.behind(left), { force: true }))
  }

  /** A file in the home directory of its sessions. */
  async inHome(name: string, content: string): Promise<void> {
    const path = join(this.sshd.home, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, content)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sshd[Symbol.asyncDispose]()
    await this.#dir[Symbol.asyncDispose]()
  }
}

const socketIn = (dir: string, index: number): string => join(dir, `${index}.sock`)

/** What the engine at `path` says. */
export const saidAt = async (lane: RawLane, path: string): Promise<string> => {
  const stream = await lane.openStream(path, never)
  stream.end()
  return text(stream)
}
