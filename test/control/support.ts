import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { DproxyError } from '../../src/base/errors.js'
import { ControlClient } from '../../src/control/client.js'
import type { LineChannel } from '../../src/control/line-channel.js'
import type {
  DownReply,
  HandOverNews,
  HandOverOrder,
  HostDefinition,
  HostStatus,
  LogEntry,
  Running,
  Status,
  StreamStatus,
  TakeOverReply,
  UpReply,
  UpRequest,
} from '../../src/control/messages.js'
import { serveControl, type ControlServer } from '../../src/control/server.js'
import type { ControlService } from '../../src/control/service.js'
import { TempDir } from '../testbed/temp-dir.js'

/** A service that remembers what it was asked and serves whatever hosts the test gives it. */
export class FakeService implements ControlService {
  readonly asked: unknown[] = []
  hosts: HostStatus[] = []
  readonly logs: LogEntry[] = []
  readonly successors: LineChannel<HandOverOrder, HandOverNews>[] = []
  readonly watchers = new Set<() => void>()
  readonly followers = new Set<(entry: LogEntry) => void>()
  /** What `up` waits for. */
  gate: Promise<void> = Promise.resolve()

  status(): Status {
    return {
      schemaVersion: 1,
      atMs: Date.now(),
      supervisor: { pid: 1, version: '0', since: '', control: '' },
      hosts: this.hosts,
    }
  }
  async up(request: UpRequest): Promise<UpReply> {
    this.asked.push(request)
    await this.gate
    return { action: 'started' }
  }
  async down(name: string, drainMs: number): Promise<DownReply> {
    this.asked.push({ down: name, drainMs })
    if (name === 'nobody')
      throw new DproxyError('HOST_UNKNOWN', 'nobody is not running', { hint: 'start it' })
    return { cut: 2 }
  }
  async restart(name: string, drainMs: number, person: boolean): Promise<DownReply> {
    this.asked.push({ restart: name, drainMs, person })
    return { cut: 0 }
  }
  streams(name: string): StreamStatus[] {
    return [{ id: `${name}:1`, host: name, since: 'now', bytes: { up: 1, down: 2 } }]
  }
  answer(id: string, answers: readonly string[] | null): void {
    this.asked.push({ answer: id, answers })
    if (id === 'late') throw new DproxyError('QUESTION_UNKNOWN', 'nothing like this is being asked any more')
  }
  cut(id: string): void {
    this.asked.push({ cut: id })
  }
  recentLogs(): readonly LogEntry[] {
    return this.logs
  }
  onLog(listener: (entry: LogEntry) => void): () => void {
    this.followers.add(listener)
    return () => void this.followers.delete(listener)
  }
  onChange(listener: () => void): () => void {
    this.watchers.add(listener)
    return () => void this.watchers.delete(listener)
  }
  async shutdown(drainMs: number): Promise<void> {
    this.asked.push({ shutdown: drainMs })
  }
  running(): Running {
    return { foreground: false, hosts: [] }
  }
  async takeOver(drainMs: number): Promise<TakeOverReply> {
    this.asked.push({ takeOver: drainMs })
    return { pid: 1, draining: [] }
  }
  handOver(successor: LineChannel<HandOverOrder, HandOverNews>): void {
    this.successors.push(successor)
    successor.receive((order) => this.asked.push(order))
  }
  change(): void {
    for (const listener of this.watchers) listener()
  }
  log(host: string | null, message: string): void {
    const entry: LogEntry = { time: new Date().toISOString(), level: 'info', host, message }
    this.logs.push(entry)
    for (const listener of this.followers) listener(entry)
  }
}

/** A control socket and its client in a directory of their own. */
export class Served implements AsyncDisposable {
  readonly path: string
  readonly service: FakeService
  readonly client: ControlClient
  readonly #dir: TempDir
  readonly #server: ControlServer
  #stopped: Promise<void> | undefined

  static async start(): Promise<Served> {
    const dir = await TempDir.create()
    const service = new FakeService()
    const path = join(dir.path, 'control.sock')
    return new Served(dir, service, await serveControl(path, service, '1.2.3'))
  }

  private constructor(dir: TempDir, service: FakeService, server: ControlServer) {
    this.#dir = dir
    this.#server = server
    this.path = server.path
    this.service = service
    this.client = new ControlClient(server.path)
  }

  stop(): Promise<void> {
    this.#stopped ??= Promise.resolve(this.#server[Symbol.asyncDispose]())
    return this.#stopped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#dir[Symbol.asyncDispose]()
  }
}

/** Something else at a control socket's place: `serve` does what it likes with each client. */
export const stranger = async (path: string, serve: (client: Socket) => void) => {
  const clients = new Set<Socket>()
  const server: Server = createTcpServer((client) => {
    clients.add(client)
    client.on('error', () => undefined)
    serve(client)
  }).listen(path)
  await once(server, 'listening')
  const stop = () => {
    server.close()
    for (const client of clients) client.destroy()
  }
  return { stop, [Symbol.asyncDispose]: async () => stop() }
}

/** Sends bytes as they are, and collects all that comes back until the other side closes. */
export const rawly = async (path: string, ...pieces: (string | Uint8Array)[]): Promise<string> => {
  const socket = connect(path)
  let said = ''
  socket.setEncoding('utf8').on('data', (text: string) => (said += text))
  // A refused sender may be cut while it still sends; what it was told counts.
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  for (const piece of pieces) socket.write(piece)
  if (!socket.closed) await once(socket, 'close')
  return said
}

/** A request whose connection closes after the answer. */
export const post = (path: string, body: string | Uint8Array): [string, string | Uint8Array] => [
  `POST ${path} HTTP/1.1\r\nHost: dproxy\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`,
  body,
]

/** The status and the document of each answer in what came back. */
export const answers = (said: string): { status: number; body: Record<string, unknown> }[] =>
  said
    .split(/(?=HTTP\/1\.1 )/u)
    .filter((text) => text !== '')
    .map((text) => ({
      status: Number(text.slice(9, 12)),
      body: JSON.parse(/\{.*\}/u.exec(text)?.[0] ?? '{}') as Record<string, unknown>,
    }))

export const definition = (name = 'prod'): HostDefinition => ({
  name,
  typed: name,
  destination: '127.0.0.1',
  user: 'deploy',
  port: 22,
  identityFiles: [],
  identitiesOnly: true,
  knownHostsFiles: null,
  remoteSocket: 'auto',
  socket: `/tmp/docker-${name}.sock`,
  proxyJump: null,
  proxyCommand: null,
  passphraseCommand: null,
  passwordCommand: null,
  secretStore: 'keychain',
  transport: 'auto',
  connectTimeoutMs: null,
  lanes: null,
  keepAlive: { intervalMs: null, misses: null },
  protected: false,
  description: null,
  tags: [],
})

export const hostStatus = (name = 'prod', more: Partial<HostStatus> = {}): HostStatus => ({
  name,
  state: 'up',
  reason: null,
  since: '2026-01-31T09:00:00Z',
  socket: `/tmp/docker-${name}.sock`,
  ssh: 'deploy@127.0.0.1:22',
  remoteSocket: '/var/run/docker.sock',
  remoteSocketFound: true,
  engine: { version: '28.2.2', apiVersion: '1.50' },
  rttMs: 1,
  lanes: 1,
  transport: { kind: 'ssh2', why: null },
  forwarding: { method: 'streamlocal', why: null },
  turnedAway: 0,
  question: null,
  streams: { open: 0, total: 0 },
  bytes: { up: 0, down: 0 },
  reconnects: 0,
  lastError: null,
  stages: [],
  stage: null,
  nextTryMs: null,
  tags: [],
  description: null,
  protected: false,
  ...more,
})
