/** Whoever clears old files out of /tmp deletes a socket under its server, or the whole directory. */
import { once } from 'node:events'
import { existsSync, lstatSync, readdirSync } from 'node:fs'
import { chown, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { Agent, createServer as createHttpServer, get, type IncomingMessage } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { DproxyError } from '../../../src/base/errors.js'
import { ownUid } from '../../../src/base/paths.js'
import { Scope } from '../../../src/base/scope.js'
import { listenUnix } from '../../../src/base/unix-socket.js'
import { start, text, client } from '../../proxy/support.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'

const NOTICED_MS = 5000
const OTHER_UID = 65_534

/** A server at `path` that echoes, and what it told of its socket. */
const echo = async (scope: Scope, path: string) => {
  const clients = new Set<Socket>()
  const server = scope.add(
    createServer({ allowHalfOpen: true }, (socket) => {
      clients.add(socket)
      socket.on('error', () => undefined).pipe(socket)
    }),
    (taken) => {
      for (const socket of clients) socket.destroy()
      taken.close()
    },
  )
  const told: (DproxyError | undefined)[] = []
  const bound = await listenUnix(server, path, { onChange: (lost) => told.push(lost) })
  scope.add(bound, (taken) => taken.release())
  return { server, bound, told }
}

const answer = async (path: string, word: string): Promise<string> => {
  const socket = connect({ path, allowHalfOpen: true })
  socket.end(word)
  let said = ''
  for await (const chunk of socket) said += String(chunk)
  return said
}

const mode = (path: string) => lstatSync(path).mode & 0o777

describe.concurrent('a socket that was deleted under its server', () => {
  test('is made again in less than five seconds, 0600, and open streams are untouched [S11]', async () => {
    await using scope = new Scope()
    const { path, proxy, failures } = await start(scope, (engine) => engine.pipe(engine))
    const open = await client(scope, path)
    open.write('before')
    expect(String((await once(open, 'data'))[0])).toBe('before')
    for (let round = 0; round < 2; round += 1) {
      await rm(path)
      await until('it is there again', () => existsSync(path), NOTICED_MS)
      expect(mode(path)).toBe(0o600)
      const docker = await client(scope, path)
      docker.end(`round ${round}`)
      expect(await text(docker)).toBe(`round ${round}`)
      open.write('after')
      expect(String((await once(open, 'data'))[0])).toBe('after')
    }
    expect(proxy.lost).toBeUndefined()
    expect(failures).toEqual([])
    expect(await proxy.close(0, AbortSignal.abort())).toBe(1)
    expect(existsSync(path)).toBe(false)
  })

  test('is made again for two hundred servers whose directory is gone, and the directory is ours alone as before [S11]', async () => {
    await using scope = new Scope()
    const base = scope.use(await TempDir.create())
    const dir = join(base.path, 'run')
    await mkdir(dir, { mode: 0o700 })
    const paths = Array.from({ length: 200 }, (_, at) => join(dir, `${at}.sock`))
    const servers = await Promise.all(paths.map((path) => echo(scope, path)))
    await rm(dir, { recursive: true })
    await until('all are there again', () => paths.every((path) => existsSync(path)), NOTICED_MS)
    expect(mode(dir)).toBe(0o700)
    for (const path of paths) expect(await answer(path, 'hello')).toBe('hello')
    await until('nothing of the making is left', () => readdirSync(dir).length === 200)
    expect(servers.map(({ told }) => told)).toEqual(servers.map(() => [undefined]))
  })

  test('leaves alone what stands in its place, tells so once, and comes back when that has gone [S11] [S8]', async () => {
    await using scope = new Scope()
    const { path: dir } = scope.use(await TempDir.create())
    const path = join(dir, 'engine.sock')
    const { bound, told } = await echo(scope, path)
    await rm(path)
    await writeFile(path, 'theirs')
    await until('the loss is told', () => told.length > 0)
    expect(told).toMatchObject([{ code: 'SOCKET_BUSY', message: expect.stringContaining('it is a file') }])
    expect(bound.lost).toBe(told[0])
    await rm(path)
    await symlink('/nowhere', path)
    await until('the next loss is told', () => told.length > 1)
    expect(told[1]).toMatchObject({ code: 'SOCKET_BUSY', message: expect.stringContaining('symbolic link') })
    await rm(path)
    await until('it is there again', () => existsSync(path), NOTICED_MS)
    expect(await answer(path, 'hello')).toBe('hello')
    await until('that is told', () => told.length > 2)
    expect(told.slice(2)).toEqual([undefined])
    expect(bound.lost).toBeUndefined()
    await rename(path, `${path}.moved`)
    await writeFile(path, 'theirs')
    await bound.release()
    expect(await readFile(path, 'utf8')).toBe('theirs')
    expect(existsSync(`${path}.moved`)).toBe(true)
  })

  test('leaves alone the living socket of another program, and comes back when that has gone [S11] [S2]', async () => {
    await using scope = new Scope()
    const { path: dir } = scope.use(await TempDir.create())
    const path = join(dir, 'engine.sock')
    const { told } = await echo(scope, path)
    await rm(path)
    const other = createServer((socket) => socket.on('error', () => undefined).end('theirs')).listen(path)
    scope.add(other, (taken) => taken.close())
    await once(other, 'listening')
    await until('the loss is told', () => told.length > 0)
    expect(told).toMatchObject([{ code: 'SOCKET_BUSY', message: expect.stringContaining('another process') }])
    expect(await answer(path, 'hello')).toBe('theirs')
    // Node removes the path of a server that closes.
    other.close()
    await until('ours answers', async () => (await answer(path, 'hello').catch(() => '')) === 'hello')
    expect(told.slice(1)).toEqual([undefined])
  })

  test.runIf(ownUid() === 0)(
    "is not made again in a directory that is a stranger's now [S11] [S3]",
    async () => {
      await using scope = new Scope()
      const base = scope.use(await TempDir.create())
      const dir = join(base.path, 'run')
      await mkdir(dir, { mode: 0o700 })
      const { told } = await echo(scope, join(dir, 'engine.sock'))
      await mkdir(join(base.path, 'theirs'), { mode: 0o777 })
      await chown(join(base.path, 'theirs'), OTHER_UID, OTHER_UID)
      await rm(dir, { recursive: true })
      await rename(join(base.path, 'theirs'), dir)
      await until('the loss is told', () => told.length > 0)
      expect(told).toMatchObject([
        { code: 'SOCKET_FAILED', message: expect.stringContaining(`uid ${OTHER_UID}`) },
      ])
      expect(readdirSync(dir)).toEqual([])
      await rm(dir, { recursive: true })
      await mkdir(join(base.path, 'elsewhere'))
      await symlink(join(base.path, 'elsewhere'), dir)
      await until('the next loss is told', () => told.length > 1)
      expect(told[1]).toMatchObject({ code: 'SOCKET_FAILED', message: expect.stringContaining('elsewhere') })
      expect(readdirSync(join(base.path, 'elsewhere'))).toEqual([])
      await rm(dir)
      await until('it is there again', () => existsSync(join(dir, 'engine.sock')), NOTICED_MS)
      expect(mode(dir)).toBe(0o700)
    },
  )

  test('is not made again once released, nor for a server that was closed', async () => {
    await using scope = new Scope()
    const { path: dir } = scope.use(await TempDir.create())
    const watched = await echo(scope, join(dir, 'watched.sock'))
    const released = await echo(scope, join(dir, 'released.sock'))
    const closed = await echo(scope, join(dir, 'closed.sock'))
    await released.bound.release()
    closed.server.close()
    await rm(join(dir, 'closed.sock'))
    // All are looked at in turn, so that one of them tells when the others have been.
    for (let round = 0; round < 2; round += 1) {
      await rm(join(dir, 'watched.sock'))
      await until('the watched one is there again', () => existsSync(join(dir, 'watched.sock')))
    }
    expect(readdirSync(dir)).toEqual(['watched.sock'])
    expect(watched.told).toEqual([undefined, undefined])
  })
})

test('an HTTP server whose socket was deleted keeps its connections, idle and busy, and is found again [S11]', async () => {
  await using scope = new Scope()
  const { path: dir } = scope.use(await TempDir.create())
  const socketPath = join(dir, 'control.sock')
  let connections = 0
  const server = createHttpServer((request, response) => {
    if (request.url === '/slow') response.write('begun ')
    else response.end('done')
    server.once('finish it', () => response.end('finished'))
  }).on('connection', () => (connections += 1))
  const bound = await listenUnix(server, socketPath)
  scope.add(server, async (taken) => {
    await bound.release()
    taken.closeAllConnections()
    taken.close()
  })
  const agent = scope.add(new Agent({ keepAlive: true }), (taken) => taken.destroy())
  const ask = async (url: string, from?: Agent) => {
    const [response] = (await once(get({ socketPath, path: url, agent: from ?? false }), 'response')) as [
      IncomingMessage,
    ]
    return response
  }
  expect(await text(await ask('/', agent))).toBe('done')
  const slow = await ask('/slow')
  await once(slow, 'readable')
  await rm(dir, { recursive: true })
  await until('it is there again', () => existsSync(socketPath), NOTICED_MS)
  expect(mode(dir)).toBe(0o700)
  expect(connections).toBe(2)
  expect(await text(await ask('/', agent))).toBe('done')
  expect(connections).toBe(2)
  server.emit('finish it')
  expect(await text(slow)).toBe('begun finished')
  expect(await text(await ask('/'))).toBe('done')
  // What tells a server's end still does.
  const closed = once(server, 'close')
  await bound.release()
  agent.destroy()
  server.close()
  await closed
})
