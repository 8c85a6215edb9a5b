import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Env } from '../base/paths.js'
import { privateDir } from '../base/private-dir.js'
import { Scope } from '../base/scope.js'
import { startLoopbackServer } from '../ssh/loopback-server.js'
import { generateThrowAwayKey, type ThrowAwayKey } from '../ssh/throw-away-key.js'
import { startEngine } from './engine.js'
import { findLocalEngine } from './local-engine.js'

const NAMES = ['prod', 'staging'] as const
const USER = 'demo'

/** One demo host, in the shape in which a host crosses the control socket. */
export interface DemoHost {
  name: string
  typed: string
  destination: string
  user: string
  port: number
  identityFiles: string[]
  identitiesOnly: boolean
  knownHostsFiles: string[]
  remoteSocket: string
  socket: string
  proxyJump: null
  proxyCommand: null
  passphraseCommand: null
  passwordCommand: null
  secretStore: 'keychain'
  transport: 'ssh2'
  connectTimeoutMs: null
  lanes: null
  keepAlive: { intervalMs: null; misses: null }
  protected: boolean
  description: string
  tags: string[]
}

export interface DemoHostsOptions {
  /** A directory of our own (0700), empty or not there yet: keys, known_hosts and all sockets live in it. */
  dir: string
  /** `embedded`: two small engines in this process; `local`: both hosts lead to this machine's own engine. */
  engine: 'embedded' | 'local'
  env: Env
}

export interface DemoHosts extends AsyncDisposable {
  readonly hosts: DemoHost[]
  /** Stops the SSH servers and the engines. The files in `dir` are left to whoever made it. */
  close(): Promise<void>
}

/**
 * Starts the SSH hosts `prod` and `staging` on 127.0.0.1, each with its Docker engine. Keys are made for this
 * run; nothing outside `dir` is read or written.
 * @throws DproxyError with `local`, when no engine answers (ENGINE_…) or DOCKER_HOST is no socket (NOT_SUPPORTED)
 */
export const startDemoHosts = async (options: DemoHostsOptions): Promise<DemoHosts> => {
  const scope = new Scope()
  const close = () => scope[Symbol.asyncDispose]()
  try {
    const local = options.engine === 'local' ? await findLocalEngine(options.env) : undefined
    await privateDir(options.dir)
    const hosts = await startAll(scope, options.dir, local)
    return { hosts, close, [Symbol.asyncDispose]: close }
  } catch (failure) {
    await close()
    throw failure
  }
}

const startAll = async (scope: Scope, dir: string, local: string | undefined): Promise<DemoHost[]> => {
  const clientKey = generateThrowAwayKey()
  const identityFile = join(dir, 'id_ed25519')
  const knownHostsFile = join(dir, 'known_hosts')
  await writeFile(identityFile, clientKey.privateKey, { mode: 0o600 })
  const started = await Promise.all(NAMES.map((name) => startOne(scope, dir, name, clientKey, local)))
  await writeFile(knownHostsFile, started.map(({ hostKeyLine }) => `${hostKeyLine}\n`).join(''), {
    mode: 0o600,
  })
  return started.map(({ name, port, remoteSocket }) => ({
    name,
    typed: name,
    destination: '127.0.0.1',
    user: USER,
    port,
    identityFiles: [identityFile],
    identitiesOnly: true,
    knownHostsFiles: [knownHostsFile],
    remoteSocket,
    socket: join(dir, `docker-${name}.sock`),
    proxyJump: null,
    proxyCommand: null,
    passphraseCommand: null,
    passwordCommand: null,
    secretStore: 'keychain',
    transport: 'ssh2',
    connectTimeoutMs: null,
    lanes: null,
    keepAlive: { intervalMs: null, misses: null },
    protected: false,
    description: local ? `demo: the engine of this machine (${local})` : 'demo: an embedded engine',
    tags: ['demo'],
  }))
}

const startOne = async (
  scope: Scope,
  dir: string,
  name: string,
  clientKey: ThrowAwayKey,
  local: string | undefined,
) => {
  const remoteSocket = local ?? join(dir, `engine-${name}.sock`)
  if (local === undefined) scope.use(await startEngine({ name, socketPath: remoteSocket, seed: name }))
  const hostKey = generateThrowAwayKey()
  const { port, hostKeyLine } = scope.use(
    await startLoopbackServer({ hostKey, clientKey, sockets: [remoteSocket] }),
  )
  return { name, port, hostKeyLine, remoteSocket }
}
