import { createServer, get, type IncomingMessage, type Server } from 'node:http'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Scope } from '../../src/base/scope.js'
import type { HostDefinition, HostState } from '../../src/control/messages.js'
import { startLoopbackServer } from '../../src/ssh/loopback-server.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { EventLog } from '../../src/supervisor/event-log.js'
import { Supervisor } from '../../src/supervisor/supervisor.js'
import { definition } from '../control/support.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { livingEngine } from './support.js'

/** An SSH server, an engine behind it, and a supervisor to bring hosts up with: all in this process. */
export class Rig implements AsyncDisposable {
  readonly dir: string
  readonly supervisor: Supervisor
  readonly log: EventLog
  readonly env: Record<string, string>
  /** Whatever must never be told to anybody. */
  readonly secrets: readonly string[]
  readonly #scope: Scope
  readonly #base: HostDefinition

  static async start(): Promise<Rig> {
    const scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const engine = createServer(livingEngine).listen(join(dir, 'engine.sock'))
    await once(engine, 'listening')
    scope.add(engine, end)
    const [hostKey, clientKey] = [generateThrowAwayKey(), generateThrowAwayKey()]
    const sockets = [join(dir, 'engine.sock')]
    const server = scope.use(await startLoopbackServer({ hostKey, clientKey, sockets }))
    await writeFile(join(dir, 'key'), clientKey.privateKey, { mode: 0o600 })
    await writeFile(join(dir, 'known_hosts'), `${server.hostKeyLine}\n`)
    const base: HostDefinition = {
      ...definition(),
      port: server.port,
      identityFiles: [join(dir, 'key')],
      knownHostsFiles: [join(dir, 'known_hosts')],
      remoteSocket: join(dir, 'engine.sock'),
    }
    return new Rig(scope, dir, base, clientKey.privateKey)
  }

  private constructor(scope: Scope, dir: string, base: HostDefinition, secret: string) {
    this.#scope = scope
    this.#base = base
    this.dir = dir
    this.secrets = secret.split('\n').filter((line) => line.length > 20)
    this.env = { HOME: dir, DPROXY_RUNTIME_DIR: join(dir, 'run'), DPROXY_SSH_CONFIG: '/dev/null' }
    this.log = EventLog.inMemory()
    const info = { pid: 1, version: '0', since: '', control: '' }
    this.supervisor = scope.add(new Supervisor({ env: this.env, log: this.log, info }), (made) => {
      const stopped = made.shutdown(0)
      made.hurry()
      return stopped
    })
  }

  socket(name: string): string {
    return join(this.dir, `${name}.sock`)
  }

  host(name: string, more: Partial<HostDefinition> = {}): HostDefinition {
    return { ...this.#base, name, socket: this.socket(name), ...more }
  }

  up(
    definitionOfIt: HostDefinition,
    more: { lazy?: boolean; person?: boolean; evenProtected?: boolean } = {},
  ) {
    return this.supervisor.up({
      definition: definitionOfIt,
      agent: null,
      lazy: false,
      person: false,
      evenProtected: false,
      ...more,
    })
  }

  state(name: string): HostState | undefined {
    return this.supervisor.status().hosts.find((host) => host.name === name)?.state
  }

  async reaches(name: string, state: HostState): Promise<void> {
    await until(`${name} is ${state}`, () => this.state(name) === state)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]()
  }
}

const end = (server: Server): Promise<unknown> => {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(resolve))
}

/** The status an engine answers with at a local socket. */
export const ask = async (socketPath: string): Promise<number | undefined> => {
  const asked = get({ socketPath, path: '/version', agent: false })
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  await once(response.resume(), 'end')
  return response.statusCode
}

/** A client whose answer never ends, as that of `docker logs -f`; `gone` resolves when it was cut. */
export const follow = async (socketPath: string) => {
  const asked = get({ socketPath, path: '/follow', agent: false })
  asked.on('error', () => undefined)
  const gone = once(asked, 'close')
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  response.on('error', () => undefined).resume()
  return { gone, leave: () => void asked.destroy() }
}
