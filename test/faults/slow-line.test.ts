import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { EngineLane } from '../../src/ssh/engine/engine-lane.js'
import { keepAlive } from '../../src/supervisor/link/keep-alive.js'
import { all } from '../proxy/support.js'
import { never } from '../ssh/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { sha256, startLane, TRANSPORTS } from './lanes.js'

const MEGABIT_A_SECOND = 125_000
const PATIENCE = { intervalMs: 1000, misses: 3 }

describeWith(['sshd'], 'a line of one megabit a second', () => {
  test.concurrent.each(
    [
      // Longer than silence is endured for, three times over.
      ['up', 1_000_000, 0],
      ['down', 0, 1_000_000],
      ['both ways', 1_000_000, 1_000_000],
    ].flatMap(([way, up, down]) => TRANSPORTS.map((transport) => ({ way, up, down, transport }) as const)),
  )(
    'that is busy $way is not taken for a dead one, through $transport [T17]',
    { timeout: 60_000 },
    async ({ up, down, transport }) => {
      await using scope = new Scope()
      const upload = randomBytes(Number(up))
      const answer = randomBytes(Number(down))
      const received: Promise<Buffer>[] = []
      const rig = await startLane(scope, {
        transport,
        target: { keepAlive: PATIENCE },
        serve: (engine) => {
          received.push(all(engine))
          engine.once('data', (word: Buffer) => String(word) === 'down' && engine.end(answer))
          engine.once('end', () => engine.end())
        },
      })
      const lane = new EngineLane(rig.lane, rig.path)
      void keepAlive(lane, PATIENCE, lane.lost)
      for (const line of [rig.chaos.up, rig.chaos.down]) line.set({ rate: MEGABIT_A_SECOND })
      const load = async () => {
        if (upload.length === 0) return
        const stream = await rig.open()
        stream.resume().end(upload)
        const there = received.at(-1)!
        expect(sha256(await there)).toBe(sha256(upload))
      }
      const save = async () => {
        if (answer.length === 0) return
        const stream = await rig.open()
        stream.write('down')
        expect(sha256(await all(stream))).toBe(sha256(answer))
      }
      await Promise.all([load(), save(), load()])
      expect(lane.lost.aborted).toBe(false)
      expect(await lane.ping(5000, never)).toBeGreaterThan(0)
    },
  )
})
