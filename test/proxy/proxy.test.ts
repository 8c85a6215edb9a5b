import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../src/base/deferred.js'
import { DproxyError } from '../../src/base/errors.js'
import { Scope } from '../../src/base/scope.js'
import { Proxy } from '../../src/proxy/proxy.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { all, client, start, startEngine, startProxy, text } from './support.js'

const MEGABYTE = 1024 * 1024
const never = new AbortController().signal

describe('a proxy', () => {
  test('serves 500 clients at once, each its own stream', async () => {
    await using scope = new Scope()
    const { path, proxy, failures, engines } = await start(scope, (engine) => engine.pipe(engine))
    const answers = await Promise.all(
      Array.from({ length: 500 }, async (_, at) => {
        const docker = await client(scope, path)
        docker.end(`client ${at}`)
        return text(docker)
      }),
    )
    expect(answers).toEqual(Array.from({ length: 500 }, (_, at) => `client ${at}`))
    await until('nothing is left', () => proxy.openStreams === 0 && engines.size === 0)
    expect(failures).toEqual([])
    expect(proxy.totalStreams).toBe(500)
  })

  test('counts bytes while a stream is open, and keeps the sum after it', async () => {
    await using scope = new Scope()
    const { path, proxy, changes } = await start(scope, (engine) =>
      engine
        .on('data', (chunk) => engine.write(Buffer.alloc(chunk.length * 2)))
        .on('end', () => engine.end()),
    )
    const docker = await client(scope, path)
    docker.write(Buffer.alloc(1000))
    let received = 0
    docker.on('data', (chunk) => (received += chunk.length))
    await until('the answer is here', () => received === 2000)
    expect(proxy.bytes).toEqual({ up: 1000, down: 2000 })
    expect([...proxy.streams()]).toMatchObject([{ id: '1', bytes: { up: 1000, down: 2000 } }])
    expect(Date.now() - ([...proxy.streams()][0]?.sinceMs ?? 0)).toBeLessThan(10_000)
    docker.end(Buffer.alloc(500))
    await until('the stream is over', () => proxy.openStreams === 0)
    expect(proxy.bytes).toEqual({ up: 1500, down: 3000 })
    expect([...proxy.streams()]).toEqual([])
    expect(changes()).toBe(2)
  })

  test('never counts backwards, not even when a client leaves with bytes on their way', async () => {
    await using scope = new Scope()
    const { path, proxy } = await start(scope, (engine) => {
      const pour = () => {
        while (engine.write(Buffer.alloc(64 * 1024)));
      }
      engine.on('drain', pour)
      pour()
    })
    for (let round = 0; round < 5; round += 1) {
      const before = proxy.bytes.down
      const docker = await client(scope, path)
      docker.pause()
      await until('it is full', () => proxy.bytes.down > before)
      await sleep(30)
      const full = proxy.bytes
      docker.destroy()
      await until('it is over', () => proxy.openStreams === 0)
      expect(proxy.bytes.down).toBeGreaterThanOrEqual(full.down)
    }
  })

  test('cuts one stream by its id and no other', async () => {
    await using scope = new Scope()
    const { path, proxy, failures, engines } = await start(scope, (engine) => engine.pipe(engine))
    const dockers = [await client(scope, path), await client(scope, path)]
    for (const docker of dockers) {
      docker.write('x')
      await once(docker, 'data')
    }
    expect(proxy.cut('no such id')).toBe(false)
    expect(proxy.cut('1')).toBe(true)
    expect(await text(dockers[0]!)).toBe('')
    await until('it is gone at the engine too', () => engines.size === 1)
    expect([...proxy.streams()].map(({ id }) => id)).toEqual(['2'])
    expect(proxy.cut('1')).toBe(false)
    dockers[1]!.write('still here')
    expect(String((await once(dockers[1]!, 'data'))[0])).toBe('still here')
    expect(failures).toEqual([])
  })

  test('does not hold what a client sends while it is being dialled for', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const engine = await startEngine(scope, join(dir.path, 'engine.sock'), (socket) => {
      void all(socket).then((received) => socket.end(`${received.length} bytes`))
    })
    const gate = deferred<void>()
    const { path, proxy } = await startProxy(scope, join(dir.path, 'proxy.sock'), async (signal) => {
      await gate.promise
      return engine.dial(signal)
    })
    const docker = await client(scope, path)
    docker.end(Buffer.alloc(10 * MEGABYTE))
    await sleep(100)
    expect(docker.writableLength).toBeGreaterThan(8 * MEGABYTE)
    expect(proxy.openStreams).toBe(0)
    gate.resolve()
    expect(await text(docker)).toBe(`${10 * MEGABYTE} bytes`)
  })

  test('lets go of a client that leaves while it is being dialled for', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const engine = await startEngine(scope, join(dir.path, 'engine.sock'), (socket) => socket.pipe(socket))
    const gate = deferred<void>()
    let dialling = 0
    const { path, proxy } = await startProxy(scope, join(dir.path, 'proxy.sock'), async (signal) => {
      dialling += 1
      await gate.promise
      return engine.dial(signal)
    })
    const dockers = await Promise.all(Array.from({ length: 20 }, () => client(scope, path)))
    await until('all are dialled for', () => dialling === 20)
    for (const docker of dockers) docker.write('hello', () => docker.destroy())
    gate.resolve()
    await until('nothing is left', () => proxy.openStreams === 0 && engine.clients.size === 0)
    await proxy.close(60_000, never)
  })

  test('refuses a client whose stream was gone before it could be used', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const { path, proxy, failures } = await startProxy(scope, join(dir.path, 'proxy.sock'), async () => {
      const engine = new Duplex({ read: () => undefined }).on('error', () => undefined)
      engine.destroy(new DproxyError('LINK_LOST', 'lost again'))
      await once(engine, 'close')
      return engine
    })
    const docker = await client(scope, path)
    docker.write('GET / HTTP/1.1\r\n\r\n')
    expect(await text(docker)).toContain('dproxy: prod: lost again')
    expect(failures).toMatchObject([{ error: { code: 'LINK_LOST' } }])
    expect(proxy.openStreams).toBe(0)
  })

  test('does not touch what occupies its path', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const path = join(dir.path, 'proxy.sock')
    await writeFile(path, '')
    await expect(startProxy(scope, path, () => Promise.reject(new Error('not asked')))).rejects.toMatchObject(
      { code: 'SOCKET_BUSY' },
    )
    expect(existsSync(path)).toBe(true)
  })
})

const echoing = async (scope: Scope) => {
  const proxied = await start(scope, (engine) => engine.pipe(engine))
  const docker = await client(scope, proxied.path)
  docker.write('x')
  await once(docker, 'data')
  return { ...proxied, docker }
}

describe('closing a proxy', () => {
  test('removes the socket at once and lets open streams end by themselves', async () => {
    await using scope = new Scope()
    const { proxy, path, docker } = await echoing(scope)
    const closing = proxy.close(60_000, never)
    await until('the socket is removed', () => !existsSync(path))
    docker.write('still here')
    expect(String((await once(docker, 'data'))[0])).toBe('still here')
    docker.end()
    expect(await text(docker)).toBe('')
    expect(await closing).toBe(0)
  })

  test('cuts what is left after the drain, and says how many', async () => {
    await using scope = new Scope()
    const { proxy, docker, failures, engines } = await echoing(scope)
    const started = performance.now()
    expect(await proxy.close(150, never)).toBe(1)
    expect(performance.now() - started).toBeGreaterThan(140)
    expect(performance.now() - started).toBeLessThan(2000)
    expect(await text(docker)).toBe('')
    await until('the engine has lost its client', () => engines.size === 0)
    expect(failures).toEqual([])
  })

  test('cuts at once when told to hurry, also in the middle of a drain longer than any timer', async () => {
    await using scope = new Scope()
    const { proxy, docker } = await echoing(scope)
    const hurry = new AbortController()
    const closing = proxy.close(90 * 86_400_000, hurry.signal)
    await sleep(100)
    expect(docker.readableEnded).toBe(false)
    hurry.abort()
    expect(await closing).toBe(1)
    expect(await text(docker)).toBe('')
  })

  test('ends the dialling for clients that wait', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    let dialling = false
    const { path, proxy, failures } = await startProxy(
      scope,
      join(dir.path, 'proxy.sock'),
      (signal) =>
        new Promise((_, reject) => {
          dialling = true
          signal.addEventListener('abort', () => reject(signal.reason))
        }),
    )
    const docker = await client(scope, path)
    await until('it is dialled for', () => dialling)
    expect(await proxy.close(0, never)).toBe(0)
    expect(await text(docker)).toBe('')
    expect(failures).toEqual([])
  })

  test('waits for no dial that never settles, and closes what it opens too late', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const late = deferred<Duplex>()
    let dialling = false
    const { path, proxy, failures } = await startProxy(scope, join(dir.path, 'proxy.sock'), () => {
      dialling = true
      return late.promise
    })
    const docker = await client(scope, path)
    await until('it is dialled for', () => dialling)
    expect(await proxy.close(0, never)).toBe(0)
    expect(await text(docker)).toBe('')
    const stream = new Duplex({ read: () => undefined, write: () => undefined })
    late.resolve(stream)
    await once(stream, 'close')
    expect(failures).toEqual([])
  })

  test('leaves alone what somebody else has put at its path', async () => {
    await using scope = new Scope()
    const { proxy, path } = await echoing(scope)
    await rm(path)
    await writeFile(path, 'theirs')
    expect(await proxy.close(0, never)).toBe(1)
    expect(await readFile(path, 'utf8')).toBe('theirs')
  })

  test('cuts its streams though the socket cannot be removed, and says so afterwards', async () => {
    await using scope = new Scope()
    const { proxy, path, docker, engines } = await echoing(scope)
    // Its directory has become a file: ENOTDIR, for root too.
    const dir = dirname(path)
    scope.add(dir, async () => {
      await rm(dir)
      await rename(`${dir}.moved`, dir)
    })
    await rename(dir, `${dir}.moved`)
    await writeFile(dir, '')
    await expect(proxy.close(0, never)).rejects.toThrow('ENOTDIR')
    expect(await text(docker)).toBe('')
    await until('the engine has lost its client', () => engines.size === 0)
  })
})

// Each of 200 clients sends its number; what they hear comes out as JSON. `ready` is made when all are connected.
const CROWD = `
  const { connect } = require('net'), { writeFileSync, renameSync } = require('fs')
  const [path, ready, out] = process.argv.slice(1)
  let open = 0, left = 200
  const heard = []
  for (let at = 0; at < left; at += 1) {
    const client = connect({ path, allowHalfOpen: true }, () => {
      client.end(String(at))
      if ((open += 1) === 200) writeFileSync(ready, '')
    })
    heard[at] = ''
    client.on('data', (said) => (heard[at] += said))
    client.on('error', (failure) => (heard[at] = failure.code))
    client.on('close', () => {
      if ((left -= 1) > 0) return
      writeFileSync(out + '.new', JSON.stringify(heard))
      renameSync(out + '.new', out)
    })
  }`

describe('a proxy that retires', () => {
  test('serves whoever had connected to it, and goes on with its streams beside its successor', async () => {
    await using scope = new Scope()
    const { proxy, path, docker, failures } = await echoing(scope)
    const at = (name: string) => join(dirname(path), name)
    // While this process stands still it accepts nobody: all wait in the queue of its listener.
    execFileSync(
      'sh',
      ['-c', '"$0" -e "$1" "$2" "$3" "$4" & until [ -e "$3" ]; do sleep 0.02; done'].concat([
        process.execPath,
        CROWD,
        path,
        at('ready'),
        at('heard'),
      ]),
      { stdio: 'ignore', timeout: 15_000 },
    )
    const successor = Proxy.create({
      path,
      dial: () => Promise.reject(new Error('the successor')),
      explain: ({ message }) => message,
      onFailed: () => undefined,
      onChange: () => undefined,
    })
    scope.add(successor, (taken) => taken.close(0, AbortSignal.abort()))
    await successor.listen({ takeOver: true })
    await proxy.retire()
    const late = await client(scope, path)
    late.write('GET / HTTP/1.1\r\n\r\n')
    expect(await text(late)).toContain('the successor')
    const heard = await until(
      'all have heard',
      () => existsSync(at('heard')) && readFile(at('heard'), 'utf8'),
    )
    expect(JSON.parse(heard)).toEqual(Array.from({ length: 200 }, (_, number) => String(number)))
    docker.write('still here')
    expect(String((await once(docker, 'data'))[0])).toBe('still here')
    docker.end()
    expect(await text(docker)).toBe('')
    expect(await proxy.close(60_000, never)).toBe(0)
    expect(failures).toEqual([])
    expect(existsSync(path)).toBe(true)
  })

  test('removes its socket when nobody has taken its place, and accepts nobody any more', async () => {
    await using scope = new Scope()
    const { proxy, path, docker } = await echoing(scope)
    await proxy.retire()
    expect(existsSync(path)).toBe(false)
    docker.write('still here')
    expect(String((await once(docker, 'data'))[0])).toBe('still here')
    expect(await proxy.close(0, never)).toBe(1)
  })
})

/** Both directions have ended, but the last of the upload is never taken. */
const stuck = async (scope: Scope) => {
  const dir = scope.use(await TempDir.create())
  const engine = new Duplex({
    read() {
      this.push('answer')
      this.push(null)
    },
    write() {},
  })
  const { proxy, path } = await startProxy(scope, join(dir.path, 'proxy.sock'), async () => engine)
  const docker = await client(scope, path)
  docker.end('upload')
  expect(await text(docker)).toBe('answer')
  return { proxy, engine }
}

describe('an engine that answers, ends, and never reads', () => {
  test('does not hold up the end of its proxy', async () => {
    await using scope = new Scope()
    const { proxy, engine } = await stuck(scope)
    expect(await proxy.close(0, never)).toBe(1)
    expect(engine.destroyed).toBe(true)
  })

  test('is let go of when its stream is cut', async () => {
    await using scope = new Scope()
    const { proxy } = await stuck(scope)
    expect(proxy.cut('1')).toBe(true)
    await until('the stream is gone', () => proxy.openStreams === 0)
  })
})
