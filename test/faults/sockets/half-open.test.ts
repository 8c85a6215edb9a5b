/** Streams that have ended in one direction, and whose client has died or says nothing any more. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { all, client, start, startProxy, text } from '../../proxy/support.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'

const MEGABYTE = 1024 * 1024
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

const halfOpen = { lookEveryMs: 25, silenceMs: 1000 }

/** A process that sends `word`, ends its direction, and goes on waiting for an answer. */
const waitingProcess = async (scope: Scope, path: string, word: string) => {
  const script = `const c = require('net').connect({ path: ${JSON.stringify(path)}, allowHalfOpen: true }); c.resume().end(${JSON.stringify(word)}, () => console.log('sent')); setInterval(() => {}, 1000)`
  const child = scope.add(spawn(process.execPath, ['-e', script]), (taken) => taken.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

describe('a client that has finished sending', () => {
  test.runIf(process.platform === 'linux')(
    'and is killed while it waits leaves no stream, though the engine says nothing [T4]',
    async () => {
      await using scope = new Scope()
      const received: string[] = []
      const dialled: Duplex[] = []
      const { path, proxy } = await start(
        scope,
        (engine) => engine.on('data', (piece) => received.push(String(piece))),
        (stream) => {
          dialled.push(stream)
          return stream
        },
        { halfOpen },
      )
      const child = await waitingProcess(scope, path, 'upload')
      await until('the upload is there', () => received.join('') === 'upload')
      // It is looked at many times while it lives.
      await sleep(20 * halfOpen.lookEveryMs)
      expect(proxy.openStreams).toBe(1)
      child.kill('SIGKILL')
      await until('nothing is left', () => proxy.openStreams === 0, 5000)
      expect(dialled.map(({ closed }) => closed)).toEqual([true])
    },
  )

  test('is waited for as long as it lives, and meets nothing but the answer [T4]', async () => {
    await using scope = new Scope()
    let answer: ((answer: Buffer) => void) | undefined
    const { path, proxy, failures } = await start(
      scope,
      (engine) => {
        engine.resume()
        answer = (bytes) => engine.end(bytes)
      },
      undefined,
      { halfOpen },
    )
    const docker = await client(scope, path)
    const received = all(docker)
    docker.end('upload')
    // Longer than any silence would be suffered of a client whose engine has finished.
    await sleep(1.5 * halfOpen.silenceMs)
    expect(proxy.openStreams).toBe(1)
    const bytes = randomBytes(MEGABYTE)
    answer?.(bytes)
    expect(sha256(await received)).toBe(sha256(bytes))
    await until('the stream is over', () => proxy.openStreams === 0)
    expect(failures).toEqual([])
  })

  test('and has left without waiting for an answer has all of its upload delivered [T4]', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const upload = randomBytes(100_000)
    const received: Buffer[] = []
    // Slow: what it was given waits in its buffer long after the client has gone.
    const engine = new Duplex({
      writableHighWaterMark: MEGABYTE,
      read: () => undefined,
      write: (piece: Buffer, _, done) => {
        setTimeout(() => {
          received.push(piece)
          done()
        }, 10 * halfOpen.lookEveryMs)
      },
      final(done) {
        this.push(null)
        done()
      },
    })
    const path = join(dir.path, 'proxy.sock')
    const { proxy } = await startProxy(scope, path, async () => engine, { halfOpen })
    await writeFile(join(dir.path, 'upload'), upload)
    const script = `require('fs').createReadStream(${JSON.stringify(join(dir.path, 'upload'))}).pipe(require('net').connect(${JSON.stringify(path)}).on('finish', () => process.exit(0)))`
    const child = scope.add(spawn(process.execPath, ['-e', script]), (taken) => taken.kill('SIGKILL'))
    await once(child, 'exit')
    await until('the stream is over', () => proxy.totalStreams === 1 && proxy.openStreams === 0)
    expect(sha256(Buffer.concat(received))).toBe(sha256(upload))
  })
})

/** An engine that ends at once, its clients' words still taken; `held` keeps it from reading. */
const finished = async (scope: Scope, held = false) => {
  const received: Buffer[] = []
  const engines: Socket[] = []
  const proxied = await start(
    scope,
    (engine) => {
      engines.push(engine)
      engine.end('answer')
      if (held) engine.pause()
      else engine.on('data', (piece: Buffer) => received.push(piece))
    },
    undefined,
    { halfOpen },
  )
  const docker = await client(scope, proxied.path)
  const answer = text(docker)
  return { ...proxied, docker, answer, received, engine: () => engines[0] }
}

describe('a client whose engine has finished', () => {
  test('and that neither sends nor closes is reaped after a bounded silence, and the log is told [T4]', async () => {
    await using scope = new Scope()
    const { proxy, docker, answer, engines, failures } = await finished(scope)
    expect(await answer).toBe('answer')
    const ended = performance.now()
    const closed = docker.closed || once(docker, 'close')
    await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0)
    expect(performance.now() - ended).toBeGreaterThan(halfOpen.silenceMs / 2)
    expect(failures).toMatchObject([
      { id: '1', error: { message: expect.stringMatching(/neither sent nor closed for 1 s/u) } },
    ])
    docker.end()
    await closed
  })

  test('but still sends is never cut, however slowly it does [T4]', async () => {
    await using scope = new Scope()
    const { proxy, docker, answer, received, failures } = await finished(scope)
    expect(await answer).toBe('answer')
    const upload = randomBytes(12)
    for (const byte of upload) {
      docker.write(Buffer.of(byte))
      await sleep(halfOpen.silenceMs / 5)
    }
    expect(proxy.openStreams).toBe(1)
    docker.end()
    await until('the stream is over', () => proxy.openStreams === 0)
    expect(Buffer.concat(received)).toEqual(upload)
    expect(failures).toEqual([])
  })

  test('but holds it back is not cut either: the client would still send [T4]', async () => {
    await using scope = new Scope()
    const { proxy, docker, answer, engine, failures } = await finished(scope, true)
    expect(await answer).toBe('answer')
    const upload = randomBytes(8 * MEGABYTE)
    docker.end(upload)
    await sleep(1.5 * halfOpen.silenceMs)
    expect(proxy.openStreams).toBe(1)
    const there = all(engine()!.resume())
    expect(sha256(await there)).toBe(sha256(upload))
    await until('the stream is over', () => proxy.openStreams === 0)
    expect(failures).toEqual([])
  })
})
