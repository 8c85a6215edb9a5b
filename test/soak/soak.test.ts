import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeOurs } from '../testbed/describe-with.js'
import { HOST_PARTS } from '../testbed/parts.js'
import { until } from '../testbed/until.js'
import { harm } from './faults.js'
import { randomFrom } from './random.js'
import { startSite } from './site.js'
import { median, Tally } from './tally.js'
import { MIB, settled, summary } from './summary.js'
import { holdings, watch } from './watch.js'
import { workOn } from './work.js'

const MINUTES = Number(process.env.DPROXY_SOAK_MINUTES ?? 10)
const SEED = Number(process.env.DPROXY_SOAK_SEED ?? Math.floor(Math.random() * 2 ** 32))

// Work before the first fault, so that what is compared at the end has all been used once.
const WARM_UP_MS = 15_000
const LIMIT_MS = MINUTES * 60_000 + WARM_UP_MS + 180_000

// V8 collects when it likes: what a leak of one kilobyte a client would exceed, and no healthy run does.
const MEMORY_MAY_GROW_BY = 48 * MIB

describeOurs(HOST_PARTS, 'five hosts under random faults', () => {
  const limit = { timeout: LIMIT_MS }
  test('lose no byte, tell no false success, come back each time and leak nothing [L10]', limit, async () => {
    say(`soak: ${MINUTES} min, seed ${SEED}; the same again: DPROXY_SOAK_SEED=${SEED} npm run soak`)
    await using site = await startSite()
    const tally = new Tally()
    const { world, hosts } = site
    const work = (stop: AbortSignal) =>
      Promise.all(
        hosts.map((host, at) => workOn({ world, host, tally, stop, random: randomFrom(SEED + 100 + at) })),
      )

    await work(AbortSignal.timeout(WARM_UP_MS))
    expect(tally.wrong).toEqual([])
    const idle = async () => (await holdings(site)).streams === 0 && site
    await until('nobody asks anything', idle, 30_000)
    await sleep(1000)
    const before = await holdings(site)

    const stop = AbortSignal.timeout(MINUTES * 60_000)
    const watching = new AbortController()
    const watched = watch(site, tally, watching.signal)
    const report = setInterval(() => say(progress(tally)), 30_000)
    try {
      await Promise.all([
        work(stop),
        ...hosts.map((host, at) => harm(host, randomFrom(SEED + at), site, tally, stop)),
      ])
      const allUp = async () => (await site.status()).every(({ state }) => state === 'up')
      await until('every host is up', allUp, 30_000)
      await until('every stream is gone', idle, 30_000)
      const calm = async () => isBack(before, await holdings(site))
      await until('all that was held is given back', calm, 30_000).catch(() => {})
    } finally {
      clearInterval(report)
      watching.abort()
      await watched
    }
    const after = await holdings(site)
    say(summary(tally, { seed: SEED, minutes: MINUTES, before, after }))
    expect(tally.wrong).toEqual([])
    expect(after, JSON.stringify(before)).toSatisfy((held: typeof after) => isBack(before, held))
    const memory = settled(tally).map(({ bytes }) => bytes)
    const part = Math.ceil(memory.length / 5)
    const grown = median(memory.slice(-part)) - median(memory.slice(0, part))
    expect(grown).toBeLessThan(MEMORY_MAY_GROW_BY)

    const down = await world.dproxy(['down', '--all', '--drain', '0s', '--yes'])
    expect(down, down.stderr).toMatchObject({ exitCode: 0 })
    await until('no process of dproxy is left', () => world.processes().length === 0)
    await until('no session is left', () => hosts.every(({ sshd }) => sshd.sessions().length === 0))
  })
})

const isBack = (before: Awaited<ReturnType<typeof holdings>>, after: typeof before): boolean =>
  after.supervisor <= before.supervisor &&
  after.sessions <= before.sessions &&
  after.engines <= before.engines &&
  after.streams === 0

const progress = ({ faults, recoveries, wrong, work }: Tally): string => {
  const done = Array.from(work.values(), (row) => row.done).reduce((sum, times) => sum + times, 0)
  const harmed = [...faults.values()].reduce((sum, times) => sum + times, 0)
  return `soak: ${harmed} faults, ${recoveries.length} overcome; ${done} done; ${wrong.length} wrong`
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)
