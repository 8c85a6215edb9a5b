import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import ssh2, { type Client } from 'ssh2'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import type { Lane } from '../../src/ssh/lane.js'
import { all, startEngine, text, type Serve } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { laneTo, never, targetOf } from './support.js'

const MEGABYTE = 1024 * 1024
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** How many channels ssh2 still keeps. */
const channels = (client: Client): number =>
  (client as unknown as { _chanMgr: { _count: number } })._chanMgr._count

const nothingIsLeft = (lane: Lane, client: Client, engines: ReadonlySet<unknown>) =>
  until('nothing is left', () => lane.openStreams === 0 && channels(client) === 0 && engines.size === 0)

describeWith(['sshd'], 'a lane to a real server', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())
  afterEach(() => void vi.restoreAllMocks())

  const start = async (scope: Scope, serve: Serve, server = sshd) => {
    const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
    const { clients } = await startEngine(scope, path, serve)
    const connect = vi.spyOn(ssh2.Client.prototype, 'connect')
    const lane = await laneTo(scope, targetOf(server))
    const client = connect.mock.contexts.at(-1) as Client
    return { lane, engines: clients, client, path, open: () => lane.openStream(path, never) }
  }

  test('lets the engine answer after the client has ended, whole [T1]', async () => {
    await using scope = new Scope()
    const { open, lane, client, engines } = await start(scope, (engine) => {
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
    await nothingIsLeft(lane, client, engines)
  })

  test('lets the client go on sending after the engine has ended [T2]', async () => {
    await using scope = new Scope()
    let received: Promise<Buffer> | undefined
    const { open, lane, client, engines } = await start(scope, (engine) => {
      engine.end('early answer')
      received = all(engine)
    })
    const stream = await open()
    expect(await text(stream)).toBe('early answer')
    const upload = randomBytes(5 * MEGABYTE)
    stream.end(upload)
    const there = await until('the engine has a client', () => received).then((body) => body)
    expect(sha256(there)).toBe(sha256(upload))
    await nothingIsLeft(lane, client, engines)
  })

  test('delivers all an engine sent that then closed on an upload, and drops the rest of the upload', async () => {
    await using scope = new Scope()
    const answer = randomBytes(3 * MEGABYTE)
    const { open, lane, client, engines } = await start(scope, (engine) => {
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
    // Read only now, while writes still come: nothing of it may be lost to them.
    await sleep(100)
    expect(sha256(await all(stream))).toBe(sha256(answer))
    expect(failures).toEqual([])
    await nothingIsLeft(lane, client, engines)
  })

  test('drops what is written to an engine that has closed, and still delivers what it sent [T7]', async () => {
    await using scope = new Scope()
    const answer = randomBytes(MEGABYTE)
    const { open, lane, client, engines } = await start(scope, (engine) => {
      engine.end(answer, () => engine.destroy())
    })
    const stream = await open()
    const failures: Error[] = []
    stream.on('error', (failure) => failures.push(failure))
    await until('the engine has closed', () => engines.size === 0)
    // sshd learns by writing that the engine has gone, and closes the channel then.
    await until('ssh2 knows', () => {
      stream.write('x')
      return channels(client) === 0
    })
    expect(await new Promise((resolve) => stream.write('into the void', resolve))).toBeFalsy()
    expect(sha256(await all(stream))).toBe(sha256(answer))
    expect(failures).toEqual([])
    await nothingIsLeft(lane, client, engines)
  })

  test('closes at the engine what is destroyed here, and carries on', async () => {
    await using scope = new Scope()
    const { open, lane, client, engines } = await start(scope, (engine) => {
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
    await nothingIsLeft(lane, client, engines)
    const [piece] = (await once(await open(), 'data')) as [Buffer]
    expect(piece.length).toBeGreaterThan(0)
  })

  test('calls every write back, also those on a stream that is closed meanwhile [T7]', async () => {
    await using scope = new Scope()
    const { open } = await start(scope, (engine) => engine.pause())
    const stream = await open()
    stream.on('error', () => undefined)
    const ends = [8 * MEGABYTE, 1, 1].map(
      (size) =>
        new Promise((resolve) => stream.write(Buffer.alloc(size), (failure) => resolve(failure ?? 'done'))),
    )
    // More than the window: the first write cannot end by itself.
    await sleep(100)
    stream.destroy()
    for (const end of await Promise.all(ends)) expect(end).toBeInstanceOf(Error)
    const late = await new Promise((resolve) => stream.write('late', resolve))
    expect(late).toMatchObject({ code: 'ERR_STREAM_DESTROYED' })
  })

  test('bounds what it holds for a reader who stands still, and serves the others [T10]', async () => {
    await using scope = new Scope()
    let poured = 0
    const { open } = await start(scope, (engine) => {
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

  test('leaves no channel behind after 2000 streams, twenty at a time', { timeout: 60_000 }, async () => {
    await using scope = new Scope()
    const { open, lane, client, engines } = await start(scope, (engine) => engine.pipe(engine))
    const one = async (at: number) => {
      const stream = await open()
      stream.end(`stream ${at}`)
      expect(await text(stream)).toBe(`stream ${at}`)
    }
    const many = async (first: number) => {
      for (let at = first; at < 2000; at += 20) await one(at)
    }
    await Promise.all(Array.from({ length: 20 }, (_, first) => many(first)))
    await nothingIsLeft(lane, client, engines)
  })

  test('carries 300 streams at once though the server allows two sessions [T12]', async () => {
    await using scope = new Scope()
    await using narrow = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxSessions 2'] })
    const { open, lane, client, engines } = await start(scope, (engine) => engine.pipe(engine), narrow)
    const streams = await Promise.all(Array.from({ length: 300 }, open))
    expect(lane.openStreams).toBe(300)
    const answers = streams.map(async (stream, at) => {
      stream.end(`stream ${at}`)
      return text(stream)
    })
    expect(await Promise.all(answers)).toEqual(streams.map((_, at) => `stream ${at}`))
    await nothingIsLeft(lane, client, engines)
  })

  test('survives new keys every megabyte, in both directions at once [T8]', { timeout: 60_000 }, async () => {
    await using scope = new Scope()
    await using rekeying = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['RekeyLimit 1M'] })
    const down = randomBytes(40 * MEGABYTE)
    let received: Promise<Buffer> | undefined
    const { open, client, lane } = await start(
      scope,
      (engine) => {
        received = all(engine)
        engine.end(down)
      },
      rekeying,
    )
    let exchanges = 0
    client.on('handshake', () => (exchanges += 1))
    const stream = await open()
    const up = randomBytes(40 * MEGABYTE)
    stream.end(up)
    expect(sha256(await all(stream))).toBe(sha256(down))
    expect(sha256(await received!)).toBe(sha256(up))
    expect(exchanges).toBeGreaterThan(20)
    expect(lane.lost.aborted).toBe(false)
  })

  test('measures the round trip, and hears that the server lives', async () => {
    await using scope = new Scope()
    const { lane } = await start(scope, (engine) => engine.end())
    expect(lane.rttMs).toBeNull()
    await until('the server has nothing more to say', () => lane.silentMs > 100)
    const trips = await Promise.all(Array.from({ length: 20 }, () => lane.ping(5000, never)))
    for (const ms of trips) {
      expect(ms).toBeGreaterThan(0)
      expect(ms).toBeLessThan(1000)
    }
    expect(lane.rttMs).toBe(trips.at(-1))
    expect(lane.silentMs).toBeLessThan(100)
  })

  test('does not open a stream for somebody who has left, and keeps none for who leaves meanwhile', async () => {
    await using scope = new Scope()
    const { lane, client, engines, path } = await start(scope, (engine) => engine.pipe(engine))
    const reason = new Error('left')
    await expect(lane.openStream(path, AbortSignal.abort(reason))).rejects.toBe(reason)
    const leaving = Array.from({ length: 50 }, () => {
      const stop = new AbortController()
      const opening = lane.openStream(path, stop.signal)
      stop.abort(reason)
      return expect(opening).rejects.toBe(reason)
    })
    await Promise.all(leaving)
    await nothingIsLeft(lane, client, engines)
  })

  test('closed: its streams fail, new ones and pings are refused, nothing hangs [T7]', async () => {
    await using scope = new Scope()
    const { lane, open, engines } = await start(scope, (engine) => engine.pipe(engine))
    const stream: Duplex = await open()
    const failed = once(stream, 'error')
    lane.close()
    expect(await failed).toMatchObject([
      { code: 'LINK_LOST', message: expect.stringContaining('the link was closed') as string },
    ])
    await expect(open()).rejects.toMatchObject({ code: 'LINK_LOST' })
    await expect(lane.ping(5000, never)).rejects.toMatchObject({ code: 'LINK_LOST' })
    expect(lane.openStreams).toBe(0)
    lane.close()
    await until('the engine has lost its client', () => engines.size === 0)
  })
})
