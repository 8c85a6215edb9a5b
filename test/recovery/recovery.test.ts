import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { startClients } from '../faults/network/clients.js'
import { untilServes } from '../faults/network/requests.js'
import { describeNetwork, startScene } from '../faults/network/scene.js'
import { Dockerd } from '../testbed/dockerd.js'
import { FAULTS, type Fault } from './faults.js'
import { table, type Times } from './table.js'

const RUNS = 5

// Long enough for a first attempt to fail, so that a reconnection that waits its turn is part of what is measured.
const BROKEN_FOR_MS = 2000

/** Breaks, mends, and takes the times of it, on a network and with a dproxy of its own. */
const measure = async (fault: Fault, engine: Dockerd): Promise<Times> => {
  await using scope = new Scope()
  const scene = await startScene(scope, engine.socket)
  const { prod, socket } = scene
  const [client] = await startClients(scope, scene, ['events'])
  const brokenMs = performance.now()
  await fault.break(scene, engine)
  const { how, atMs } = await client!.ended
  expect(how).toBe('cut')
  const detectedMs = fault.losesLink ? await prod.leaves('up', brokenMs, 30_000) : null
  await sleep(BROKEN_FOR_MS)
  await fault.mend(scene, engine)
  return { cutMs: atMs - brokenMs, detectedMs, recoveredMs: await untilServes(socket, 60_000) }
}

describeNetwork(
  'dproxy, with a keep-alive of 3 x 1 s, notices and serves again after',
  ['iptables', 'dockerd'],
  () => {
    const scope = new Scope()
    const measured = new Map<string, Times[]>()
    let engine: Dockerd
    beforeAll(async () => {
      engine = scope.use(await Dockerd.start())
    }, 60_000)
    afterAll(async () => {
      await scope[Symbol.asyncDispose]()
      process.stdout.write(`\n${table(measured)}\n`)
    }, 60_000)

    test.for(FAULTS.map((fault) => [fault.name, fault] as const))(
      '%s',
      { timeout: 300_000 },
      async ([, fault]) => {
        const times: Times[] = []
        measured.set(fault.name, times)
        for (let run = 0; run < RUNS; run += 1) times.push(await measure(fault, engine))
        expect(times).toHaveLength(RUNS)
      },
    )
  },
)
