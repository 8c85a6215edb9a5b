import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, readdirSync } from 'node:fs'
import {
  chmod,
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
import { Worker } from 'node:worker_threads'
import { describe, expect, test } from 'vitest'
import { LONGEST_SOCKET_PATH, ownUid } from '../../src/base/paths.js'
import { Scope } from '../../src/base/scope.js'
import { answers } from '../../src/base/unix-socket/path.js'
import { listenUnix, type BoundPath } from '../../src/base/unix-socket.js'
import { acceptWaiting } from '../../src/base/unix-socket/accept-waiting.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'

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

// Programs that run as another user; each says one line.
const SERVE = `require('net').createServer((c) => c.on('error', () => {}).end('theirs')).listen(path, () => console.log('up'))`
const ASK = `require('net').connect(path).on('data', (said) => console.log(String(said))).on('error', ({ code }) => console.log(code))`

/** Another process, of user nobody, that does something with `path`; what it said first. */
const asNobody = async (scope: Scope, what: string, path: string) => {
  const script = `process.setgroups([]); process.setegid(${OTHER_UID}); process.seteuid(${OTHER_UID}); const path = ${JSON.stringify(path)}; ${what}`
  const child = scope.add(spawn(process.execPath, ['-e', script]), (taken) => taken.kill('SIGKILL'))
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  return Object.assign(child, { said: String(said).trim() })
}

/** Looks at everything in `dir` as often as it can, in a thread of its own: between any two steps of ours. */
const modesIn = async (scope: Scope, dir: string) => {
  const script = `
    const { parentPort, workerData } = require('worker_threads')
    const { readdirSync, lstatSync } = require('fs')
    const modes = new Set()
    let looks = 0
    const began = performance.now()
    const look = () => {
      looks += 1
      for (const name of readdirSync(workerData.dir)) {
        const found = lstatSync(workerData.dir + '/' + name, { throwIfNoEntry: false })
        if (found) modes.add(found.mode & 0o777)
      }
      if (!Atomics.load(workerData.enough, 0)) return setImmediate(look)
      parentPort.postMessage({ modes: [...modes], looksPerSecond: (looks * 1000) / (performance.now() - began) })
    }
    look()
    parentPort.postMessage('looking')`
  const enough = new Int32Array(new SharedArrayBuffer(4))
  const started = new Worker(script, { eval: true, workerData: { dir, enough } })
  const worker = scope.add(started, (taken) => taken.terminate())
  await once(worker, 'message')
  return {
    stop: async () => {
      Atomics.store(enough, 0, 1)
      const [seen] = (await once(worker, 'message')) as [{ modes: number[]; looksPerSecond: number }]
      return seen
    },
  }
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
  test.each(['000', '022', '077', '777'])(
    'gives a socket of mode 0600 from its first instant under umask %s [S6]',
    async (digits) => {
      await using scope = new Scope()
      const umask = Number.parseInt(digits, 8)
      const { dir } = await setUp(scope)
      const watcher = await modesIn(scope, dir)
      const before = process.umask(umask)
      scope.add(before, (mask) => process.umask(mask))
      for (let round = 0; round < 20; round += 1) {
        const path = join(dir, `${round}.sock`)
        await listenUnix(greeter(scope, 'hello'), path)
        expect(lstatSync(path).mode & 0o777).toBe(0o600)
        expect(await greeting(path)).toBe('hello')
      }
      const { modes, looksPerSecond } = await watcher.stop()
      expect(modes).toEqual([0o600])
      expect(looksPerSecond).toBeGreaterThan(100)
      expect(process.umask()).toBe(umask)
      expect(readdirSync(dir).length).toBe(20)
    },
  )

  test('replaces the socket of a process that was killed [S1]', async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    const child = await otherProcess(scope, path)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(existsSync(path)).toBe(true)
    await listenUnix(greeter(scope, 'ours'), path)
    expect(await greeting(path)).toBe('ours')
  })

  test('refuses the live socket of another process and leaves it alone [S2]', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    await otherProcess(scope, path)
    const before = await identity(path)
    await expect(listenUnix(greeter(scope, 'ours'), path)).rejects.toEqual(busy(path, /another process/u))
    expect(await identity(path)).toEqual(before)
    expect(await greeting(path)).toBe('theirs')
    expect(readdirSync(dir)).toEqual([basename(path)])
  })

  test('refuses a file, a directory and links, and leaves them alone [S4]', async () => {
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

  test.runIf(ownUid() === 0)(
    "refuses another user's socket, dead or alive, and names the user and the path [S3]",
    async () => {
      await using scope = new Scope()
      const { dir, path } = await setUp(scope)
      await chmod(dir, 0o777)
      const child = await asNobody(scope, SERVE, path)
      const before = await identity(path)
      expect(before.uid).toBe(BigInt(OTHER_UID))
      await expect(listenUnix(greeter(scope, 'ours'), path)).rejects.toEqual(busy(path, /uid 65534/u))
      expect(await greeting(path)).toBe('theirs')
      child.kill('SIGKILL')
      await once(child, 'exit')
      await expect(listenUnix(greeter(scope, 'ours'), path)).rejects.toEqual(busy(path, /uid 65534/u))
      expect(await identity(path)).toEqual(before)
      expect(readdirSync(dir)).toEqual([basename(path)])
    },
  )

  test.runIf(ownUid() === 0)(
    'lets no other user in, whatever the directory and the umask allow [S12]',
    async () => {
      await using scope = new Scope()
      const { dir, path } = await setUp(scope)
      await chmod(dir, 0o777)
      const before = process.umask(0)
      scope.add(before, (mask) => process.umask(mask))
      await listenUnix(greeter(scope, 'ours'), path)
      const asked = async () => {
        const child = await asNobody(scope, ASK, path)
        return child.said
      }
      expect(await asked()).toBe('EACCES')
      // What kept it out is the mode, and nothing else.
      await chmod(path, 0o666)
      expect(await asked()).toBe('ours')
    },
  )

  test('takes a path as long as the system does and refuses a longer one before it binds [S5]', async () => {
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

  test('lets exactly one of many win, with and without a dead socket in the way [S7]', async () => {
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

describe('taking over a Unix socket', () => {
  test('replaces the living socket of our own user, and at no moment a client finds nothing', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    const predecessor = await otherProcess(scope, path)
    const heard = new Map<string, number>()
    const enough = new AbortController()
    const asked = (async () => {
      while (!enough.signal.aborted) {
        const word = await greeting(path).catch((failure: unknown) => `failed: ${String(failure)}`)
        heard.set(word, (heard.get(word) ?? 0) + 1)
      }
    })()
    await until('the predecessor is heard', () => heard.has('theirs'))
    let bound: BoundPath | undefined
    for (let round = 0; round < 30; round += 1)
      bound = await listenUnix(greeter(scope, 'ours'), path, { takeOver: true })
    await until('the successor is heard', () => heard.has('ours'))
    predecessor.kill('SIGKILL')
    await once(predecessor, 'exit')
    enough.abort()
    await asked
    expect([...heard.keys()].toSorted()).toEqual(['ours', 'theirs'])
    expect(lstatSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(dir)).toEqual([basename(path)])
    await bound?.release()
    expect(readdirSync(dir)).toEqual([])
  })

  test('is no client of who is replaced', async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    const replaced = greeter(scope, 'theirs')
    let clients = 0
    replaced.on('connection', () => (clients += 1))
    await listenUnix(replaced, path)
    await listenUnix(greeter(scope, 'ours'), path, { takeOver: true })
    expect(await greeting(path)).toBe('ours')
    await acceptWaiting(replaced)
    expect(clients).toBe(0)
  })

  test('takes a free path and a dead socket too', async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    const bound = await listenUnix(greeter(scope, 'first'), path, { takeOver: true })
    expect(await greeting(path)).toBe('first')
    await bound.release()
    await deadSocket(path)
    await listenUnix(greeter(scope, 'second'), path, { takeOver: true })
    expect(await greeting(path)).toBe('second')
  })

  test('leaves alone what it must never replace: files, directories, links', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    await listenUnix(greeter(scope, 'behind the link'), path)
    await writeFile(join(dir, 'file'), 'kept')
    await mkdir(join(dir, 'directory'))
    await symlink(path, join(dir, 'link'))
    for (const [name, why] of [
      ['file', /it is a file/u],
      ['directory', /it is a directory/u],
      ['link', /symbolic link/u],
    ] as const) {
      await expect(listenUnix(greeter(scope, 'ours'), join(dir, name), { takeOver: true })).rejects.toEqual(
        busy(join(dir, name), why),
      )
    }
    expect(await readFile(join(dir, 'file'), 'utf8')).toBe('kept')
    expect(await greeting(join(dir, 'link'))).toBe('behind the link')
  })

  test.runIf(ownUid() === 0)("leaves another user's living socket alone", async () => {
    await using scope = new Scope()
    const { path } = await setUp(scope)
    await otherProcess(scope, path)
    await chown(path, OTHER_UID, OTHER_UID)
    await expect(listenUnix(greeter(scope, 'ours'), path, { takeOver: true })).rejects.toEqual(
      busy(path, /uid 65534/u),
    )
    expect(await greeting(path)).toBe('theirs')
  })

  test('of several who take over at once, the last is served, and no name is left behind', async () => {
    await using scope = new Scope()
    const { dir, path } = await setUp(scope)
    const all = Array.from({ length: 10 }, (_, at) => greeter(scope, `racer ${at}`))
    const bound = await Promise.all(all.map((server) => listenUnix(server, path, { takeOver: true })))
    const served = await greeting(path)
    expect(served).toMatch(/^racer \d$/u)
    expect(readdirSync(dir)).toEqual([basename(path)])
    await Promise.all(bound.map((one) => one.release()))
    expect(readdirSync(dir)).toEqual([])
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
    await Promise.all([bound.release(), bound.release()])
    expect(readdirSync(dir)).toEqual([])
    expect(await answers(path)).toBe(false)
    // Somebody else's from now on: one more release neither waits for it nor removes it.
    await writeFile(`${path}.lock`, '')
    await bound.release()
    expect(readdirSync(dir)).toEqual([`${basename(path)}.lock`])
  })

  test('never removes what somebody else has put in its place [S8]', async () => {
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
