import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { Status } from '../../src/control/messages.js'
import { World } from '../testbed/cli.js'
import { describeOurs } from '../testbed/describe-with.js'
import { HOST_PARTS } from '../testbed/parts.js'
import { openFiles, residentBytes } from '../testbed/processes.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'

const REQUEST = 'GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n'

describeOurs(HOST_PARTS, 'a crowd of clients on one host', () => {
  let world: World
  let sshd: Sshd

  beforeAll(async () => {
    world = await World.create()
    // Sessions are what a `docker system dial-stdio` each would take; streams are none.
    sshd = await Sshd.start({ options: ['MaxSessions 2'] })
    const { engineSocket } = inject('hosts')!.prod
    const { host, port, user, keyFile, knownHostsFile } = sshd
    const remoteSocket = engineSocket!
    const entry = world.entry('prod', {
      host,
      port,
      user,
      keyFile,
      knownHostsFile,
      remoteSocket,
      engineSocket,
    })
    await world.config({ hosts: { prod: entry } })
    expect((await world.dproxy(['up'])).exitCode).toBe(0)
  })
  afterAll(async () => {
    await world[Symbol.asyncDispose]()
    await sshd[Symbol.asyncDispose]()
  })

  const status = async (): Promise<Status> =>
    Status.parse(JSON.parse((await world.dproxy(['status', '--json'])).stdout))

  const openStreams = async (): Promise<number> => (await status()).hosts[0]!.streams.open

  test('500 clients at once are all served, though sshd allows two sessions', async () => {
    const answers = await Promise.all(Array.from({ length: 500 }, () => ask(world.socket('prod'))))
    expect(answers.filter((answer) => answer.endsWith('\r\n\r\nOK'))).toHaveLength(500)
  })

  test('300 clients held open at the same time each have a stream, and none is left after [T12]', async () => {
    const clients = await Promise.all(Array.from({ length: 300 }, () => hold(world.socket('prod'))))
    try {
      expect(await openStreams()).toBe(300)
    } finally {
      for (const client of clients) client.destroy()
    }
    await until('every stream is gone', async () => (await openStreams()) === 0)
  })

  test('after 10,000 connections nothing is left of them [T9]', { timeout: 120_000 }, async () => {
    const { pid } = (await status()).supervisor!
    await many(4000)
    await until('every stream is gone', async () => (await openStreams()) === 0)
    const [files, memory, remote] = [openFiles(pid), residentBytes(pid), remoteFiles(sshd)]
    await many(6000)
    await until('every stream is gone', async () => (await openStreams()) === 0)
    await until('the descriptors are given back', () => openFiles(pid) <= files)
    await until('sshd has closed its channels', () => remoteFiles(sshd) <= remote)
    expect(residentBytes(pid) - memory).toBeLessThan(32 * 1024 * 1024)
    expect((await status()).hosts[0]!.streams.total).toBeGreaterThan(10_000)
  })

  const many = async (total: number): Promise<void> => {
    for (let done = 0; done < total; done += 50) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => ask(world.socket('prod'))))
      expect(answers.every((answer) => answer.endsWith('\r\n\r\nOK'))).toBe(true)
    }
  }
})

const remoteFiles = (sshd: Sshd): number => sshd.sessions().reduce((sum, pid) => sum + openFiles(pid), 0)

/** One request on one connection of its own. */
const ask = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let answer = ''
    const client = connect(path, () =>
      client.end(REQUEST.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')),
    )
    client.setEncoding('utf8').on('data', (text: string) => (answer += text))
    client.once('end', () => resolve(answer)).once('error', reject)
  })

/** One request on a connection that stays open. */
const hold = (path: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const client = connect(path, () => client.write(REQUEST))
    client.once('data', () => resolve(client)).once('error', reject)
  })
