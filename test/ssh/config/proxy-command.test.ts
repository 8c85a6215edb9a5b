import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { readFile } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import ssh2 from 'ssh2'
import { describe, expect, test } from 'vitest'
import type { DproxyError } from '../../../src/base/errors.js'
import type { Env } from '../../../src/base/paths.js'
import { Scope } from '../../../src/base/scope.js'
import { openProxyCommand } from '../../../src/ssh/config/proxy-command.js'
import type { ProxyStream } from '../../../src/ssh/config/proxy-stream.js'
import { describeWith } from '../../testbed/describe-with.js'
import { isAlive, withEnvironment } from '../../testbed/processes.js'
import { Sshd } from '../../testbed/sshd.js'
import { until } from '../../testbed/until.js'
import { Desk, never } from './support.js'

const MEBIBYTE = 1024 * 1024

/** Tells the processes of one test from all others. */
const MARK = 'DPROXY_TEST_PROXY'

const start = async (scope: Scope, words: readonly string[], more: Env = {}): Promise<ProxyStream> => {
  const env = { PATH: process.env.PATH, ...more }
  const stream = await openProxyCommand(words, { env, signal: never, resolved: { alias: 'prod' } })
  return scope.add(stream, (each) => each.destroy() && each.gone)
}

const shell = (scope: Scope, line: string, more: Env = {}): Promise<ProxyStream> =>
  start(scope, ['/bin/sh', '-c', `exec ${line}`], more)

const failureOf = async (stream: ProxyStream): Promise<DproxyError> => {
  stream.resume()
  const [failure] = (await once(stream, 'error')) as [DproxyError]
  return failure
}

const text = async (stream: Readable): Promise<string> => {
  let all = ''
  for await (const chunk of stream) all += (chunk as Buffer).toString('latin1')
  return all
}

const digestOf = async (stream: Readable): Promise<{ bytes: number; sha256: string }> => {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream) {
    hash.update(chunk as Buffer)
    bytes += (chunk as Buffer).length
  }
  return { bytes, sha256: hash.digest('hex') }
}

// What nc and socat do, on any machine that has Node: one TCP connection to the address in the last two words.
const RELAY = `
const socket = require('node:net').connect({ port: Number(process.argv[2]), host: process.argv[1], allowHalfOpen: true })
process.stdin.pipe(socket).pipe(process.stdout)`

describe('a proxy command', () => {
  test('is a stream in both directions, each ending by itself', async () => {
    await using scope = new Scope()
    // sort answers only when its input has ended.
    const stream = await start(scope, ['sort'])
    stream.write('two\n')
    stream.end('one\n')
    expect(await text(stream)).toBe('one\ntwo\n')
    await stream.gone
    expect(isAlive(stream.pid)).toBe(false)
  })

  test('carries 50 MB each way at the same time, unchanged', async () => {
    await using scope = new Scope()
    const server = createServer({ allowHalfOpen: true }, (socket) => void serve(socket))
    scope.add(server, () => server.close())
    const [sent, reply] = [randomBytes(50 * MEBIBYTE), randomBytes(50 * MEBIBYTE)]
    const received = new Promise<{ bytes: number; sha256: string }>((resolve) => {
      server.once('connection', (socket) => resolve(digestOf(socket)))
    })
    const serve = async (socket: Socket) => socket.end(reply)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const stream = await start(scope, [process.execPath, '-e', RELAY, '127.0.0.1', String(port)])
    stream.end(sent)
    expect(await digestOf(stream)).toEqual({ bytes: reply.length, sha256: sha256(reply) })
    expect(await received).toEqual({ bytes: sent.length, sha256: sha256(sent) })
    await stream.gone
  })

  test('is held back by a reader that is slow, and holds back a writer that is fast', async () => {
    await using scope = new Scope()
    const stream = await start(scope, ['cat'])
    let written = 0
    const chunk = Buffer.alloc(64 * 1024)
    const pump = (): void => {
      while (stream.write(chunk)) written += chunk.length
      written += chunk.length
    }
    stream.on('drain', pump)
    pump()
    let before = -1
    // Nobody reads: it comes to rest once the pipes are full.
    await until('it rests', async () => {
      const rests = written === before
      before = written
      await new Promise((resolve) => setTimeout(resolve, 200))
      return rests
    })
    expect(written).toBeLessThan(4 * MEBIBYTE)
    expect(stream.readableLength + stream.writableLength).toBeLessThan(2 * MEBIBYTE)
    stream.off('drain', pump)
    stream.end()
    expect(await digestOf(stream)).toMatchObject({ bytes: written })
  })

  test('gets the environment it is given and nothing else, and no arguments of ours', async () => {
    await using scope = new Scope()
    const stream = await start(scope, ['env'], { [MARK]: 'x' })
    stream.end()
    expect((await text(stream)).trim().split('\n').toSorted()).toEqual([
      `${MARK}=x`,
      `PATH=${process.env.PATH}`,
    ])
  })

  test.each([
    [
      'sh -c "echo cannot reach it >&2; exit 3"',
      /\(sh\) ended with exit code 3 before it gave a byte: cannot reach it$/u,
    ],
    ['sh -c "printf SSH-2.0; echo one >&2; echo two >&2; exit 1"', /ended with exit code 1: two$/u],
    ['sh -c "kill -9 $$"', /was ended by SIGKILL before it gave a byte$/u],
    ['true', /\(true\) ended with exit code 0 before it gave a byte$/u],
    ['no-such-program --password=geheim', /\(no-such-program\) ended with exit code 127 .*not found$/u],
    [`sh -c "printf '\\033[2Jred\\n' >&2; exit 1"`, /: \\x1b\[2Jred$/u],
    // What it leaves behind keeps its output open.
    [
      'sh -c "setsid sleep 5 & echo gone >&2; exit 1"',
      /ended with exit code 1 before it gave a byte: gone$/u,
    ],
  ])('that fails is an error with its last words: %s', async (line, message) => {
    await using scope = new Scope()
    const failure = await failureOf(await shell(scope, line))
    expect(failure).toMatchObject({ code: 'PROXY_FAILED', stage: 'connect' })
    expect(failure.message).toMatch(/^the proxy command of prod /u)
    expect(failure.message).toMatch(message)
    expect(failure.message + failure.hint).not.toContain('geheim')
  })

  test('that cannot start at all is the same error', async () => {
    await using scope = new Scope()
    await expect(start(scope, ['/no/such program', 'geheim'])).rejects.toMatchObject({
      code: 'PROXY_FAILED',
      stage: 'connect',
      message: 'the proxy command of prod (/no/such) cannot start: there is no such program',
    })
    await expect(start(scope, ['/tmp'])).rejects.toMatchObject({ code: 'PROXY_FAILED' })
    await expect(start(scope, ['a\0b'])).rejects.toMatchObject({ code: 'PROXY_FAILED' })
  })

  test('that fails while it is written to is an error with its last words too, not a broken pipe', async () => {
    await using scope = new Scope()
    const stream = await shell(scope, 'sh -c "head -c 100000 >/dev/null; echo enough >&2; exit 4"')
    const failed = failureOf(stream)
    const pump = (): void => {
      while (!stream.destroyed && stream.write(Buffer.alloc(64 * 1024)));
    }
    stream.on('drain', pump)
    pump()
    expect((await failed).message).toMatch(/ended with exit code 4 before it gave a byte: enough$/u)
  })

  test('that ends well after it has answered ends the stream well', async () => {
    await using scope = new Scope()
    expect(await text(await shell(scope, 'echo hello'))).toBe('hello\n')
  })

  test('keeps only the end of endless complaints', async () => {
    await using scope = new Scope()
    const failure = await failureOf(await shell(scope, 'sh -c "yes complaint | head -c 3000000 >&2; exit 1"'))
    expect(failure.message.length).toBeLessThan(500)
    expect(failure.message).toMatch(/complai?n?t?$/u)
  })

  test('is not started for somebody who has left', async () => {
    const options = { env: { PATH: process.env.PATH, [MARK]: 'left' }, resolved: { alias: 'prod' } }
    const gone = AbortSignal.abort(new Error('left'))
    await expect(openProxyCommand(['sleep', '60'], { ...options, signal: gone })).rejects.toThrow('left')
    expect(withEnvironment(MARK, 'left')).toEqual([])
  })

  test.each([
    ['one that would stay', 'sleep 60'],
    ['one that ignores the end of its input', 'sh -c "while :; do sleep 1; done"'],
    ['one that ignores SIGTERM', `sh -c "trap '' TERM HUP INT; echo ready; while :; do sleep 1; done"`],
    ['one that was stopped', 'sh -c "echo ready; kill -STOP $$; sleep 60"'],
    ['a pipeline', 'sleep 60 | sh -c "trap \'\' TERM; sleep 60" | cat'],
    ['one that leaves others of its group behind', 'sh -c "sleep 60 & sleep 60 & echo ready"'],
  ])('does not outlive its stream: %s', async (what, line) => {
    await using scope = new Scope()
    const mark = `outlive ${what}`
    const stream = await shell(scope, line, { [MARK]: mark })
    if (line.includes('ready')) await once(stream, 'data')
    await until('it runs', () => withEnvironment(MARK, mark).length > 0 || stream.readableEnded)
    const started = performance.now()
    stream.destroy()
    await once(stream, 'close')
    expect(performance.now() - started).toBeLessThan(3000)
    await until('all of them are gone', () => withEnvironment(MARK, mark).length === 0)
  })

  test('that has ended by itself leaves nobody of its group behind', async () => {
    await using scope = new Scope()
    const stream = await shell(scope, 'sh -c "sleep 60 & exit 5"', { [MARK]: 'by itself' })
    await failureOf(stream)
    await until('all of them are gone', () => withEnvironment(MARK, 'by itself').length === 0)
  })

  test('does not make the process fail when nobody listens for its errors', async () => {
    await using scope = new Scope()
    const stream = await shell(scope, 'false')
    await until('it is closed', () => stream.closed)
    expect((stream.errored as DproxyError).code).toBe('PROXY_FAILED')
  })
})

describeWith(['sshd'], "a ProxyCommand of ssh's configuration", () => {
  test('carries a real login, and is gone when the connection is ended', async () => {
    await using scope = new Scope()
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    const relay = `'${process.execPath}' -e "${RELAY.trim().replaceAll('\n', ';')}" %h %p`
    const desk = scope.use(
      await Desk.create(`Host prod\n  HostName ${sshd.host}\n  Port ${sshd.port}\n  ProxyCommand ${relay}\n`),
    )
    const { route, user } = await desk.resolve('prod')
    if (route.kind !== 'command') throw new Error(route.kind)
    const sock = await start(scope, route.words)
    const client = new ssh2.Client()
    client.connect({ sock, username: user, privateKey: await readFile(sshd.keyFile) })
    await once(client, 'ready')
    client.end()
    await once(client, 'close')
    await sock.gone
    expect(isAlive(sock.pid)).toBe(false)
  })

  test("that fails is the SSH client's error, with what it said", async () => {
    await using scope = new Scope()
    const client = new ssh2.Client()
    const sock = await shell(scope, 'sh -c "echo no way >&2; exit 1"')
    client.connect({ sock, username: 'me', hostVerifier: () => false })
    // The library goes on to complain that the connection is lost.
    const failures: Error[] = []
    client.on('error', (failure) => failures.push(failure))
    await until('it is over', () => sock.closed && failures.length > 0)
    expect(failures[0]).toMatchObject({
      code: 'PROXY_FAILED',
      message: expect.stringMatching(/no way$/u) as string,
    })
  })
})

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
