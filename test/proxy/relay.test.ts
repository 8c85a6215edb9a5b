import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { all, client, start, startProxy, text } from './support.js'

const MEGABYTE = 1024 * 1024
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe('a stream', () => {
  test('brings an upload larger than all buffers, the end of it, and then the late answer [T1]', async () => {
    await using scope = new Scope()
    const { path, proxy, failures, engines } = await start(scope, (engine) => {
      void all(engine).then(async (received) => {
        await sleep(100)
        engine.end(`${sha256(received)} ${'x'.repeat(MEGABYTE)}`)
      })
    })
    const docker = await client(scope, path)
    const upload = randomBytes(20 * MEGABYTE)
    docker.end(upload)
    const answer = await text(docker)
    expect(answer.slice(0, 65)).toBe(`${sha256(upload)} `)
    expect(answer.length).toBe(65 + MEGABYTE)
    await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0)
    expect(failures).toEqual([])
  })

  test('lets the client go on sending after the engine has ended [T2]', async () => {
    await using scope = new Scope()
    let received: Promise<Buffer> | undefined
    const { path, proxy, failures } = await start(scope, (engine) => {
      engine.end('early answer')
      received = all(engine)
    })
    const docker = await client(scope, path)
    expect(await text(docker)).toBe('early answer')
    await sleep(50)
    expect(proxy.openStreams).toBe(1)
    const upload = randomBytes(8 * MEGABYTE)
    docker.end(upload)
    const there = await until('the engine has a client', () => received).then((body) => body)
    expect(sha256(there)).toBe(sha256(upload))
    await until('the stream is over', () => proxy.openStreams === 0)
    expect(failures).toEqual([])
  })

  test('delivers all the engine sent before it closed on a client that still uploads', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const answer = randomBytes(3 * MEGABYTE)
    // Closed altogether by its other side: what was sent can be read, what is written goes nowhere.
    const dial = async () => {
      const engine = new Duplex({ read: () => undefined, write: (_, __, done) => done() })
      engine.push(answer)
      engine.push(null)
      engine.once('end', () => engine.destroy())
      return engine
    }
    const { path, proxy, failures } = await startProxy(scope, join(dir.path, 'proxy.sock'), dial)
    const docker = await client(scope, path)
    docker.pause()
    docker.write(Buffer.alloc(8 * MEGABYTE))
    await until('the answer is under way', () => proxy.bytes.down > 0)
    await sleep(100)
    const received = all(docker)
    docker.resume()
    expect(sha256(await received)).toBe(sha256(answer))
    await until('the stream is over', () => proxy.openStreams === 0)
    expect(failures).toEqual([])
  })

  test('ends at the engine when the client is killed in the middle of an upload', async () => {
    await using scope = new Scope()
    let received = 0
    const { path, proxy, engines } = await start(scope, (engine) => {
      engine.on('data', (chunk) => (received += chunk.length))
      engine.once('end', () => engine.end())
    })
    const script = `const s = require('net').connect(${JSON.stringify(path)}); const b = Buffer.alloc(65536); const f = () => { while (s.write(b)); s.once('drain', f) }; f()`
    const child = scope.add(spawn(process.execPath, ['-e', script]), (taken) => taken.kill('SIGKILL'))
    await until('the upload is under way', () => received > MEGABYTE)
    child.kill('SIGKILL')
    await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0, 2000)
  })

  test('is closed at the engine when the client leaves in the middle of an answer', async () => {
    await using scope = new Scope()
    const { path, proxy, engines } = await start(scope, (engine) => {
      const pour = () => {
        while (engine.write(Buffer.alloc(64 * 1024)));
      }
      engine.on('drain', pour)
      pour()
    })
    const docker = await client(scope, path)
    await once(docker, 'data')
    docker.destroy()
    await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0, 2000)
  })

  test('that fails at the engine is cut, with the reason told, and no other is touched', async () => {
    await using scope = new Scope()
    const opened: Duplex[] = []
    const { path, proxy, failures } = await start(
      scope,
      (engine) => engine.on('data', (chunk) => engine.write(chunk)),
      (stream) => {
        opened.push(stream)
        return stream
      },
    )
    const [broken, whole] = [await client(scope, path), await client(scope, path)]
    for (const docker of [broken, whole]) {
      docker.write('hello')
      expect(String((await once(docker, 'data'))[0])).toBe('hello')
    }
    const rest = all(broken)
    opened[0]?.destroy(new Error('the link was lost'))
    expect((await rest).length).toBe(0)
    await until('it is over', () => proxy.openStreams === 1)
    expect(failures).toMatchObject([{ id: '1', error: { message: 'the link was lost' } }])
    whole.write('still here')
    expect(String((await once(whole, 'data'))[0])).toBe('still here')
  })

  test('that fails while its client reads nothing is cut all the same', async () => {
    await using scope = new Scope()
    let opened: Duplex | undefined
    const { path, proxy } = await start(
      scope,
      (engine) => {
        const pour = () => {
          while (engine.write(Buffer.alloc(64 * 1024)));
        }
        engine.on('drain', pour)
        pour()
      },
      (stream) => (opened = stream),
    )
    const docker = await client(scope, path)
    docker.pause()
    await until('it is full', () => proxy.bytes.down > 0)
    await sleep(50)
    opened?.destroy(new Error('the link was lost'))
    await until('it is over', () => proxy.openStreams === 0, 1000)
  })

  test('brings bytes one at a time [T23]', async () => {
    await using scope = new Scope()
    const { path } = await start(scope, (engine) => engine.pipe(engine))
    const docker = await client(scope, path)
    docker.setNoDelay(true)
    const answer = text(docker)
    for (const byte of 'one byte at a time') {
      docker.write(byte)
      await sleep(1)
    }
    docker.end()
    expect(await answer).toBe('one byte at a time')
  })

  test('whose reader stands still holds its sender back, and nobody else [T10]', async () => {
    await using scope = new Scope()
    let poured = 0
    const { path, proxy } = await start(scope, (engine) => {
      const pour = () => {
        do poured += 64 * 1024
        while (engine.write(Buffer.alloc(64 * 1024)))
      }
      engine.once('data', (word) => {
        if (String(word) === 'quick') return engine.end(Buffer.alloc(20 * MEGABYTE))
        engine.on('drain', pour)
        return pour()
      })
    })
    const stuck = await client(scope, path)
    stuck.pause()
    stuck.write('pour')
    let before = -1
    await until('the engine is held back', async () => {
      before = poured
      await sleep(100)
      return poured > 0 && poured === before
    })
    // What the kernel holds for two sockets, and Node's buffers for four streams.
    expect(poured).toBeLessThan(2 * MEGABYTE)
    const quick = await client(scope, path)
    quick.write('quick')
    expect((await all(quick)).length).toBe(20 * MEGABYTE)
    expect(poured).toBe(before)
    stuck.destroy()
    quick.destroy()
    await until('nothing is left', () => proxy.openStreams === 0)
  })

  test('whose engine reads nothing holds the client back [T11]', async () => {
    await using scope = new Scope()
    const { path } = await start(scope, (engine) => engine.pause())
    const docker = await client(scope, path)
    const pour = () => {
      while (docker.write(Buffer.alloc(64 * 1024)));
    }
    docker.on('drain', pour)
    pour()
    let before = -1
    await until('the client is held back', async () => {
      before = docker.bytesWritten - docker.writableLength
      await sleep(100)
      return before > 0 && docker.bytesWritten - docker.writableLength === before
    })
    expect(before).toBeLessThan(2 * MEGABYTE)
  })
})
