/** A lane of either transport through chaos to a real server, with an engine of the test's own behind it. */
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Scope } from '../../src/base/scope.js'
import type { RawLane } from '../../src/ssh/raw-lane.js'
import type { Target } from '../../src/ssh/target.js'
import { client, startEngine, startProxy, type Serve } from '../proxy/support.js'
import { opensshLaneTo } from '../ssh/openssh/support.js'
import { laneTo, never, targetOf } from '../ssh/support.js'
import { Chaos } from '../testbed/chaos.js'
import { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'

export const MEGABYTE = 1024 * 1024
export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

export const TRANSPORTS = ['ssh2', 'openssh'] as const
export type Transport = (typeof TRANSPORTS)[number]

export interface LaneRigOptions {
  readonly transport: Transport
  readonly serve: Serve
  /** Lines of the server's sshd_config. */
  readonly options?: readonly string[]
  readonly target?: Partial<Target>
}

export interface LaneRig {
  readonly sshd: Sshd
  readonly chaos: Chaos
  readonly lane: RawLane
  /** The engine's socket, and who is connected to it. */
  readonly path: string
  readonly engines: ReadonlySet<unknown>
  readonly open: () => Promise<Duplex>
}

export const startLane = async (scope: Scope, rig: LaneRigOptions): Promise<LaneRig> => {
  const { transport, serve, options = [], target = {} } = rig
  const dir = scope.use(await TempDir.create()).path
  const path = join(dir, 'engine.sock')
  const { clients } = await startEngine(scope, path, serve)
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options }))
  const chaos = scope.use(await Chaos.start(sshd))
  const known = join(dir, 'known_hosts')
  await writeFile(known, `[${chaos.host}]:${chaos.port} ${sshd.hostKeys[0]}\n`)
  const there = targetOf(sshd, { port: chaos.port, knownHostsFiles: [known], ...target })
  const lane = await (transport === 'ssh2' ? laneTo(scope, there) : opensshLaneTo(scope, there))
  return { sshd, chaos, lane, path, engines: clients, open: () => lane.openStream(path, never) }
}

/** The same with the proxy in front of it: the whole way from a client's socket to the engine's. */
export const startPath = async (scope: Scope, rig: LaneRigOptions) => {
  const started = await startLane(scope, rig)
  const socket = join(scope.use(await TempDir.create()).path, 'proxy.sock')
  const { proxy, failures } = await startProxy(scope, socket, (signal) =>
    started.lane.openStream(started.path, signal),
  )
  return { ...started, proxy, failures, socket, dial: () => client(scope, socket) }
}

/** How a stream ends: `clean`, or why it was cut. */
export const endOf = (stream: Duplex): Promise<unknown> =>
  new Promise((resolve) => {
    if (stream.destroyed) resolve(stream.errored ?? 'destroyed')
    stream.once('end', () => resolve('clean'))
    stream.once('error', resolve)
    stream.once('close', () => resolve(stream.errored ?? 'closed'))
  })
