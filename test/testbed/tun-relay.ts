import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Kept } from './kept.js'
import type { Netns } from './netns.js'
import { program } from './parts.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

/** What happens to each packet; what is not named does not happen. Chances are from 0 to 1. */
export interface TunFaults {
  /** Every packet comes this much later. */
  delayMs?: number
  /** And up to this much earlier or later, drawn at random: packets overtake each other. */
  jitterMs?: number
  /** The chance to vanish. */
  loss?: number
  /** The chance to overtake those before it. */
  reorder?: number
  /** The chance to arrive twice. */
  duplicate?: number
}

/**
 * A TUN device in each of two network namespaces, not configured yet, and a relay between them: for the faults that the kernel
 * has in a module which is often missing (tc-netem(8)). See tun-relay.py.
 */
export class TunRelay implements AsyncDisposable {
  readonly #kept: Kept

  static async start(near: Netns, far: Netns, device: string, faults: TunFaults): Promise<TunRelay> {
    const dir = await TempDir.create()
    const log = join(dir.path, 'log')
    const words = [RELAY, device, near.path, far.path, JSON.stringify(faults)]
    const kept = Kept.start([program('python3') ?? 'python3', ...words], {
      dir: dir.path,
      log,
      // The namespaces are named by processes out here.
      apart: false,
    })
    try {
      const said = () => readFile(log, 'utf8')
      const ready = until('the relay is ready', async () => (await said()).includes('ready'))
      const over = kept.exited.then(async (code) => {
        throw new Error(`tun-relay.py ended with ${code}: ${await said()}`)
      })
      await Promise.race([ready, over])
      return new TunRelay(kept)
    } catch (failure) {
      await kept[Symbol.asyncDispose]()
      throw failure
    }
  }

  private constructor(kept: Kept) {
    this.#kept = kept
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kept[Symbol.asyncDispose]()
  }
}

const RELAY = fileURLToPath(new URL('tun-relay.py', import.meta.url))
