import { execa } from 'execa'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Scope } from '../../src/base/scope.js'
import { ControlClient } from '../../src/control/client.js'
import type { HostStatus } from '../../src/control/messages.js'
import { behind } from '../testbed/behind.js'
import { Chaos } from '../testbed/chaos.js'
import { World } from '../testbed/cli.js'
import { Dockerd } from '../testbed/dockerd.js'
import { IMAGE, imageArchive, importArguments } from '../testbed/image.js'
import { program } from '../testbed/parts.js'
import { Sshd } from '../testbed/sshd.js'
import { CheckingEngine } from './engine.js'

/** One host: its SSH server, the faults in front of it, and a container to work in. */
export interface SoakHost {
  readonly name: string
  readonly socket: string
  readonly sshd: Sshd
  readonly chaos: Chaos
  readonly box: string
  /** What the container sees as /shared, as we see it. */
  readonly shared: string
}

/** Five hosts on two engines, and one supervisor that runs them all. */
export interface Site extends AsyncDisposable {
  readonly world: World
  readonly hosts: readonly SoakHost[]
  readonly engines: readonly CheckingEngine[]
  readonly control: ControlClient
  readonly supervisorPid: number
  status(): Promise<readonly HostStatus[]>
}

export const startSite = async (): Promise<Site> => {
  const scope = new Scope()
  try {
    const world = scope.use(await World.create())
    const engines = await Promise.all([0, 1].map((at) => startEngine(scope, world, at)))
    const hosts = await Promise.all(
      ['amber', 'birch', 'cedar', 'dune', 'ember'].map((name, at) =>
        startHost(scope, world, name, engines[at % engines.length]!),
      ),
    )
    const remote = (at: number) => engines[at % engines.length]!.front.path
    const entries = await Promise.all(
      hosts.map(async ({ name, chaos, sshd }, at) => {
        const entry = world.entry(name, await behind(world, chaos, sshd, remote(at)))
        // Short, so that many losses are found in the time there is.
        return [name, { ...entry, connectTimeout: '5s', keepAlive: { interval: '1s', misses: 2 } }]
      }),
    )
    await world.config({ hosts: Object.fromEntries(entries) })
    const up = await world.dproxy(['up', '--all'])
    if (up.exitCode !== 0) throw new Error(`dproxy up ended with ${up.exitCode}: ${up.stderr}`)
    const control = new ControlClient(world.controlSocket, { answersWithinMs: 5000 })
    const { supervisor } = await control.status()
    return {
      world,
      hosts,
      engines: engines.map(({ front }) => front),
      control,
      supervisorPid: supervisor!.pid,
      status: async () => (await control.status()).hosts,
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    }
  } catch (failure) {
    await scope[Symbol.asyncDispose]()
    throw failure
  }
}

interface Engine {
  readonly dockerd: Dockerd
  readonly front: CheckingEngine
}

const startEngine = async (scope: Scope, world: World, at: number): Promise<Engine> => {
  const dockerd = scope.use(await Dockerd.start())
  const archive = await imageArchive(dockerd.dir)
  await execa(DOCKER, ['-H', `unix://${dockerd.socket}`, ...importArguments(archive)])
  const front = await CheckingEngine.start(dockerd.socket, join(world.dir, `engine-${at}.sock`))
  return { dockerd, front: scope.use(front) }
}

const startHost = async (
  scope: Scope,
  world: World,
  name: string,
  { dockerd }: Engine,
): Promise<SoakHost> => {
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
  const chaos = scope.use(await Chaos.start(sshd))
  const shared = join(world.dir, 'work', `shared-${name}`)
  await mkdir(shared)
  const box = `box-${name}`
  const how = ['run', '-d', '--name', box, '-v', `${shared}:/shared`, IMAGE, 'sh', '-c', COUNT]
  await execa(DOCKER, ['-H', `unix://${dockerd.socket}`, ...how])
  return { name, socket: world.socket(name), sshd, chaos, box, shared }
}

const DOCKER = program('docker') ?? 'docker'

// For `logs -f`: numbers without a gap.
const COUNT = 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.25; done'
