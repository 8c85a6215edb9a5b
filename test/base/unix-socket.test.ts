import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, readdirSync } from 'node:fs'
import {
  chown,
  lstat,
  mkdir,
  readFile,
  readlink,
  rename,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LONGEST_SOCKET_PATH, ownUid } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import { answers, listenUnix, type BoundPath } from '../../src/base/unix-socket.js'
import { TempDir } from '../testbed/temp-dir.js'

const OTHER_UID = 65_534

// A look at whether somebody listens does not wait for the greeting.
const ignore = () => undefined

/** A server that greets with `word`; closed with its scope. */
const greeter = (scope: Scope, word: string): Server =>
  scope.add(
    createServer((client) => client.on('error', ignore).end(word)),
    (server) => server.close(),
  )

const greeting = async (path: string): Promise<string> => {
  let said = ''
  for await (const chunk of connect(path)) said += String(chunk)
  return said
}

/** Another process that listens on `path` until it is killed. */
const otherProcess = async (scope: Scope, path: string) => {
  const script = `require('net').createServer((c) => c.on('error', () => {}).end('theirs')).listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = scope.add(spawn(process.execPath, ['-e', script]), (taken) => taken.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

/** A socket file that nobody listens on any more. */
const deadSocket = async (path: string): Promise<void> => {
  const server = createServer().listen(`${path}.live`)
  await once(server, 'listening')
  await rename(`${path}.live`, path)
  server.close()
  await once(server, 'close')
}

const setUp = async (scope: Scope) => {
  const dir = scope.use(await TempDir.create())
  return { dir: dir.path, path: join(dir.path, 'engine.sock') }
}

const identity = async (path: string) => {
  const { ino, mode, uid, birthtimeNs } = await lstat(path, { bigint: true })
  return { ino, mode, uid, birthtimeNs }
}

const busy = (path: string, why: RegExp) =>
  expect.objectContaining({
    code: 'SOCKET_BUSY',
    stage: 'socket',
    message: expect.stringMatching(
      new RegExp(`^${path} is taken: .*${why.source}.*left untouched$`, 'u'),
    ) as string,
  }) as Error

describe('listening on a Unix socket', () => {
  test.each([0o000, 0o022, 0o077, 0o777])(
    'gives a socket of mode 0600 from its first instant under umask %o',
    async (umask) => {
      await using scope = new Scope()
      const { dir } = await setUp(scope)
      const before = process.umask(umask)
      scope.add(before, (mask) => process.umask(mask))
      const seen = new Set<number>()
      // Looks at everything in the directory between any two steps of ours.
      let looking = true
      scope.add(0, () => (looking = false))
      const look = () => {
        for (const name of readdirSync(dir)) {
          const found = lstatSync(join(dir, name), { throwIfNoEntry: false })
          if (found) seen.add(found.mode & 0o777)
        }
        if (looking) setImmediate(look)
      }
      look()
      for (let round = 0; round < 20; round += 1) {
        const path = join(dir, `${round}.sock`)
        await listenUnix(greeter(scope, 'hello'), path)
        expect(lstatSync(path).mode & 0o777).toBe(0o600)
        expect(await greeting(path)).toBe('hello')
      }
      expect([...seen]).toEqual([0o600])
      expect(process.umask()).toBe(umask)
      expect(readdirSync(dir).length).toBe(20)
    },
  )

  test('replaces the socket of a process that was killed', async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    const child = await otherProcess(scope, path)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(existsSync(path)).toBe(true)
    await listenUnix(greeter(scope, 'ours'), path)
    expect(await greeting(path)).toBe('ours')
  })

  test('refuses the live socket of another process and leaves it alone', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    await otherProcess(scope, path)
    const before = await identity(path)
    await expect(listenUnix(greeter(scope, 'ours'), path)).rejects.toEqual(busy(path, /another process/u))
    expect(await identity(path)).toEqual(before)
    expect(await greeting(path)).toBe('theirs')
    expect(readdirSync(dir)).toEqual([basename(path)])
  })

  test('refuses a file, a directory and links, and leaves them alone', async () => {
    await using scope = new Scope()
    const { dir } = await setUp(scope)
    const at = (name: string) => join(dir, name)
    await writeFile(at('file'), 'kept')
    await mkdir(at('directory'))
    await listenUnix(greeter(scope, 'behind the link'), at('target'))
    await deadSocket(at('dead'))
    await symlink(at('target'), at('live-link'))
    await symlink(at('dead'), at('dead-link'))
    await symlink(at('nowhere'), at('dangling-link'))
    const names = readdirSync(dir)
    const before = await Promise.all(names.map((name) => identity(at(name))))
    for (const [name, why] of [
      ['file', /it is a file/u],
      ['directory', /it is a directory/u],
      ['live-link', /symbolic link/u],
      ['dead-link', /symbolic link/u],
      ['dangling-link', /symbolic link/u],
    ] as const) {
      await expect(listenUnix(greeter(scope, 'ours'), at(name))).rejects.toEqual(busy(at(name), why))
    }
    expect(readdirSync(dir)).toEqual(names)
    expect(await Promise.all(names.map((name) => identity(at(name))))).toEqual(before)
    expect(await readFile(at('file'), 'utf8')).toBe('kept')
    expect(await readlink(at('dangling-link'))).toBe(at('nowhere'))
    expect(await greeting(at('target'))).toBe('behind the link')
  })

  test.runIf(ownUid() === 0)("refuses another user's socket, dead or alive, and names the user", async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    await deadSocket(path)
    await chown(path, OTHER_UID, OTHER_UID)
    const before = await identity(path)
    await expect(listenUnix(greeter(scope, 'ours'), path)).rejects.toEqual(busy(path, /uid 65534/u))
    expect(await identity(path)).toEqual(before)
  })

  test('takes a path as long as the system does and refuses a longer one before it binds', async () => {
    await using scope = new Scope()
    const { dir } = await setUp(scope)
    const ofLength = (bytes: number) => join(dir, 'x'.repeat(bytes - dir.length - 1))
    await listenUnix(greeter(scope, 'long'), ofLength(LONGEST_SOCKET_PATH))
    expect(await greeting(ofLength(LONGEST_SOCKET_PATH))).toBe('long')
    const tooLong = ofLength(LONGEST_SOCKET_PATH + 1)
    await expect(listenUnix(greeter(scope, 'ours'), tooLong)).rejects.toMatchObject({
      code: 'SOCKET_PATH_TOO_LONG',
      message: `the socket path ${tooLong} has ${LONGEST_SOCKET_PATH + 1} bytes, the system takes ${LONGEST_SOCKET_PATH}`,
    })
    // It is bytes that count, not letters.
    const umlauts = join(dir, 'ü'.repeat(LONGEST_SOCKET_PATH - dir.length - 10))
    await expect(listenUnix(greeter(scope, 'ours'), umlauts)).rejects.toMatchObject({
      code: 'SOCKET_PATH_TOO_LONG',
    })
    expect(readdirSync(dir).length).toBe(1)
  })

  test('takes names of one letter, every one of them, in the deepest directory there can be', async () => {
    await using scope = new Scope()
    const { dir } = await setUp(scope)
    const deep = join(dir, 'd'.repeat(LONGEST_SOCKET_PATH - dir.length - 3))
    await mkdir(deep)
    const letters = '0123456789abcdef'.split('')
    for (const letter of letters) {
      await listenUnix(greeter(scope, letter), join(deep, letter))
      expect(await greeting(join(deep, letter))).toBe(letter)
    }
    expect(readdirSync(deep).toSorted()).toEqual(letters)
  })

  test('says why it cannot listen', async () => {
    await using scope = new Scope()
    const { dir } = await setUp(scope)
    await writeFile(join(dir, 'file'), '')
    for (const [path, why] of [
      [join(dir, 'nowhere', 's'), `the directory ${join(dir, 'nowhere')} does not exist`],
      [join(dir, 'file', 's'), `${join(dir, 'file')} is not a directory`],
    ] as const) {
      await expect(listenUnix(greeter(scope, 'ours'), path)).rejects.toMatchObject({
        code: 'SOCKET_FAILED',
        stage: 'socket',
        message: `cannot listen on ${path}: ${why}`,
      })
    }
  })

  test('lets exactly one of many win, with and without a dead socket in the way', async () => {
    await using scope = new Scope()
    const { dir } = await setUp(scope)
    for (let round = 0; round < 40; round += 1) {
      const path = join(dir, `${round}.sock`)
      if (round % 2 === 0) await deadSocket(path)
      const racers = Array.from({ length: 20 }, (_, at) => greeter(scope, `racer ${at}`))
      const ends = await Promise.allSettled(racers.map((server) => listenUnix(server, path)))
      const winners = ends.flatMap(({ status }, at) => (status === 'fulfilled' ? [`racer ${at}`] : []))
      expect(winners.length).toBe(1)
      expect(await greeting(path)).toBe(winners[0])
      for (const end of ends) {
        if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'SOCKET_BUSY' })
      }
    }
    expect(readdirSync(dir).length).toBe(40)
  })
})

const listening = async (scope: Scope, path: string): Promise<[Server, BoundPath]> => {
  const server = greeter(scope, 'ours')
  return [server, await listenUnix(server, path)]
}

describe('releasing a Unix socket', () => {
  test('removes the path, once', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    const [, bound] = await listening(scope, path)
    expect(await answers(path)).toBe(true)
    await bound.release()
    await bound.release()
    expect(readdirSync(dir)).toEqual([])
    expect(await answers(path)).toBe(false)
  })

  test('never removes what somebody else has put in its place', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    const [server, bound] = await listening(scope, path)
    await unlink(path)
    await otherProcess(scope, path)
    const before = await identity(path)
    await bound.release()
    server.close()
    expect(await identity(path)).toEqual(before)
    expect(await greeting(path)).toBe('theirs')
    expect(readdirSync(dir)).toEqual([basename(path)])
  })

  test('leaves the path to release alone: closing the server does not remove it', async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    const [server, bound] = await listening(scope, path)
    server.close()
    await once(server, 'close')
    expect(existsSync(path)).toBe(true)
    await bound.release()
    expect(existsSync(path)).toBe(false)
  })

  test('knows its own socket from a later one with the same inode number', async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    // File systems give freed inode numbers out again; a few tries make it likely.
    for (let round = 0; round < 5; round += 1) {
      const [server, bound] = await listening(scope, path)
      server.close()
      await unlink(path)
      const [, later] = await listening(scope, path)
      await bound.release()
      expect(await greeting(path)).toBe('ours')
      await later.release()
    }
  })
})

test('a process killed while it replaced a dead socket does not hold up the next', async () => {
  await using scope = new Scope()
  const { dir, path } = await setUp(scope)
  await deadSocket(path)
  await writeFile(`${path}.lock`, '')
  const minuteAgo = new Date(Date.now() - 60_000)
  await utimes(`${path}.lock`, minuteAgo, minuteAgo)
  await listenUnix(greeter(scope, 'ours'), path)
  expect(await greeting(path)).toBe('ours')
  expect(readdirSync(dir)).toEqual([basename(path)])
})
