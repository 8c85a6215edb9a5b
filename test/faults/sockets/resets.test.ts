/** Clients that go away at every point of a stream's life: nothing is left of any, and nobody else is touched. */
import { once } from 'node:events'
import { join } from 'node:path'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { deferred } from '../../../src/base/deferred.js'
import { DproxyError } from '../../../src/base/errors.js'
import { Scope } from '../../../src/base/scope.js'
import { client, startEngine, startProxy } from '../../proxy/support.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'

const PIECE = Buffer.alloc(64 * 1024)
const CLIENTS = 20

const pour = (socket: Socket): void => {
  const more = () => {
    while (socket.write(PIECE));
  }
  socket.on('drain', more)
  more()
}

type Act = (docker: Socket) => Promise<unknown> | void

/** By the moment in which it goes: what the client has done by then. */
const MOMENTS: Record<string, Act> = {
  'as soon as it has connected': () => undefined,
  'with a request on its way': (docker) => new Promise((done) => docker.write('hello', done)),
  'in the middle of an upload': async (docker) => {
    pour(docker)
    await once(docker, 'drain')
  },
  'in the middle of an answer': async (docker) => {
    docker.write('pour it')
    await once(docker, 'data')
  },
  'with an answer that it does not read': async (docker) => {
    docker.pause().write('pour it')
    await once(docker, 'readable')
  },
  'after its half-close': async (docker) => {
    docker.end('end')
    await once(docker, 'data')
  },
  'after the half-close of the engine': async (docker) => {
    docker.resume().write('finish')
    await once(docker, 'end')
  },
}

describe.each(Object.entries(MOMENTS))('clients that go away %s', (_, act) => {
  test('leave nothing behind', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const engine = await startEngine(scope, join(dir.path, 'engine.sock'), (socket) => {
      socket.on('data', (said) => {
        if (String(said) === 'pour it') pour(socket)
        else if (String(said) === 'finish') socket.end()
        else socket.write('x')
      })
      socket.on('end', () => socket.end())
    })
    const { path, proxy } = await startProxy(scope, join(dir.path, 'proxy.sock'), engine.dial)
    const witness = await client(scope, path)
    for (let at = 0; at < CLIENTS; at += 1) {
      const docker = await client(scope, path)
      await act(docker)
      docker.destroy()
    }
    await until('only the witness is left', () => proxy.openStreams === 1 && engine.clients.size === 1)
    witness.write('hello')
    expect(String((await once(witness, 'data'))[0])).toBe('x')
    witness.destroy()
    // Waits for every client it has accepted.
    expect(await proxy.close(60_000, new AbortController().signal)).toBe(0)
    expect(engine.clients.size).toBe(0)
  })

  test('leave nothing behind when they were being dialled for or are refused', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create())
    const gate = deferred<void>()
    let dialling = 0
    const { path, proxy, failures } = await startProxy(scope, join(dir.path, 'proxy.sock'), async () => {
      dialling += 1
      if (dialling <= CLIENTS) await gate.promise
      throw new DproxyError('LINK_DOWN', 'not now')
    })
    const dockers = await Promise.all(Array.from({ length: CLIENTS }, () => client(scope, path)))
    await until('all are dialled for', () => dialling === CLIENTS)
    for (const docker of dockers) docker.write(PIECE, () => docker.destroy())
    gate.resolve()
    for (let at = 0; at < CLIENTS; at += 1) {
      const docker = await client(scope, path)
      // Whatever it waits for, it may be closed before.
      await Promise.race([act(docker), once(docker, 'close'), once(docker.resume(), 'end')])
      docker.destroy()
    }
    await until('all were refused', () => failures.length === 2 * CLIENTS)
    expect(await proxy.close(60_000, new AbortController().signal)).toBe(0)
  })
})
