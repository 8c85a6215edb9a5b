import { chmod, chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { ControlClient } from '../../src/control/client.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { definition, Served, stranger } from './support.js'

const up = { definition: definition(), agent: null, lazy: false, person: false, evenProtected: false }
const answer = (headers: string, body: string) =>
  `HTTP/1.1 200 OK\r\n${headers}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`

test('where nobody listens, no supervisor is running', async () => {
  await using dir = await TempDir.create()
  await expect(new ControlClient(join(dir.path, 'control.sock')).status()).rejects.toMatchObject({
    code: 'SUPERVISOR_DOWN',
    message: 'no supervisor is running',
    hint: 'start one: dproxy up NAME',
  })
})

test.for(['0', '2', '1.0', ''])('a supervisor of protocol %j is told apart, and said [C5]', async (api) => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  const headers = `Dproxy-Api: ${api}\r\nDproxy-Version: 9.8.7\r\n`
  await using _ = await stranger(path, (client) => client.end(answer(headers, '{"new":"shape"}')))
  const client = new ControlClient(path)
  for (const ask of [() => client.status(), () => client.up(up), () => client.down('prod', 0)]) {
    await expect(ask()).rejects.toMatchObject({
      code: 'SUPERVISOR_SKEW',
      message: expect.stringContaining('is dproxy 9.8.7 and speaks another protocol'),
      hint: expect.stringContaining('dproxy down --all'),
    })
  }
})

test('a supervisor of any protocol can be told to stop', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  const asked: string[] = []
  const headers = 'Dproxy-Api: 7\r\nDproxy-Version: 9.8.7\r\n'
  await using _ = await stranger(path, (client) => {
    client.once('data', (bytes) => {
      asked.push(String(bytes).split('\r\n')[0] ?? '')
      client.end(answer(headers, '{"ok":true,"value":{}}'))
    })
  })
  await new ControlClient(path).shutdown(0)
  expect(asked).toEqual(['POST /v1/shutdown HTTP/1.1'])
})

test.for<[string, string]>([
  ['an HTTP server of another kind', answer('', '{"ok":true,"value":{}}')],
  ['no HTTP server at all', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
])('%s is not taken for a supervisor', async ([, said]) => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  await using _ = await stranger(path, (client) => client.end(said))
  const client = new ControlClient(path)
  for (const ask of [() => client.status(), () => client.up(up), () => client.shutdown(0)]) {
    await expect(ask()).rejects.toMatchObject({
      code: 'SUPERVISOR_SKEW',
      message: expect.stringContaining('is not a dproxy supervisor'),
    })
  }
})

test('an answer of a shape this command does not know is said to be one', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  await using _ = await stranger(path, (client) => client.end(answer('Dproxy-Api: 1\r\n', '{"hosts":[]}')))
  await expect(new ControlClient(path).status()).rejects.toMatchObject({ code: 'SUPERVISOR_SKEW' })
})

test('a supervisor that goes away in the middle of a call fails it, at any point', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  const ends = [
    '',
    'HTTP/1.1 200 OK\r\nDproxy-Ap',
    'HTTP/1.1 200 OK\r\nDproxy-Api: 1\r\nContent-Length: 9\r\n\r\n{"o',
  ]
  for (const end of ends) {
    await using _ = await stranger(path, (client) => {
      client.once('data', () => client.write(end, () => client.destroy()))
    })
    await expect(new ControlClient(path).up(up)).rejects.toMatchObject({ code: 'SUPERVISOR_DOWN' })
  }
})

test('a supervisor that goes away under a watcher is heard of', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  const line = '{"schemaVersion":1,"atMs":1,"supervisor":null,"hosts":[]}\n'
  await using server = await stranger(path, (client) => {
    client.write('HTTP/1.1 200 OK\r\nDproxy-Api: 1\r\nTransfer-Encoding: chunked\r\n\r\n')
    client.write(`${line.length.toString(16)}\r\n${line}\r\n`)
  })
  const watch = new ControlClient(path).watch(new AbortController().signal)
  expect((await watch.next()).value).toMatchObject({ hosts: [] })
  const next = watch.next()
  server.stop()
  await expect(next).rejects.toMatchObject({ code: 'SUPERVISOR_DOWN' })
})

test('a supervisor that hangs is given up on, and not said to be absent', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'control.sock')
  await using _ = await stranger(path, () => undefined)
  const client = new ControlClient(path, { answersWithinMs: 200 })
  await expect(client.status()).rejects.toMatchObject({
    code: 'SUPERVISOR_FAILED',
    message: expect.stringContaining('did not answer within 200 ms'),
  })
})

test('a call that is aborted rejects with the reason and leaves nothing open', async () => {
  await using served = await Served.start()
  const stop = new AbortController()
  const watch = served.client.watch(stop.signal)
  await watch.next()
  expect(served.service.watchers.size).toBe(1)
  stop.abort()
  expect(await watch.next()).toMatchObject({ done: true })
  await until('it is forgotten', () => served.service.watchers.size === 0)
})

test('names that would change the path of a request do not', async () => {
  await using served = await Served.start()
  await served.client.down('../../shutdown?x=1#y', 0)
  await served.client.cut('prod:1/../../x')
  expect(served.service.asked).toEqual([
    { down: '../../shutdown?x=1#y', drainMs: 0 },
    { cut: 'prod:1/../../x' },
  ])
})

test('a control socket in a directory that others may write to is not used', async () => {
  await using dir = await TempDir.create()
  const open = join(dir.path, 'open')
  await mkdir(open)
  await chmod(open, 0o777)
  await using _ = await stranger(join(open, 'control.sock'), (client) => client.end('never'))
  await expect(new ControlClient(join(open, 'control.sock')).status()).rejects.toMatchObject({
    code: 'SUPERVISOR_FAILED',
    message: expect.stringContaining('may be written to by others'),
  })
})

test.runIf(ownUid() === 0)('a control socket in another user’s directory is not used', async () => {
  await using dir = await TempDir.create()
  const theirs = join(dir.path, 'theirs')
  await mkdir(theirs, { mode: 0o700 })
  const path = join(theirs, 'control.sock')
  const served: string[] = []
  const server = createServer((request, response) => {
    served.push(request.url ?? '')
    response.setHeader('Dproxy-Api', '1')
    response.end('{"ok":true,"value":{"action":"started"}}')
  }).listen(path)
  await once(server, 'listening')
  try {
    await chown(theirs, 65_534, 65_534)
    await expect(new ControlClient(path).up(up)).rejects.toMatchObject({
      code: 'SUPERVISOR_FAILED',
      message: expect.stringContaining('belongs to uid 65534'),
    })
    expect(served).toEqual([])
  } finally {
    server.close()
  }
})

test('a control path that the system could not take says where to put it', async () => {
  const path = `/tmp/${'x'.repeat(120)}/control.sock`
  await expect(new ControlClient(path).status()).rejects.toMatchObject({
    code: 'SOCKET_PATH_TOO_LONG',
    hint: expect.stringContaining('DPROXY_RUNTIME_DIR'),
  })
})
