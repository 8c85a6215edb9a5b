import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { all } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { until } from '../testbed/until.js'
import { MEGABYTE, sha256, startPath, TRANSPORTS } from './lanes.js'

describe.each(TRANSPORTS)('from a client to the engine and back, through %s', (transport) => {
  describeWith(['sshd'], 'bytes', () => {
    test('arrive when the client ends first: five megabytes up, then the late answer [T1]', async () => {
      await using scope = new Scope()
      const answer = randomBytes(MEGABYTE)
      let received: Buffer | undefined
      const serve = async (engine: Socket) => {
        received = await all(engine)
        await sleep(100)
        engine.end(answer)
      }
      const { dial, proxy, failures, engines } = await startPath(scope, {
        transport,
        serve: (engine) => void serve(engine),
      })
      const docker = await dial()
      const upload = randomBytes(5 * MEGABYTE)
      docker.end(upload)
      expect(sha256(await all(docker))).toBe(sha256(answer))
      expect(sha256(received!)).toBe(sha256(upload))
      await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0)
      expect(failures).toEqual([])
    })

    test('arrive when the engine ends first: its answer, then five megabytes up [T2]', async () => {
      await using scope = new Scope()
      const answer = randomBytes(MEGABYTE)
      let received: Promise<Buffer> | undefined
      const { dial, proxy, failures, engines } = await startPath(scope, {
        transport,
        serve: (engine) => {
          engine.end(answer)
          received = all(engine)
        },
      })
      const docker = await dial()
      expect(sha256(await all(docker))).toBe(sha256(answer))
      await sleep(100)
      expect(proxy.openStreams).toBe(1)
      const upload = randomBytes(5 * MEGABYTE)
      docker.end(upload)
      expect(sha256(await received!)).toBe(sha256(upload))
      await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0)
      expect(failures).toEqual([])
    })

    test('arrive one at a time, in slices of one, both ways [T23]', async () => {
      await using scope = new Scope()
      const { chaos, dial } = await startPath(scope, { transport, serve: (engine) => engine.pipe(engine) })
      for (const line of [chaos.up, chaos.down]) line.set({ slice: 1 })
      const docker = await dial()
      docker.setNoDelay(true)
      const back = all(docker)
      const bytes = randomBytes(20_000)
      // Some alone, the rest together: packets of one byte and of many, none of which comes in one piece.
      for (const byte of bytes.subarray(0, 50)) {
        docker.write(Buffer.of(byte))
        await sleep(1)
      }
      docker.end(bytes.subarray(50))
      expect(sha256(await back)).toBe(sha256(bytes))
    })
  })
})
