import { execFileSync } from 'node:child_process'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { Descriptors } from '../../src/proxy/descriptors.js'
import { openFilesLimit } from '../../src/proxy/open-files.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { client, startEngine, startProxy, text } from './support.js'

const REQUEST = 'GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n'

const hasEnded = ({ readableEnded, closed }: Socket) => readableEnded || closed

/** A proxy whose engine echoes, in a process that may have `limit` files open. */
const limited = async (scope: Scope, limit: number, descriptors = new Descriptors(limit)) => {
  const dir = scope.use(await TempDir.create())
  const { dial } = await startEngine(scope, join(dir.path, 'engine.sock'), (socket) => socket.pipe(socket))
  const dialled = { count: 0 }
  const counted = () => {
    dialled.count += 1
    return dial(new AbortController().signal)
  }
  return { ...(await startProxy(scope, join(dir.path, 'proxy.sock'), counted, { descriptors })), dialled }
}

describe('clients beyond what the process may have open', () => {
  test('are told so, and nothing is dialled for them', async () => {
    await using scope = new Scope()
    const { path, proxy, failures, dialled } = await limited(scope, 8)
    const docker = await client(scope, path)
    docker.write(REQUEST)
    expect(await text(docker)).toMatch(
      /^HTTP\/1\.1 503 [^]*"dproxy: prod: 1 clients are open and this process may open 8 files"/u,
    )
    expect(proxy.turnedAway).toBe(1)
    expect(dialled.count).toBe(0)
    expect(failures).toMatchObject([{ error: { code: 'TOO_MANY_CLIENTS', stage: 'socket' } }])
    expect(failures[0]?.error.hint).toMatch(/ulimit -n.*LimitNOFILE=/u)
    // The log is not flooded.
    ;(await client(scope, path)).destroy()
    await until('it is counted', () => proxy.turnedAway === 2)
    expect(failures).toHaveLength(1)
  })

  test('of whom only a few may wait for their answer at once, on all proxies together; the others are closed', async () => {
    await using scope = new Scope()
    const shared = new Descriptors(8)
    const proxies = [await limited(scope, 8, shared), await limited(scope, 8, shared)]
    // They say nothing, so that none is answered yet.
    const dockers = await Promise.all(
      Array.from({ length: 60 }, (_, at) => client(scope, proxies[at % 2]!.path)),
    )
    for (const docker of dockers) docker.resume()
    await until('most are closed', () => dockers.filter(hasEnded).length === 44)
    expect(proxies.map(({ proxy }) => proxy.turnedAway)).toEqual([30, 30])
    const waiting = dockers.filter((docker) => !hasEnded(docker))
    for (const docker of waiting) docker.end()
    await until('all have left', () => dockers.every(hasEnded))
    const docker = await client(scope, proxies[0]!.path)
    docker.write(REQUEST)
    expect(await text(docker)).toMatch(/^HTTP\/1\.1 503 /u)
  })

  test('are none where the limit is unknown', async () => {
    await using scope = new Scope()
    const { path, proxy } = await limited(scope, Infinity)
    const docker = await client(scope, path)
    docker.end('hello')
    expect(await text(docker)).toBe('hello')
    expect(proxy.turnedAway).toBe(0)
  })

  test('do not hold up the end of their proxy', async () => {
    await using scope = new Scope()
    const { path, proxy } = await limited(scope, 8)
    await client(scope, path)
    await until('it is counted', () => proxy.turnedAway === 1)
    expect(await proxy.close(0, AbortSignal.abort())).toBe(0)
  })
})

test('more descriptors are kept back for more hosts, and given free again, but never more than half', () => {
  const descriptors = new Descriptors(1024)
  const alone = descriptors.kept
  const hosts = Array.from({ length: 10 }, () => descriptors.reserve())
  expect(descriptors.kept).toBe(alone + 80)
  for (const free of hosts) free()
  expect(descriptors.kept).toBe(alone)
  for (let host = 0; host < 200; host += 1) descriptors.reserve()
  expect(descriptors.kept).toBe(512)
})

test('the limit of open files is the one that a child of ours would have', () => {
  const said = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
  expect(openFilesLimit()).toBe(said === 'unlimited' ? Infinity : Number(said))
})
