import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { ControlClient } from '../../../src/control/client.js'
import { must } from '../../e2e/lifecycle.js'
import { World } from '../../testbed/cli.js'
import { until } from '../../testbed/until.js'
import { mostInAnyTenth, mostTriesIn } from '../../supervisor/tries.js'
import { processorMs } from './processor.js'
import { ask, startScene } from './support.js'

const HOSTS = 200
const AWAY_MS = 12_000

// Two hundred tries that are drawn from a quarter of a second are eighty in any tenth, and hardly ever a hundred.
const MOST_IN_100_MS = 120

test(
  'two hundred hosts that lose the network at once come back without a storm: their tries are spread and become rarer, and the supervisor answers meanwhile [T25]',
  { timeout: 180_000 },
  async () => {
    await using scope = new Scope()
    const { chaos, host } = await startScene(scope)
    const world = scope.use(await World.create())
    const names = Array.from({ length: HOSTS }, (_, index) => `h${index}`)
    await world.config({ hosts: Object.fromEntries(names.map((name) => [name, world.entry(name, host)])) })
    await must(world, ['up', '--all', '--no-wait'])
    const client = new ControlClient(world.controlSocket)
    const areUp = async () => (await client.status()).hosts.every(({ state }) => state === 'up')
    await until('all are up', areUp, 60_000)
    const { pid } = (await client.status()).supervisor!
    const refusals = hearRefusals(scope, client)

    await chaos.door('refuse')
    const lostMs = Date.now()
    chaos.reset()
    await answersWithin(client, 2000, lostMs + AWAY_MS / 2)
    const before = { usedMs: processorMs(pid), atMs: Date.now() }
    await answersWithin(client, 2000, lostMs + AWAY_MS)
    const now = { usedMs: processorMs(pid), atMs: Date.now() }
    expect((now.usedMs - before.usedMs) / (now.atMs - before.atMs)).toBeLessThan(0.8)

    const tried = () => new Set(refusals.map((refusal) => refusal.host)).size
    await until('each has tried', () => tried() === HOSTS, 60_000)
    await chaos.heal()
    const awayMs = Date.now() - lostMs
    await until('all are up again', areUp, 60_000)
    expect(mostInAnyTenth(refusals.map(({ atMs }) => atMs))).toBeLessThan(MOST_IN_100_MS)
    for (const name of names) {
      const tries = refusals.filter((refusal) => refusal.host === name).length
      expect(tries).toBeLessThanOrEqual(mostTriesIn(awayMs))
    }
    const { hosts } = await client.status()
    expect(hosts.map(({ reconnects }) => reconnects)).toEqual(names.map(() => 1))
    expect(await ask(world.socket('h7'))).toBe(200)
  },
)

/** Asks the supervisor how it is, again and again, until `untilMs` (since 1970). */
const answersWithin = async (client: ControlClient, ms: number, untilMs: number): Promise<void> => {
  while (Date.now() < untilMs) {
    const asked = performance.now()
    await client.status()
    expect(performance.now() - asked).toBeLessThan(ms)
    await sleep(100)
  }
}

/** Each try that was refused: whose, and when. */
const hearRefusals = (scope: Scope, client: ControlClient) => {
  const refusals: { readonly host: string; readonly atMs: number }[] = []
  const over = scope.add(new AbortController(), (controller) => controller.abort())
  const hear = async () => {
    for await (const { host, message, time } of client.logs(undefined, true, over.signal)) {
      if (host && message.includes('connection refused')) refusals.push({ host, atMs: Date.parse(time) })
    }
  }
  void hear().catch(() => undefined)
  return refusals
}
