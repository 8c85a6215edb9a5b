import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { all } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { until } from '../testbed/until.js'
import { MEGABYTE, sha256, startPath, TRANSPORTS, type Transport } from './lanes.js'

const STUCK = 10
// What a stream may hold, both ends' kernels and sshd's own buffers on top; and what all share, the connection.
const MOST_EACH = 3 * MEGABYTE
const MOST_SHARED = 24 * MEGABYTE

const QUICK = randomBytes(24 * MEGABYTE)
const PIECE = 64 * 1024

/** Writes `bytes` as fast as they are taken, then ends; hears how much was taken. */
const send = async (socket: Socket, bytes: Buffer, taken: (bytes: number) => void) => {
  for (let at = 0; at < bytes.length; at += PIECE) {
    const piece = bytes.subarray(at, at + PIECE)
    if (!socket.write(piece)) await once(socket, 'drain')
    taken(piece.length)
  }
  socket.end()
}

/** A counter that has begun to count does not go on, for as long as it must if nothing stood still. */
const still = (what: string, count: () => number) => {
  let before = -1
  return until(
    what,
    async () => {
      before = count()
      await sleep(1200)
      return count() > 0 && count() === before
    },
    40_000,
  )
}

/** A way to an engine that pours without end, or sends what is quick. */
const startPouring = async (scope: Scope, transport: Transport) => {
  let poured = 0
  const serve = (engine: Socket) => {
    const pour = () => {
      do poured += PIECE
      while (engine.write(Buffer.alloc(PIECE)))
    }
    engine.once('data', (word: Buffer) => {
      if (String(word) === 'quick') return engine.end(QUICK)
      engine.on('drain', pour)
      return pour()
    })
  }
  const { dial } = await startPath(scope, { transport, serve })
  /** Bytes a millisecond. */
  const speed = async () => {
    const docker = await dial()
    const hash = createHash('sha256')
    docker.on('data', (bytes: Buffer) => hash.update(bytes)).write('quick')
    const before = performance.now()
    await once(docker, 'end')
    const ms = performance.now() - before
    docker.destroy()
    expect(hash.digest('hex')).toBe(sha256(QUICK))
    return QUICK.length / ms
  }
  return { dial, speed, poured: () => poured }
}

describe.each(TRANSPORTS)('through %s', { timeout: 90_000 }, (transport) => {
  describeWith(['sshd'], 'clients that stand still', () => {
    test(
      'leave the others their speed, and cost a bounded number of bytes [T10]',
      { timeout: 60_000 },
      async () => {
        await using scope = new Scope()
        const [free, shared] = await Promise.all([
          startPouring(scope, transport),
          startPouring(scope, transport),
        ])
        const stuck = await Promise.all(Array.from({ length: STUCK }, shared.dial))
        for (const docker of stuck) docker.pause().write('pour')
        await still('their engines are held back', shared.poured)
        const held = shared.poured()
        expect(held).toBeLessThan(STUCK * MOST_EACH + MOST_SHARED)
        // Both at the same time, as the machine has other things to do as well; and the best of several rounds.
        let ratio = 0
        for (let round = 0; round < 6 && ratio < 0.8; round += 1) {
          const [alone, beside] = await Promise.all([free.speed(), shared.speed()])
          ratio = Math.max(ratio, beside / alone)
        }
        expect(ratio).toBeGreaterThan(0.8)
        expect(shared.poured()).toBe(held)
      },
    )
  })

  describeWith(['sshd'], 'a client that has stood still', () => {
    test('gets every byte when it goes on reading [T11]', async () => {
      await using scope = new Scope()
      const answer = randomBytes(24 * MEGABYTE)
      let sent = 0
      const { dial } = await startPath(scope, {
        transport,
        serve: (engine) => void send(engine, answer, (bytes) => (sent += bytes)),
      })
      const docker = (await dial()).pause()
      await still('the engine is held back', () => sent)
      expect(sent).toBeLessThan(answer.length)
      const received = all(docker)
      docker.resume()
      expect(sha256(await received)).toBe(sha256(answer))
    })
  })

  describeWith(['sshd'], 'an engine that has stood still', () => {
    test('gets every byte when it goes on reading, and its client was held back [T11]', async () => {
      await using scope = new Scope()
      let engine: Socket | undefined
      let received: Promise<Buffer> | undefined
      const { dial } = await startPath(scope, {
        transport,
        serve: (socket) => {
          received = all(socket)
          engine = socket.pause()
        },
      })
      const docker = await dial()
      const upload = randomBytes(24 * MEGABYTE)
      let sent = 0
      void send(docker, upload, (bytes) => (sent += bytes))
      await still('the client is held back', () => sent)
      expect(sent).toBeLessThan(upload.length)
      engine!.resume()
      expect(sha256(await received!)).toBe(sha256(upload))
    })
  })
})
