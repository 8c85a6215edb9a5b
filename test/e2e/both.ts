import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, inject } from 'vitest'
import { type Finished, type RunOptions, World } from '../testbed/cli.js'
import { describeOurs, describeWith } from '../testbed/describe-with.js'
import { HOST_NAMES, type HostName, type TestHost } from '../testbed/hosts.js'
import { IMAGE } from '../testbed/image.js'
import { HOST_PARTS, type Part } from '../testbed/parts.js'
import type { Pty } from '../testbed/pty.js'

/** Does the same work on both hosts at the same time; a failure says on which. */
export type Both = (work: (host: Host) => Promise<void>) => Promise<void>

export interface Needs {
  /** More than the hosts are made of. */
  parts?: Part[]
  /** Only for hosts made for the tests: not for the user's own server. */
  ours?: boolean
}

/** Tests of Docker's command line through dproxy, with both hosts up. */
export const describeHosts = (title: string, tests: (both: Both) => void, needs: Needs = {}): void => {
  const { parts = [], ours = false } = needs
  const describeIt = ours ? describeOurs : describeWith
  describeIt([...HOST_PARTS, ...parts], title, () => {
    let world: World
    beforeAll(async () => {
      world = await World.create()
      await world.configure(inject('hosts')!)
      const up = await world.dproxy(['up', ...HOST_NAMES])
      if (up.exitCode !== 0) throw new Error(`dproxy up ended with ${up.exitCode}: ${up.stderr}`)
    })
    afterAll(() => world[Symbol.asyncDispose]())
    tests(async (work) => {
      await Promise.all(HOST_NAMES.map((name) => named(name, work(new Host(world, name)))))
    })
  })
}

/** One host, as somebody with Docker's command line knows it. */
export class Host {
  readonly name: HostName
  readonly world: World

  constructor(world: World, name: HostName) {
    this.world = world
    this.name = name
  }

  /** Where it is and what it is made of. */
  get facts(): TestHost {
    return inject('hosts')![this.name]
  }

  /** Runs docker and returns what it printed; anything but exit code 0 fails the test. */
  async docker(args: readonly string[], options?: RunOptions): Promise<string> {
    const result = await this.ends(args, options)
    if (result.exitCode === 0) return result.stdout
    throw new Error(`docker ${args.join(' ')} ${how(result)}: ${result.stderr}`)
  }

  /** Runs docker to whatever end. */
  ends(args: readonly string[], options?: RunOptions): Promise<Finished> {
    return this.world.docker(this.name, args, options)
  }

  /** Starts docker, for what runs on: `stdout` gathers in `text`. */
  start(args: readonly string[], options?: RunOptions) {
    const running = this.world.startDocker(this.name, args, options)
    let text = ''
    running.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    return {
      running,
      get text() {
        return text
      },
      async [Symbol.asyncDispose]() {
        running.kill('SIGKILL')
        await running
      },
    }
  }

  /** docker under a terminal of 24 rows and 80 columns. */
  pty(args: readonly string[]): Pty {
    return this.world.dockerPty(this.name, args)
  }

  /** A container of the test image that is removed with its scope. `how` are the words before the image. */
  async container(how: readonly string[], ...command: string[]) {
    const name = this.fresh()
    await this.docker([...how, '--name', name, IMAGE, ...command])
    return { name, [Symbol.asyncDispose]: () => this.ends(['rm', '-f', name]).then(() => {}) }
  }

  /** The name of an image to be made, that is removed with its scope. */
  image(prefix = '') {
    const name = `${prefix}dproxy-test/${this.fresh()}:local`
    return { name, [Symbol.asyncDispose]: () => this.ends(['rmi', '-f', name]).then(() => {}) }
  }

  /** A name nobody else uses. */
  fresh(): string {
    return `dproxy-${this.name}-${randomBytes(4).toString('hex')}`
  }

  /** A path for a file on this side, not made yet. */
  file(): string {
    return join(this.world.dir, 'work', this.fresh())
  }
}

const named = async (name: string, work: Promise<void>): Promise<void> => {
  try {
    await work
  } catch (failure) {
    if (failure instanceof Error) failure.message = `on ${name}: ${failure.message}`
    throw failure
  }
}

const how = ({ exitCode, timedOut }: Finished): string =>
  timedOut ? 'did not end in time' : exitCode === undefined ? 'was killed' : `ended with ${exitCode}`
