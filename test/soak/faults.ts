import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../testbed/until.js'
import { ask } from './ask.js'
import type { Random } from './random.js'
import type { Site, SoakHost } from './site.js'
import type { Tally } from './tally.js'

/** Does harm and resolves when it is lifted. */
type Fault = (host: SoakHost, random: Random, site: Site) => Promise<unknown>

const RATES = [30_000, 100_000, 400_000]

const seconds = (random: Random, low: number, high: number) => sleep(random.between(low, high) * 1000)

const FAULTS: Readonly<Record<string, Fault>> = {
  reset: async ({ chaos }) => chaos.reset(),
  close: async ({ chaos }) => chaos.close(),
  'blackhole, both ways': async ({ chaos }, random) => {
    chaos.blackhole(true)
    await seconds(random, 0.2, 8)
  },
  'blackhole, one way': async ({ chaos }, random) => {
    random.oneOf([chaos.up, chaos.down]).set({ blackhole: true })
    await seconds(random, 0.2, 8)
  },
  latency: async ({ chaos }, random) => {
    const [latencyMs, jitterMs] = [random.between(20, 200), random.between(0, 100)]
    for (const line of [chaos.up, chaos.down]) line.set({ latencyMs, jitterMs })
    await seconds(random, 3, 10)
  },
  rate: async ({ chaos }, random) => {
    const rate = random.oneOf(RATES)
    for (const line of [chaos.up, chaos.down]) line.set({ rate })
    await seconds(random, 3, 10)
  },
  slices: async ({ chaos }, random) => {
    const slice = random.whole(1, 200)
    for (const line of [chaos.up, chaos.down]) line.set({ slice })
    await seconds(random, 1, 4)
  },
  'a bit flips': async ({ chaos }, random) => {
    // Past the login: before it, the bit would be one of the host key.
    random.oneOf([chaos.up, chaos.down]).set({ flipAt: random.whole(20_000, 400_000) })
    chaos.reset()
    await seconds(random, 2, 6)
  },
  'closes half-way': async ({ chaos }, random) => {
    random.oneOf([chaos.up, chaos.down]).set({ limit: random.whole(20_000, 400_000), slowCloseMs: 200 })
    chaos.reset()
    await seconds(random, 2, 6)
  },
  'port refused': async ({ chaos }, random) => {
    await chaos.door('refuse')
    chaos.reset()
    await seconds(random, 0.2, 6)
  },
  'door silent': async ({ chaos }, random) => {
    await chaos.door('silent')
    chaos.reset()
    await seconds(random, 0.2, 8)
    // Whoever waits at it is let go of: they would only be told so by their own time limit.
    chaos.reset()
  },
  'hangs up': async ({ chaos }, random) => {
    await chaos.door(random.oneOf(['hang up', 'reset']))
    chaos.reset()
    await seconds(random, 0.2, 6)
  },
  'sshd restarts': ({ sshd }) => sshd.restart(),
  'sessions killed': async ({ sshd }, random) => {
    const signal = random.oneOf(['SIGKILL', 'SIGTERM'] as const)
    for (const pid of sshd.sessions()) end(pid, signal)
  },
  'sessions stopped': async ({ sshd }, random) => {
    const pids = sshd.sessions()
    for (const pid of pids) end(pid, 'SIGSTOP')
    await seconds(random, 0.5, 6)
    for (const pid of pids) end(pid, 'SIGCONT')
  },
  'dproxy restart': async ({ name }, random, { world }) => {
    const { exitCode, stderr } = await world.dproxy(['restart', name, '--drain', random.oneOf(['0s', '1s'])])
    if (exitCode !== 0) throw new Error(`dproxy restart ${name} ended with ${exitCode}: ${stderr}`)
  },
  'a stream cut by hand': async ({ name }, random, { control }) => {
    const streams = await control.streams(name)
    if (streams.length > 0) await control.cut(random.oneOf(streams).id).catch(() => {})
  },
  'socket deleted': ({ socket }) => rm(socket, { force: true }),
}

// Cheap and telling ones come more often.
const OFTEN = ['reset', 'blackhole, both ways', 'blackhole, one way', 'sessions killed', 'sshd restarts']
const CHOICE = [...Object.keys(FAULTS), ...OFTEN]

/** The longest that a host may take to serve again once a fault is over: the next try, a login, and room for both. */
export const BACK_WITHIN_MS = 20_000

/** One fault after the other on one host, each when the last is overcome, until `stop` aborts. */
export const harm = async (
  host: SoakHost,
  random: Random,
  site: Site,
  tally: Tally,
  stop: AbortSignal,
): Promise<void> => {
  while (!stop.aborted) {
    await sleep(random.between(1000, 7000), undefined, { signal: stop }).catch(() => {})
    if (stop.aborted) return
    const kind = random.oneOf(CHOICE)
    tally.fault(host.name, kind)
    try {
      await FAULTS[kind]!(host, random, site)
      await host.chaos.heal()
      tally.recoveries.push(await recovery(host))
    } catch (failure) {
      tally.blame(host.name, String(failure))
      await host.chaos.heal()
    }
  }
}

/** Milliseconds until a host serves, from now on. */
const recovery = async (host: SoakHost): Promise<number> => {
  const sinceMs = performance.now()
  const serves = async () => {
    // Bounded: a link that is dead and does not know it yet swallows the question.
    const signal = AbortSignal.timeout(2000)
    return (await ask(host.socket, 'GET', '/_ping', { signal })).status === 200
  }
  await until(`${host.name} serves again`, serves, BACK_WITHIN_MS)
  return performance.now() - sinceMs
}

const end = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}
