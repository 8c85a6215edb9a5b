import { randomBytes } from 'node:crypto'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Scope } from '../../src/base/scope.js'
import { ControlClient } from '../../src/control/client.js'
import type { HostStatus } from '../../src/control/messages.js'
import { behind } from '../testbed/behind.js'
import { Chaos } from '../testbed/chaos.js'
import { type Finished, World } from '../testbed/cli.js'
import { Gate } from '../testbed/gate.js'
import { IMAGE } from '../testbed/image.js'
import { openFiles } from '../testbed/processes.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { type Client, DOCKER, startClient, type StartOptions } from './cut-client.js'
import { must } from './lifecycle.js'

export interface SceneOptions {
  /** Goes into the host's entry. */
  readonly more?: object
  /** False: sshd speaks with the engine itself. */
  readonly gated?: boolean
  /** Lines of sshd_config(5). */
  readonly sshd?: readonly string[]
}

/**
 * One host as the user has it, with its parts in our hands: docker's command line, dproxy, a relay with faults
 * to order, an SSH server, a gate, an engine.
 */
export class CutScene implements AsyncDisposable {
  readonly world: World
  readonly sshd: Sshd
  readonly chaos: Chaos
  readonly gate: Gate
  readonly control: ControlClient
  /** What every container and image of this scene has in its name. */
  readonly id: string
  /** docker at the engine's own socket, past all that is tested. */
  readonly direct: (words: readonly string[]) => Promise<Finished>
  readonly #scope: Scope

  static async start(
    engineSocket: string,
    { more = {}, gated = true, sshd: options = [] }: SceneOptions = {},
  ): Promise<CutScene> {
    const scope = new Scope()
    try {
      const world = scope.use(await World.create())
      const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'], options }))
      const chaos = scope.use(await Chaos.start(sshd))
      const id = `cut-${randomBytes(4).toString('hex')}`
      const direct = async (words: readonly string[]) => {
        const at = ['-H', `unix://${engineSocket}`]
        const { exitCode, stdout, stderr, timedOut } = await world.spawn(DOCKER, [...at, ...words])
        return { exitCode, stdout, stderr, timedOut }
      }
      // Before the gate: what the engine still works at for held clients is let go of first.
      scope.add(id, () => clear(direct, id))
      const gate = scope.use(await Gate.start(engineSocket, join(world.dir, 'gate.sock')))
      const entry = world.entry('prod', await behind(world, chaos, sshd, gated ? gate.path : engineSocket))
      await world.config({ hosts: { prod: { ...entry, ...more } } })
      await must(world, ['up', 'prod'])
      return new CutScene(scope, { world, sshd, chaos, gate, id, direct })
    } catch (failure) {
      await scope[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(scope: Scope, parts: Parts) {
    this.#scope = scope
    this.world = parts.world
    this.sshd = parts.sshd
    this.chaos = parts.chaos
    this.gate = parts.gate
    this.id = parts.id
    this.direct = parts.direct
    this.control = new ControlClient(parts.world.controlSocket)
  }

  /** A container of the test image, started past all that is tested; it goes with the scene. */
  async container(name: string, script: string): Promise<string> {
    const full = `${this.id}-${name}`
    const made = await this.direct(['run', '-d', '--name', full, IMAGE, 'sh', '-c', script])
    if (made.exitCode !== 0) throw new Error(`docker run: ${made.stderr}`)
    return full
  }

  /** Starts docker on dproxy's socket. */
  async start(words: readonly string[], options: StartOptions = {}): Promise<Client> {
    const client = await startClient(this.world, words, options)
    this.#scope.add(client, (started) => started[Symbol.asyncDispose]?.())
    return client
  }

  async status(): Promise<HostStatus> {
    const { hosts } = await this.control.status()
    return hosts[0]!
  }

  /** Waits until all that the gate let pass has been handed to the clients. */
  async settled(): Promise<void> {
    await until('the answers are with their clients', async () => {
      return (await this.status()).bytes.down >= this.gate.passed
    })
  }

  /** How many descriptors dproxy holds: one more for each client, its channel open or not. */
  async descriptors(): Promise<number> {
    return openFiles((await this.control.status()).supervisor!.pid)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]()
  }
}

type Parts = Pick<CutScene, 'world' | 'sshd' | 'chaos' | 'gate' | 'id' | 'direct'>

/** Removes the containers and images of a scene. */
const clear = async (direct: CutScene['direct'], id: string): Promise<void> => {
  const boxes = await direct(['ps', '-aq', '--filter', `name=${id}`])
  const images = await direct(['images', '-q', '--filter', `reference=dproxy-test/${id}*`])
  for (const [how, { stdout }] of [
    [['rm', '-f', '-v'], boxes],
    [['rmi', '-f'], images],
  ] as const) {
    const all = [...new Set(stdout.split('\n').filter(Boolean))]
    if (all.length > 0) await direct([...how, ...all])
  }
}

/** Adds a table, in Markdown, to the file that DPROXY_CUT_TABLE names. */
export const tell = async (
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): Promise<void> => {
  const file = process.env.DPROXY_CUT_TABLE
  if (!file) return
  const lines = [head, head.map(() => '-'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  await appendFile(file, `\n### ${title}\n\n${lines.join('\n')}\n`)
}
