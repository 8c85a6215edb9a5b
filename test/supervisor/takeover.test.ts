import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { Agent, get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { deferred } from '../../src/base/deferred.js'
import { Scope } from '../../src/base/scope.js'
import { ControlClient } from '../../src/control/client.js'
import { EventLog } from '../../src/supervisor/event-log.js'
import { onBehalfOf } from '../../src/supervisor/crash/at-fault.js'
import { runSupervisor } from '../../src/supervisor/run.js'
import type { Supervisor } from '../../src/supervisor/supervisor.js'
import { until } from '../testbed/until.js'
import { ask, follow, Rig } from './rig.js'

const HOW = { agent: null, lazy: false, person: false, evenProtected: false }

/** Asks once, and keeps the connection, as docker does; to be called again to ask in the same connection. */
const idleClient = async (scope: Scope, socketPath: string): Promise<() => Promise<number | undefined>> => {
  const agent = scope.add(new Agent({ keepAlive: true, maxSockets: 1 }), (made) => made.destroy())
  const asks = async () => {
    const asked = get({ socketPath, path: '/version', agent })
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    await once(response.resume(), 'end')
    return response.statusCode
  }
  expect(await asks()).toBe(200)
  return asks
}

/** Two hosts, and supervisors that serve them one after the other, all in this process. */
class Line implements AsyncDisposable {
  readonly rig: Rig
  readonly control: ControlClient
  readonly next: ControlClient
  readonly #scope = new Scope()
  #count = 0

  static async start(): Promise<Line> {
    const line = new Line(await Rig.start())
    const first = line.supervisor()
    for (const name of ['prod', 'staging']) await line.bringUp(line.control, name)
    return Object.assign(line, { first })
  }

  readonly first!: ReturnType<Line['supervisor']>

  private constructor(rig: Rig) {
    this.rig = this.#scope.use(rig)
    this.control = new ControlClient(join(rig.dir, 'run/control.sock'))
    this.next = new ControlClient(join(rig.dir, 'run/next.sock'))
  }

  /** Starts one; with `teller`, one that waits to be told to take the place of the one that runs. */
  supervisor(teller?: Promise<void>) {
    this.#count += 1
    const pid = this.#count
    const stops: (() => void)[] = []
    const stop = () => stops.forEach((each) => each())
    let isOver = false
    let itself: Supervisor | undefined
    const running = runSupervisor({
      env: this.rig.env,
      version: '1',
      log: EventLog.inMemory(),
      pid,
      onStop: (listener) => void stops.push(listener),
      onReady: (made) => void (itself = made),
      ...(teller ? { teller } : {}),
    }).finally(() => (isOver = true))
    running.catch(() => undefined)
    this.#scope.use({
      [Symbol.asyncDispose]: async () => {
        stop()
        stop()
        await running.catch(() => undefined)
      },
    })
    return {
      pid,
      running,
      stop,
      get isOver() {
        return isOver
      },
      get itself() {
        return itself
      },
    }
  }

  /** One that is ready to take over. */
  async successor() {
    const teller = deferred<void>()
    this.#scope.add(teller, ({ resolve }) => resolve())
    const started = this.supervisor(teller.promise)
    for (const name of ['prod', 'staging']) await this.bringUp(this.next, name)
    return Object.assign(started, { abandon: () => teller.resolve() })
  }

  /** Freezes the one that runs, as a successor does; `news` is what it says. */
  async freeze() {
    const channel = await this.control.handOver()
    const news: string[] = []
    channel.receive(({ is }) => news.push(is))
    await until('it is frozen', () => news.includes('frozen'))
    return { channel, news }
  }

  async bringUp(client: ControlClient, name: string): Promise<void> {
    const up = () => client.up({ ...HOW, definition: this.rig.host(name) }).then(() => true)
    await until('it can be asked', up)
    await until(`${name} is up`, async () => {
      const { hosts } = await client.status()
      return hosts.find((host) => host.name === name)?.state === 'up'
    })
  }

  async pid(): Promise<number | undefined> {
    return (await this.control.status()).supervisor?.pid
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]()
  }
}

test('a supervisor takes over every socket, and the one before it leaves when its last stream has ended [L8]', async () => {
  await using line = await Line.start()
  const client = await follow(line.rig.socket('prod'))
  const second = await line.successor()
  expect(await line.pid()).toBe(1)
  expect(await line.next.takeOver(60_000)).toEqual({ pid: 1, draining: [{ host: 'prod', streams: 1 }] })
  expect(await line.pid()).toBe(2)
  expect(existsSync(join(line.rig.dir, 'run/next.sock'))).toBe(false)
  expect(await ask(line.rig.socket('prod'))).toBe(200)
  expect(await ask(line.rig.socket('staging'))).toBe(200)
  expect(line.first.isOver).toBe(false)
  client.leave()
  await until('the first has left', () => line.first.isOver)
  expect(await ask(line.rig.socket('prod'))).toBe(200)
  second.stop()
  await second.running
  for (const name of ['prod', 'staging']) expect(existsSync(line.rig.socket(name))).toBe(false)
  expect(existsSync(join(line.rig.dir, 'run/control.sock'))).toBe(false)
})

test('clients of a stream that is cut in any earlier supervisor are held down by the one that serves, and no others', async () => {
  await using line = await Line.start()
  const client = await follow(line.rig.socket('prod'))
  for (let generation = 2; generation <= 4; generation += 1) {
    await line.successor()
    await line.next.takeOver(60_000)
    expect(await line.pid()).toBe(generation)
  }
  expect(line.first.isOver).toBe(false)
  line.first.stop()
  line.first.stop()
  await client.gone
  expect(await ask(line.rig.socket('prod'))).toBe(503)
  expect(await ask(line.rig.socket('staging'))).toBe(200)
  await until('it serves again', async () => (await ask(line.rig.socket('prod'))) === 200)
})

test('a client that was cut off in the one that serves gets no answer in any earlier one either', async () => {
  await using scope = new Scope()
  await using line = await Line.start()
  const inTurn = []
  for (let generation = 1; generation <= 3; generation += 1) {
    if (generation > 1) {
      await line.successor()
      await line.next.takeOver(60_000)
    }
    for (const name of ['prod', 'staging']) inTurn.push(await idleClient(scope, line.rig.socket(name)))
  }
  const [first, untouched, second, , third] = inTurn
  const client = await follow(line.rig.socket('prod'))
  const streams = await line.control.streams('prod')
  await line.control.cut(streams.at(-1)!.id)
  await client.gone
  for (const each of [first, second, third])
    await expect(each!()).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(await untouched!()).toBe(200)
  await until('it serves again', async () => (await ask(line.rig.socket('prod'))) === 200)
})

test('a host that lost streams a moment before the switch is held down after it', async () => {
  await using line = await Line.start()
  const client = await follow(line.rig.socket('prod'))
  await line.successor()
  const [stream] = await line.control.streams('prod')
  await line.control.cut(stream!.id)
  await client.gone
  await line.next.takeOver(0)
  expect(await ask(line.rig.socket('prod'))).toBe(503)
})

test('one whose teller is gone before the switch leaves, and after it stays', async () => {
  await using line = await Line.start()
  const second = await line.successor()
  second.abandon()
  await second.running
  expect(existsSync(join(line.rig.dir, 'run/next.sock'))).toBe(false)
  expect(await line.pid()).toBe(1)
  expect(await ask(line.rig.socket('prod'))).toBe(200)
  const third = await line.successor()
  await line.next.takeOver(0)
  third.abandon()
  await until('the first has left', () => line.first.isOver)
  expect(await ask(line.rig.socket('prod'))).toBe(200)
})

test('a host that came or changed meanwhile calls it off; one that went does not come back', async () => {
  await using line = await Line.start()
  const second = await line.successor()
  await line.bringUp(line.control, 'third')
  await expect(line.next.takeOver(0)).rejects.toMatchObject({
    code: 'CONFIG_CHANGED',
    message: expect.stringContaining('third was started or changed'),
  })
  await second.running
  expect(await line.pid()).toBe(1)
  await line.control.down('third', 0)
  await line.successor()
  await line.control.down('staging', 0)
  await line.next.takeOver(0)
  expect((await line.control.status()).hosts.map(({ name }) => name)).toEqual(['prod'])
  expect(existsSync(line.rig.socket('staging'))).toBe(false)
})

test('a socket that cannot be taken calls it off, and the first serves on', { timeout: 30_000 }, async () => {
  await using line = await Line.start()
  const second = await line.successor()
  await rm(line.rig.socket('staging'))
  await writeFile(line.rig.socket('staging'), 'mine')
  await expect(line.next.takeOver(0)).rejects.toMatchObject({ code: 'SOCKET_BUSY' })
  await second.running
  expect(await line.pid()).toBe(1)
  // Its path was taken already, and is made again as one that was deleted.
  await until(
    'prod is served',
    async () => (await ask(line.rig.socket('prod')).catch(() => 0)) === 200,
    15_000,
  )
  await rm(line.rig.socket('staging'))
  await until(
    'so is staging',
    async () => (await ask(line.rig.socket('staging')).catch(() => 0)) === 200,
    15_000,
  )
})

test(
  'one that dies while it takes the sockets leaves the first to serve them again',
  { timeout: 30_000 },
  async () => {
    await using line = await Line.start()
    const channel = await line.control.handOver()
    const news: string[] = []
    channel.receive(({ is }) => news.push(is))
    await until('it is frozen', () => news.includes('frozen'))
    // What a killed process leaves: a socket that nobody listens on, in the place of the first one's.
    const dead = join(line.rig.dir, 'dead.sock')
    const script = `require('net').createServer().listen(${JSON.stringify(dead)}, () => process.kill(process.pid, 'SIGKILL'))`
    await execa(process.execPath, ['-e', script], { reject: false })
    await rename(dead, line.rig.socket('prod'))
    await expect(ask(line.rig.socket('prod'))).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    channel.close()
    await until(
      'prod is served',
      async () => (await ask(line.rig.socket('prod')).catch(() => 0)) === 200,
      15_000,
    )
    expect(await line.control.restart('staging', 0, false)).toEqual({ cut: 0 })
  },
)

test('changes asked for during the switch are done by the new one', async () => {
  await using line = await Line.start()
  await line.successor()
  const early = line.control.handOver()
  const channel = await early
  const news: string[] = []
  channel.receive(({ is }) => news.push(is))
  await until('it is frozen', () => news.includes('frozen'))
  const asked = line.control.up({ ...HOW, definition: line.rig.host('third') })
  await expect(line.next.takeOver(0)).rejects.toMatchObject({
    message: expect.stringContaining('just renewing'),
  })
  expect((await line.control.status()).hosts).toHaveLength(2)
  channel.close()
  expect(await asked).toEqual({ action: 'started' })
  const again = await line.successor()
  await line.bringUp(line.next, 'third')
  await line.next.takeOver(0)
  expect(await line.pid()).toBe(again.pid)
})

test('a supervisor that is told to stop while another gets ready stops, and the other with it', async () => {
  await using line = await Line.start()
  await follow(line.rig.socket('prod'))
  const second = await line.successor()
  line.first.stop()
  await expect(line.next.takeOver(0)).rejects.toMatchObject({ code: 'SUPERVISOR_DOWN' })
  line.first.stop()
  await Promise.all([line.first.running, second.running])
  expect(existsSync(line.rig.socket('prod'))).toBe(false)
})

test('streams in a retired supervisor are cut at once when its successor is gone, and it leaves', async () => {
  await using line = await Line.start()
  const clients = [await follow(line.rig.socket('prod')), await follow(line.rig.socket('staging'))]
  const { channel, news } = await line.freeze()
  channel.send({ do: 'retire', drainMs: 600_000 })
  await until('it is retired', () => news.includes('retired'))
  expect(line.first.itself?.streams('prod')).toHaveLength(1)
  channel.close()
  await Promise.all(clients.map(({ gone }) => gone))
  await line.first.running
})

test('one that is gone with its last order on the way takes no place', { timeout: 30_000 }, async () => {
  await using line = await Line.start()
  const client = await follow(line.rig.socket('prod'))
  const socket = connect(join(line.rig.dir, 'run/control.sock'))
  let said = ''
  socket.setEncoding('utf8').on('data', (text: string) => (said += text))
  socket.write('CONNECT /v1/hand-over HTTP/1.1\r\nHost: dproxy\r\n\r\n')
  await until('it is frozen', () => said.includes('"frozen"'))
  socket.write('{"do":"retire","drainMs":600000}\n')
  socket.destroy()
  expect(await line.control.restart('staging', 0, false)).toEqual({ cut: 0 })
  expect(await line.pid()).toBe(1)
  expect(line.first.itself?.serves && line.first.itself.holdsPlace).toBe(true)
  expect(line.first.itself?.streams('prod')).toHaveLength(1)
  expect(await ask(line.rig.socket('prod'))).toBe(200)
  client.leave()
})

test('a socket that the old one cannot remove does not keep it from its end', async () => {
  await using line = await Line.start()
  const dir = join(line.rig.dir, 'sub')
  await mkdir(dir)
  const socket = join(dir, 'third.sock')
  await line.control.up({ ...HOW, definition: line.rig.host('third', { socket }) })
  const clients = [await follow(line.rig.socket('prod')), await follow(socket)]
  const { channel, news } = await line.freeze()
  await rename(dir, join(line.rig.dir, 'away'))
  await writeFile(dir, 'no directory')
  channel.send({ do: 'retire', drainMs: 600_000 })
  await until('it is retired', () => news.includes('retired'))
  expect(news).not.toContain('refused')
  for (const name of ['prod', 'third']) expect(line.first.itself?.streams(name)).toHaveLength(1)
  for (const client of clients) client.leave()
  await line.first.running
  await until('it has said so', () => news.filter((is) => is === 'drained').length === 3)
})

test('an exception in the name of a host cuts its streams in a retired supervisor, and no others', async () => {
  await using line = await Line.start()
  const [prod, staging] = [await follow(line.rig.socket('prod')), await follow(line.rig.socket('staging'))]
  await line.successor()
  await line.next.takeOver(600_000)
  const first = line.first.itself!
  expect(onBehalfOf('prod', () => first.contain(new Error('broken')))).toBe(true)
  await prod.gone
  await until('prod is gone there', () => first.status().hosts.length === 1)
  expect(first.streams('staging')).toHaveLength(1)
  expect(line.first.isOver).toBe(false)
  staging.leave()
  await line.first.running
  expect(await ask(line.rig.socket('staging'))).toBe(200)
})
