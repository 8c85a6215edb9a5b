import { ControlClient } from '../../../src/control/client.js'
import type { HostState, HostStatus } from '../../../src/control/messages.js'
import type { World } from '../../testbed/cli.js'
import { until } from '../../testbed/until.js'

/** What a supervisor says of one host, as it says it: what `dproxy status --json` would show at each moment. */
export class Watch implements AsyncDisposable {
  /** Each state and when it was first heard of, by `performance.now()`. */
  readonly states: { readonly state: HostState; readonly atMs: number }[] = []
  readonly #ended = new AbortController()
  readonly #name: string
  #now: HostStatus | undefined
  #watching: Promise<void>

  static async start(world: World, name: string): Promise<Watch> {
    const watch = new Watch(new ControlClient(world.controlSocket), name)
    await until(`the supervisor tells of ${name}`, () => watch.#now !== undefined)
    return watch
  }

  private constructor(client: ControlClient, name: string) {
    this.#name = name
    this.#watching = this.#watch(client).catch(() => undefined)
  }

  /** The last that was heard. */
  get now(): HostStatus {
    return this.#now!
  }

  /** Waits until the host has left a state after `sinceMs`; milliseconds from then to that. */
  async leaves(state: HostState, sinceMs: number, withinMs: number): Promise<number> {
    const left = await until(
      `${this.#name} is no longer ${state}`,
      () => this.states.find((each) => each.atMs > sinceMs && each.state !== state),
      withinMs,
    )
    return left.atMs - sinceMs
  }

  async #watch(client: ControlClient): Promise<void> {
    for await (const { hosts } of client.watch(this.#ended.signal)) {
      const host = hosts.find(({ name }) => name === this.#name)
      if (!host) continue
      this.#now = host
      if (this.states.at(-1)?.state !== host.state)
        this.states.push({ state: host.state, atMs: performance.now() })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort()
    await this.#watching
  }
}
