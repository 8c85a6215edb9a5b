import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { ControlClient } from '../../src/control/client.js'
import { API_VERSION, HandOverNews } from '../../src/control/messages.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { rawly, Served, stranger } from './support.js'

const frozen: HandOverNews = { is: 'frozen', pid: 1, running: { foreground: false, hosts: [] } }

/** A hand-over as bytes, opened already. */
const opened = async (served: Served) => {
  const socket = connect(served.path)
  socket.on('error', () => undefined)
  let said = ''
  socket.setEncoding('utf8').on('data', (text: string) => (said += text))
  socket.write('CONNECT /v1/hand-over HTTP/1.1\r\nHost: dproxy\r\n\r\n')
  await until('it is open', () => said.includes('\r\n\r\n'))
  return { socket, said: () => said }
}

test('two supervisors tell each other what they have to, in order, until either ends it', async () => {
  await using served = await Served.start()
  const channel = await served.client.handOver()
  const news: HandOverNews[] = []
  channel.receive((each) => news.push(each))
  channel.send({ do: 'retire', drainMs: 5 })
  channel.send({ do: 'hasten', host: 'prod', drainMs: 0 })
  channel.send({ do: 'hold down', host: 'prod' })
  await until('all orders', () => served.service.asked.length === 3)
  expect(served.service.asked).toEqual([
    { do: 'retire', drainMs: 5 },
    { do: 'hasten', host: 'prod', drainMs: 0 },
    { do: 'hold down', host: 'prod' },
  ])
  const [successor] = served.service.successors
  successor!.send(frozen)
  successor!.send({ is: 'cut', host: 'prod' })
  await until('all news', () => news.length === 2)
  expect(news).toEqual([frozen, { is: 'cut', host: 'prod' }])
  channel.close()
  await Promise.all([channel.closed, successor!.closed])
})

test('what is no order is passed over: a later version may have more to say [C1]', async () => {
  await using served = await Served.start()
  const { socket } = await opened(served)
  const junk = [
    'not JSON',
    '{"do":"dance"}',
    '{"__proto__":{"do":"retire","drainMs":1}}',
    '[1]',
    '\0',
    '[[['.repeat(5000),
  ]
  for (const each of junk) socket.write(`${each}\n`)
  socket.write(Buffer.from([0x22, 0xff, 0xfe, 0x22, 0x0a]))
  socket.write('{"do":"retire","dr')
  socket.write('ainMs":7,"more":true}\n')
  await until('the one order', () => served.service.asked.length > 0)
  expect(served.service.asked).toEqual([{ do: 'retire', drainMs: 7 }])
  socket.destroy()
  await served.service.successors[0]!.closed
})

test('a line without an end closes the connection at a limit [C2]', async () => {
  await using served = await Served.start()
  const { socket } = await opened(served)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  const piece = Buffer.alloc(1024 * 1024, 'x')
  let pieces = 0
  for (; pieces < 1024 && !socket.destroyed; pieces += 1) {
    if (!socket.write(piece))
      await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed])
  }
  await closed
  expect(pieces).toBeLessThan(64)
  expect(await served.client.status()).toMatchObject({ schemaVersion: 1 })
})

test('a hand-over that one side has ended is over, though the other keeps its side open', async () => {
  await using served = await Served.start()
  const socket = connect({ path: served.path, allowHalfOpen: true })
  let said = ''
  socket.on('error', () => undefined)
  socket.setEncoding('utf8').on('data', (text: string) => (said += text))
  try {
    socket.write('CONNECT /v1/hand-over HTTP/1.1\r\nHost: dproxy\r\n\r\n')
    const successor = await until('it is open', () => served.service.successors[0])
    expect(successor.isOver).toBe(false)
    successor.send(frozen)
    successor.close()
    await successor.closed
    expect(successor.isOver).toBe(true)
    await until('the last words', () => said.includes('"frozen"'))
    expect(socket.writable).toBe(true)
  } finally {
    socket.destroy()
  }
})

test('nothing else can be connected to', async () => {
  await using served = await Served.start()
  expect(await rawly(served.path, 'CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(
    /^HTTP\/1\.1 404 /u,
  )
  expect(served.service.successors).toEqual([])
})

test('a supervisor too old to hand anything over is told apart, whatever it says [C5]', async () => {
  const refusal = '{"ok":false,"code":"REQUEST_INVALID","message":"there is no GET","hint":null,"stage":null}'
  for (const body of [refusal, '{"ok":true,"value":{"hosts":[{}]}}']) {
    await using dir = await TempDir.create()
    const path = `${dir.path}/control.sock`
    const head = `HTTP/1.1 200 OK\r\nDproxy-Api: ${API_VERSION}\r\nDproxy-Version: 0\r\nConnection: close`
    await using _ = await stranger(path, (client) => {
      client.end(`${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    })
    const client = new ControlClient(path, { version: '1' })
    await expect(client.running()).rejects.toMatchObject({
      code: 'SUPERVISOR_SKEW',
      message: 'the running supervisor is too old to hand its hosts over',
      hint: expect.stringContaining('dproxy down --all'),
    })
  }
})
