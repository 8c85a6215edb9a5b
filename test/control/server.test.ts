import { once } from 'node:events'
import { chmod, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { until } from '../testbed/until.js'
import { answers, definition, post, rawly, Served } from './support.js'

const up = { definition: definition(), agent: null }

test('a request that is well formed reaches the service, checked and completed', async () => {
  await using served = await Served.start()
  expect(await served.client.up({ ...up, lazy: true, person: false, evenProtected: false })).toEqual({
    action: 'started',
  })
  expect(await served.client.down('prod', 0)).toEqual({ cut: 2 })
  expect(served.service.asked).toEqual([
    { ...up, lazy: true, person: false, evenProtected: false },
    { down: 'prod', drainMs: 0 },
  ])
  const [bare] = answers(await rawly(served.path, ...post('/v1/hosts/prod/restart', '')))
  expect(bare).toMatchObject({ status: 200, body: { ok: true, value: { cut: 0 } } })
  expect(served.service.asked.at(-1)).toEqual({ restart: 'prod', drainMs: 5000, person: false })
})

test.for<[string, string | Uint8Array]>([
  ['not JSON', '{"definition":'],
  ['a NUL', `{"a":"\0"}`],
  ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
  ['deep nesting', '['.repeat(30_000)],
  ['a document that nests deeply', `${'[{"a":'.repeat(9000)}1${'}]'.repeat(9000)}`],
  ['a prototype of its own', `{"__proto__":{"definition":${JSON.stringify(definition())}},"agent":null}`],
  ['an unknown key', JSON.stringify({ ...up, more: 1 })],
  ['a name with a path in it', JSON.stringify({ ...up, definition: { ...definition(), name: '../x' } })],
  [
    'a socket that is no absolute path',
    JSON.stringify({ ...up, definition: { ...definition(), socket: 'x' } }),
  ],
  ['an array', '[]'],
  ['nothing', ''],
])('a body with %s is refused with 400 and changes nothing [C1]', async ([, body]) => {
  await using served = await Served.start()
  const [answer] = answers(await rawly(served.path, ...post('/v1/hosts/prod/up', body)))
  expect(answer).toMatchObject({ status: 400, body: { ok: false, code: 'REQUEST_INVALID' } })
  expect(served.service.asked).toEqual([])
  expect((await served.client.status()).hosts).toEqual([])
})

test('a body beyond the limit gets its answer whole, whether or not its sender ever stops [C2]', async () => {
  await using served = await Served.start()
  const head = 'POST /v1/hosts/prod/up HTTP/1.1\r\nHost: dproxy\r\nContent-Length: 1000000000\r\n\r\n'
  const megabytes = Array.from({ length: 8 }, () => Buffer.alloc(1024 * 1024, 'x'))
  const started = performance.now()
  const [unending] = answers(await rawly(served.path, head, ...megabytes))
  expect(unending).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
  expect(unending?.body.message).toContain('longer than 65536 bytes')
  expect(performance.now() - started).toBeLessThan(5000)
  const [whole] = answers(await rawly(served.path, ...post('/v1/hosts/prod/up', 'x'.repeat(5_000_000))))
  expect(whole).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
})

test.for([
  ['a request line', 'GET /v1/status?'],
  ['a header', 'GET /v1/status HTTP/1.1\r\nHost: dproxy\r\nX-Long: '],
] as const)('%s without an end is cut off at a limit [C2]', async ([, start]) => {
  await using served = await Served.start()
  const socket = connect(served.path)
  let said = ''
  socket.setEncoding('latin1').on('data', (text: string) => (said += text))
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(start)
  const piece = Buffer.alloc(64 * 1024, 'x')
  // A gigabyte, if it were taken.
  for (let pieces = 0; pieces < 16_384 && !socket.destroyed; pieces += 1) {
    if (!socket.write(piece))
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed])
  }
  await closed
  expect(socket.bytesWritten).toBeLessThan(16 * 1024 * 1024)
  expect(said).toMatch(/^(?:HTTP\/1\.1 431 |$)/u)
  expect(await served.client.status()).toMatchObject({ schemaVersion: 1 })
})

test('the host in the path and the one in the body must be the same', async () => {
  await using served = await Served.start()
  const [answer] = answers(await rawly(served.path, ...post('/v1/hosts/staging/up', JSON.stringify(up))))
  expect(answer).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
  expect(served.service.asked).toEqual([])
})

test.for([
  'GET /',
  'GET /v1/status/',
  'PUT /v1/status',
  'GET /v1/hosts/%zz/streams',
  'GET /v1/hosts/../up',
  `GET /v1/hosts/${'x'.repeat(300)}/streams`,
  'GET /\x1b[31m',
])('%j leads nowhere: 404 or 400, in one document', async (line) => {
  await using served = await Served.start()
  const said = await rawly(served.path, `${line} HTTP/1.1\r\nHost: dproxy\r\nConnection: close\r\n\r\n`)
  expect(said).toMatch(/^HTTP\/1\.1 40[04] /u)
  expect(said).not.toContain('\x1b')
})

test('a question that names a host twice is refused, not tripped over', async () => {
  await using served = await Served.start()
  const line = 'GET /v1/logs?host=a&host=b HTTP/1.1\r\nHost: dproxy\r\nConnection: close\r\n\r\n'
  const [answer] = answers(await rawly(served.path, line))
  expect(answer).toMatchObject({ status: 400, body: { code: 'REQUEST_INVALID' } })
})

test('a failure of the service keeps its code, sentence and next step', async () => {
  await using served = await Served.start()
  const [answer] = answers(await rawly(served.path, ...post('/v1/hosts/nobody/down', '{}')))
  expect(answer).toEqual({
    status: 404,
    body: {
      ok: false,
      code: 'HOST_UNKNOWN',
      message: 'nobody is not running',
      hint: 'start it',
      stage: null,
    },
  })
})

test('a request in pieces of one byte is understood [C3]', async () => {
  await using served = await Served.start()
  const bytes = Buffer.from(post('/v1/hosts/prod/up', JSON.stringify(up)).join(''))
  const socket = connect(served.path).setNoDelay(true)
  let said = ''
  socket.setEncoding('utf8').on('data', (text: string) => (said += text))
  for (const byte of bytes) await new Promise((sent) => socket.write(Uint8Array.of(byte), sent))
  await once(socket, 'close')
  expect(answers(said)).toMatchObject([{ status: 200, body: { ok: true } }])
})

test('a thousand requests in one write get a thousand answers in order [C3]', async () => {
  await using served = await Served.start()
  const names = Array.from({ length: 1000 }, (_, index) => `h${index}`)
  const requests = names.map((name, index) => {
    const close = index === names.length - 1 ? 'Connection: close\r\n' : ''
    return `POST /v1/hosts/${name}/down HTTP/1.1\r\nHost: dproxy\r\n${close}Content-Length: 2\r\n\r\n{}`
  })
  const got = answers(await rawly(served.path, requests.join('')))
  expect(got.filter(({ status }) => status === 200)).toHaveLength(1000)
  expect(served.service.asked).toEqual(names.map((down) => ({ down, drainMs: 5000 })))
})

test('a client that dies in the middle of its request or of its answer harms nobody [C6]', async () => {
  await using served = await Served.start()
  let open!: () => void
  served.service.gate = new Promise((resolve) => (open = resolve))
  const [head, body] = post('/v1/hosts/prod/up', JSON.stringify(up))
  const waiting = connect(served.path)
  waiting.write(`${head}${String(body)}`)
  await until('the service is asked', () => served.service.asked.length === 1)
  waiting.destroy()
  const torn = connect(served.path)
  await new Promise((sent) => torn.write(`${head}${String(body).slice(0, 20)}`, sent))
  torn.destroy()
  open()
  expect(await served.client.status()).toMatchObject({ schemaVersion: 1 })
  expect(served.service.asked).toHaveLength(1)
})

test('a client that asks for a way that is not there, and leaves at once, harms nobody [C6]', async () => {
  await using served = await Served.start()
  for (let at = 0; at < 20; at += 1) {
    const socket = connect(served.path)
    await once(socket, 'connect')
    socket.write('CONNECT /x HTTP/1.1\r\nHost: dproxy\r\n\r\n')
    socket.destroy()
  }
  const hanging = connect(served.path)
  hanging.write('CONNECT /x HTTP/1.1\r\nHost: dproxy\r\n\r\n')
  await once(hanging.resume(), 'close')
  expect((await served.client.status()).hosts).toEqual([])
})

test('500 clients that say nothing keep nobody from being served, and end with the server [C7]', async () => {
  await using served = await Served.start()
  const idle = Array.from({ length: 500 }, () => connect(served.path).on('error', () => undefined))
  await Promise.all(idle.map((socket) => once(socket, 'connect')))
  const closed = Promise.all(idle.map((socket) => once(socket.resume(), 'close')))
  expect(await served.client.status()).toMatchObject({ schemaVersion: 1 })
  const started = performance.now()
  await served.stop()
  await closed
  expect(performance.now() - started).toBeLessThan(3000)
})

test.runIf(ownUid() === 0)(
  'another user cannot connect, not even where the directory is open [C4]',
  async () => {
    await using served = await Served.start()
    const script = `require('net').connect(${JSON.stringify(served.path)}).on('connect', () => console.log('in')).on('error', ({ code }) => console.log(code))`
    for (const mode of [0o700, 0o755]) {
      await chmod(dirname(served.path), mode)
      const asked = await execa(process.execPath, ['-e', script], { uid: 65_534, gid: 65_534, cwd: '/' })
      expect(asked.stdout).toBe('EACCES')
    }
  },
)

test('the socket is for its owner alone, and is gone with the server [C4]', async () => {
  await using served = await Served.start()
  const found = await stat(served.path)
  expect(found.isSocket()).toBe(true)
  expect(found.mode & 0o777).toBe(0o600)
  expect((await stat(dirname(served.path))).mode & 0o777).toBe(0o700)
  await served.stop()
  await expect(stat(served.path)).rejects.toThrow('ENOENT')
})
