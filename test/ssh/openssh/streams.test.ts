import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { all, text } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { until } from '../../testbed/until.js'
import { laneToEngine } from './support.js'

const MEGABYTE = 1024 * 1024
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describeWith(['sshd'], "a stream through the system's ssh", () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  test('lets the engine answer after the client has ended, whole [T1]', async () => {
    await using scope = new Scope()
    const { open, lane, engines } = await laneToEngine(scope, sshd, (engine) => {
      void all(engine).then(async (received) => {
        await sleep(50)
        engine.end(`${sha256(received)} ${'x'.repeat(MEGABYTE)}`)
      })
    })
    const stream = await open()
    const upload = randomBytes(5 * MEGABYTE)
    stream.end(upload)
    const answer = await text(stream)
    expect(answer.slice(0, 65)).toBe(`${sha256(upload)} `)
    expect(answer.length).toBe(65 + MEGABYTE)
    await until('nothing is left', () => lane.openStreams === 0 && engines.size === 0)
  })

  test('lets the client go on sending after the engine has ended [T2]', async () => {
    await using scope = new Scope()
    let received: Promise<Buffer> | undefined
    const { open, lane, engines } = await laneToEngine(scope, sshd, (engine) => {
      engine.end('early answer')
      received = all(engine)
    })
    const stream = await open()
    expect(await text(stream)).toBe('early answer')
    const upload = randomBytes(5 * MEGABYTE)
    stream.end(upload)
    const there = await until('the engine has a client', () => received).then((body) => body)
    expect(sha256(there)).toBe(sha256(upload))
    await until('nothing is left', () => lane.openStreams === 0 && engines.size === 0)
  })

  test('delivers all an engine sent that then closed on an upload, and drops the rest of the upload', async () => {
    await using scope = new Scope()
    const answer = randomBytes(MEGABYTE)
    const { open, lane, engines } = await laneToEngine(scope, sshd, (engine) => {
      engine.once('data', () => {
        engine.pause()
        engine.end(answer, () => engine.destroy())
      })
    })
    const stream = await open()
    const failures: Error[] = []
    stream.on('error', (failure) => failures.push(failure))
    const pour = () => {
      while (stream.write(Buffer.alloc(64 * 1024)));
    }
    // Not at once: what is dropped makes room at once, and nothing else would ever have its turn.
    stream.on('drain', () => setImmediate(pour))
    pour()
    await until('the engine has closed', () => engines.size === 0)
    await sleep(100)
    expect(sha256(await all(stream))).toBe(sha256(answer))
    expect(failures).toEqual([])
    await until('nothing is left', () => lane.openStreams === 0)
  })

  test('closes at the engine what is destroyed here, and carries on', async () => {
    await using scope = new Scope()
    const { open, lane, engines } = await laneToEngine(scope, sshd, (engine) => {
      const pour = () => {
        while (engine.write(Buffer.alloc(64 * 1024)));
      }
      engine.on('drain', pour)
      pour()
    })
    for (const destroyed of [await open(), (await open()).pause(), (await open()).resume()]) {
      await sleep(20)
      destroyed.destroy()
    }
    await until('nothing is left', () => lane.openStreams === 0 && engines.size === 0)
    const [piece] = (await once(await open(), 'data')) as [Buffer]
    expect(piece.length).toBeGreaterThan(0)
  })

  test('calls every write back, also those on a stream that is closed meanwhile [T7]', async () => {
    await using scope = new Scope()
    const { open } = await laneToEngine(scope, sshd, (engine) => engine.pause())
    const stream = await open()
    stream.on('error', () => undefined)
    const ends = [8 * MEGABYTE, 1, 1].map(
      (size) =>
        new Promise((resolve) => stream.write(Buffer.alloc(size), (failure) => resolve(failure ?? 'done'))),
    )
    await sleep(100)
    stream.destroy()
    for (const end of await Promise.all(ends)) expect(end).toBeInstanceOf(Error)
  })

  test('bounds what it holds for a reader who stands still, and serves the others [T10]', async () => {
    await using scope = new Scope()
    let poured = 0
    const { open } = await laneToEngine(scope, sshd, (engine) => {
      const pour = () => {
        do poured += 64 * 1024
        while (engine.write(Buffer.alloc(64 * 1024)))
      }
      engine.once('data', (word) => {
        if (String(word) === 'quick') return engine.end(Buffer.alloc(10 * MEGABYTE))
        engine.on('drain', pour)
        return pour()
      })
    })
    const stuck = await open()
    stuck.write('pour')
    let before = -1
    await until('the engine is held back', async () => {
      before = poured
      await sleep(150)
      return poured > 0 && poured === before
    })
    expect(poured).toBeLessThan(6 * MEGABYTE)
    const quick = await open()
    quick.write('quick')
    expect((await all(quick)).length).toBe(10 * MEGABYTE)
    expect(poured).toBe(before)
  })

  test('bounds what it holds for an engine that does not read, and goes on when it does [T11]', async () => {
    await using scope = new Scope()
    const stopped: NodeJS.ReadableStream[] = []
    let received: Promise<Buffer> | undefined
    const { open } = await laneToEngine(scope, sshd, (engine) => {
      stopped.push(engine.pause())
      received = all(engine)
      engine.pause()
    })
    const stream = await open()
    const upload = randomBytes(16 * MEGABYTE)
    let written = 0
    const step = 64 * 1024
    const pour = () => {
      while (written < upload.length) {
        written += step
        if (!stream.write(upload.subarray(written - step, written))) return
      }
      stream.end()
    }
    stream.on('drain', pour)
    pour()
    let before = -1
    await until('the client is held back', async () => {
      before = written
      await sleep(1500)
      return written === before
    })
    expect(written).toBeLessThan(6 * MEGABYTE)
    stopped[0]!.resume()
    expect(sha256(await received!)).toBe(sha256(upload))
  })
})
