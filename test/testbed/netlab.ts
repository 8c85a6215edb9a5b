import { Scope } from '../../src/base/scope.js'
import { Netns } from './netns.js'
import { TunRelay, type TunFaults } from './tun-relay.js'

export interface NetlabOptions {
  /**
   * What the wire does to packets, both ways. With it the wire is a relay of ours, a slow one; without it a pair
   * of the kernel's own virtual devices.
   */
  wire?: TunFaults
}

/** As seen from the near side. */
export type Direction = 'both' | 'in' | 'out'

const DEVICE = 'wire'

/**
 * Two machines with a wire between them, as far as the network is concerned: dproxy runs in `near`, sshd in `far`.
 * Faults are the kernel's own, on real packets. Needs root; see `netns`, `iptables` and `tun` in parts.ts.
 */
export class Netlab implements AsyncDisposable {
  readonly near: Netns
  readonly far: Netns
  /** An address that the near side has a way to, and that never answers. */
  readonly blackhole = '10.213.8.1'
  readonly #scope: Scope

  static async start({ wire }: NetlabOptions = {}): Promise<Netlab> {
    const scope = new Scope()
    try {
      const near = scope.use(await Netns.create('10.213.7.1'))
      const far = scope.use(await Netns.create('10.213.7.2'))
      if (wire) scope.use(await TunRelay.start(near, far, DEVICE, wire))
      else await joinByVeth(near, far)
      for (const side of [near, far]) {
        await side.run('ip', 'addr', 'add', `${side.address}/24`, 'dev', DEVICE)
        await side.run('ip', 'link', 'set', DEVICE, 'up')
      }
      const lab = new Netlab(near, far, scope)
      await far.run('ip', 'route', 'add', 'blackhole', lab.blackhole)
      await lab.#routeToBlackhole()
      return lab
    } catch (failure) {
      await scope[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(near: Netns, far: Netns, scope: Scope) {
    this.near = near
    this.far = far
    this.#scope = scope
  }

  /** Packets vanish without a word, in one direction or in both. */
  async drop(direction: Direction): Promise<void> {
    await this.#arriving(direction, ['-j', 'DROP'])
  }

  /** Every so many of a hundred packets vanish, both ways. */
  async loss(percent: number): Promise<void> {
    const chance = ['-m', 'statistic', '--mode', 'random', '--probability', String(percent / 100)]
    await this.#arriving('both', [...chance, '-j', 'DROP'])
  }

  /** Whatever the near side sends is answered with a reset, as by a firewall that has forgotten the connection. */
  async reset(): Promise<void> {
    const rule = ['-A', 'OUTPUT', '-o', DEVICE, '-p', 'tcp', '-j', 'REJECT', '--reject-with', 'tcp-reset']
    await this.near.run('iptables', ...rule)
  }

  /** The near side's connections end at once, as when its kernel gives them up. */
  async closeSockets(): Promise<void> {
    // It says which ones it closed, and is silent where the kernel cannot.
    const closed = await this.near.run('ss', '-H', '-K', 'dst', this.far.address)
    if (closed.trim() === '') throw new Error('ss -K closed no socket (CONFIG_INET_DIAG_DESTROY)')
  }

  /** The near side's cable is pulled. */
  async linkDown(): Promise<void> {
    await this.near.run('ip', 'link', 'set', DEVICE, 'down')
  }

  /** Each direction carries so many kbit/s, and keeps what comes faster waiting for up to `queueMs`. */
  async rate(kbit: number, queueMs: number): Promise<void> {
    const filter = ['tbf', 'rate', `${kbit}kbit`, 'burst', '4kb', 'latency', `${queueMs}ms`]
    for (const side of [this.near, this.far])
      await side.run('tc', 'qdisc', 'replace', 'dev', DEVICE, 'root', ...filter)
  }

  /** No faults any more; the rate stays. */
  async heal(): Promise<void> {
    await this.near.run('ip', 'link', 'set', DEVICE, 'up')
    // It went with the device.
    await this.#routeToBlackhole()
    await Promise.all([this.near, this.far].map((side) => side.run('iptables', '-F')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]()
  }

  async #routeToBlackhole(): Promise<void> {
    await this.near.run('ip', 'route', 'replace', this.blackhole, 'via', this.far.address)
  }

  // At the receiver: a sender is told when a packet is dropped on its way out, and a real network tells nobody.
  async #arriving(direction: Direction, what: readonly string[]): Promise<void> {
    const receivers = [direction === 'out' ? [] : this.near, direction === 'in' ? [] : this.far].flat()
    await Promise.all(receivers.map((side) => side.run('iptables', '-A', 'INPUT', '-i', DEVICE, ...what)))
  }
}

const joinByVeth = async (near: Netns, far: Netns): Promise<void> => {
  const peer = ['peer', 'name', DEVICE, 'netns', String(far.pid)]
  await near.run('ip', 'link', 'add', DEVICE, 'type', 'veth', ...peer)
}
