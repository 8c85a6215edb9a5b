import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { all, text } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { until } from '../../testbed/until.js'
import { never } from '../support.js'
import { laneToEngine } from './support.js'

const MEGABYTE = 1024 * 1024
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describeWith(['sshd'], "of many streams through the system's ssh, each", () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  test('is opened 2000 times, twenty at a time, and nothing is left [T9]', { timeout: 60_000 }, async () => {
    await using scope = new Scope()
    const { open, lane, engines } = await laneToEngine(scope, sshd, (engine) => engine.pipe(engine))
    const one = async (at: number) => {
      const stream = await open()
      stream.end(`stream ${at}`)
      expect(await text(stream)).toBe(`stream ${at}`)
    }
    const many = async (first: number) => {
      for (let at = first; at < 2000; at += 20) await one(at)
    }
    await Promise.all(Array.from({ length: 20 }, (_, first) => many(first)))
    await until('nothing is left', () => lane.openStreams === 0 && engines.size === 0)
  })

  test('is one of 300 at once though the server allows two sessions [T12]', async () => {
    await using scope = new Scope()
    await using narrow = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxSessions 2'] })
    const { open, lane, engines } = await laneToEngine(scope, narrow, (engine) => engine.pipe(engine))
    const streams = await Promise.all(Array.from({ length: 300 }, open))
    expect(lane.openStreams).toBe(300)
    const answers = streams.map(async (stream, at) => {
      stream.end(`stream ${at}`)
      return text(stream)
    })
    expect(await Promise.all(answers)).toEqual(streams.map((_, at) => `stream ${at}`))
    await until('nothing is left', () => lane.openStreams === 0 && engines.size === 0)
  })

  test('survives new keys every megabyte, in both directions at once [T8]', { timeout: 60_000 }, async () => {
    await using scope = new Scope()
    await using rekeying = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['RekeyLimit 1M'] })
    const down = randomBytes(40 * MEGABYTE)
    let received: Promise<Buffer> | undefined
    const { open, lane } = await laneToEngine(scope, rekeying, (engine) => {
      received = all(engine)
      engine.end(down)
    })
    const stream = await open()
    const up = randomBytes(40 * MEGABYTE)
    stream.end(up)
    expect(sha256(await all(stream))).toBe(sha256(down))
    expect(sha256(await received!)).toBe(sha256(up))
    expect(lane.lost.aborted).toBe(false)
  })

  test('answers the signs of life that the server asks for', async () => {
    await using scope = new Scope()
    await using asking = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: ['ClientAliveInterval 1', 'ClientAliveCountMax 1'],
    })
    const { open, lane } = await laneToEngine(scope, asking, (engine) => engine.pipe(engine))
    const stream = await open()
    await sleep(4500)
    expect(lane.lost.aborted).toBe(false)
    stream.end('still here')
    expect(await text(stream)).toBe('still here')
  })

  test('is not opened for somebody who has left, and none is kept for who leaves meanwhile', async () => {
    await using scope = new Scope()
    const { lane, engines, path } = await laneToEngine(scope, sshd, (engine) => engine.pipe(engine))
    const reason = new Error('left')
    await expect(lane.openStream(path, AbortSignal.abort(reason))).rejects.toBe(reason)
    const leaving = Array.from({ length: 50 }, () => {
      const stop = new AbortController()
      const opening = lane.openStream(path, stop.signal)
      stop.abort(reason)
      return expect(opening).rejects.toBe(reason)
    })
    await Promise.all(leaving)
    await until('nothing is left', () => lane.openStreams === 0 && engines.size === 0)
    const stream = await lane.openStream(path, never)
    stream.end('the next one')
    expect(await text(stream)).toBe('the next one')
  })
})
