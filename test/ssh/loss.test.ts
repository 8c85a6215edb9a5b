import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import type { Lane } from '../../src/ssh/lane.js'
import { startEngine } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { laneTo, never, targetOf } from './support.js'

const uncaught: unknown[] = []
const note = (failure: unknown) => void uncaught.push(failure)

/** A server, a lane to it by way of a door that can be slammed, and an engine that talks and listens. */
const start = async (scope: Scope) => {
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
  const dir = scope.use(await TempDir.create())
  const path = join(dir.path, 'engine.sock')
  const { clients } = await startEngine(scope, path, (engine) => {
    const pour = () => {
      while (engine.write(Buffer.alloc(16 * 1024)));
    }
    engine.once('data', (word) => {
      if (String(word).startsWith('pour')) {
        engine.on('drain', pour)
        pour()
      }
    })
  })
  const passing = new Set<Socket>()
  const door = createServer((near) => {
    const far = connect(sshd.port, sshd.host)
    for (const socket of [near, far]) passing.add(socket.on('error', () => undefined))
    near.pipe(far).pipe(near)
    near.once('close', () => far.destroy())
    far.once('close', () => near.destroy())
  }).listen(0, '127.0.0.1')
  await once(door, 'listening')
  scope.add(door, () => {
    for (const socket of passing) socket.destroy()
    door.close()
  })
  const { port } = door.address() as AddressInfo
  const lane = await laneTo(
    scope,
    targetOf(sshd, { port, knownHostsFiles: [await knownAt(sshd, dir.path, port)] }),
  )
  return { sshd, lane, path, passing, engines: clients }
}

const knownAt = async (sshd: Sshd, dir: string, port: number): Promise<string> => {
  const file = join(dir, 'known_hosts')
  await writeFile(file, `[127.0.0.1]:${port} ${sshd.hostKeys[0]}\n`)
  return file
}

/** Streams in every state that can be met: idle, receiving, unread, sending, waiting, half-closed. */
const openMany = async (lane: Lane, path: string) => {
  const ends: Promise<unknown>[] = []
  const writes: Promise<unknown>[] = []
  for (let at = 0; at < 24; at += 1) {
    const stream = await lane.openStream(path, never)
    ends.push(
      new Promise((resolve) => {
        stream.once('error', resolve)
        stream.once('end', () => resolve('ended cleanly'))
        stream.once('close', () => resolve('closed without an error'))
      }),
    )
    const write = (bytes: string | Buffer) =>
      writes.push(new Promise((resolve) => stream.write(bytes, (failure) => resolve(failure ?? 'done'))))
    if (at % 6 === 1) stream.resume().write('pour')
    if (at % 6 === 2) stream.write('pour')
    if (at % 6 === 3) write(Buffer.alloc(1024))
    if (at % 6 === 4) write(Buffer.alloc(5_000_000))
    if (at % 6 === 5) stream.resume().end('pour')
  }
  return { ends, writes }
}

describeWith(['sshd'], 'the loss of a connection', () => {
  beforeEach(() => void process.on('uncaughtException', note).on('unhandledRejection', note))
  afterEach(() => {
    process.off('uncaughtException', note).off('unhandledRejection', note)
    expect(uncaught.splice(0)).toEqual([])
  })

  test.each([
    [
      'the session of the server is killed',
      async ({ sshd }: { sshd: Sshd }) => {
        for (const pid of sshd.sessions()) process.kill(pid, 'SIGKILL')
      },
    ],
    ['the server has a power cut', ({ sshd }: { sshd: Sshd }) => sshd.stop()],
    [
      'the connection is reset',
      async ({ passing }: { passing: Set<Socket> }) => {
        for (const socket of passing) socket.resetAndDestroy()
      },
    ],
    [
      'the connection is closed politely',
      async ({ passing }: { passing: Set<Socket> }) => {
        for (const socket of passing) socket.end()
      },
    ],
    [
      'garbage arrives',
      async ({ passing }: { passing: Set<Socket> }) => {
        const [near] = passing
        near?.write(Buffer.alloc(64, 7))
      },
    ],
  ])('is an error for every stream and a clean end for none: %s [T6]', async (_, strike) => {
    await using scope = new Scope()
    const started = await start(scope)
    const { lane, path, engines } = started
    const { ends, writes } = await openMany(lane, path)
    await until('all are served', () => engines.size === 24)
    const late: Promise<unknown>[] = []
    lane.lost.addEventListener('abort', () => {
      // The link hears of it first: no stream has ended yet, and no new one is given.
      late.push(lane.openStream(path, never).catch((failure: unknown) => failure))
    })
    const opening = Array.from({ length: 20 }, () => lane.openStream(path, never))
    const opened = Promise.allSettled(opening)
    const pinging = lane.ping(10_000, never).catch((failure: unknown) => failure)
    await strike(started)
    await until('the lane knows', () => lane.lost.aborted, 2000)
    expect(lane.lost.reason).toMatchObject({
      code: 'LINK_LOST',
      message: expect.stringMatching(/^the SSH connection to .* was lost: ./u) as string,
    })
    for (const end of await Promise.all(ends)) expect(end).toBe(lane.lost.reason)
    for (const end of await Promise.all(writes)) expect(end === 'done' || end instanceof Error).toBe(true)
    expect(await Promise.all(late)).toEqual([lane.lost.reason])
    // Those that came in time were streams, and have failed like the others.
    for (const end of await opened) {
      if (end.status === 'rejected') expect(end.reason).toBe(lane.lost.reason)
      else expect(end.value.errored ?? lane.lost.reason).toBe(lane.lost.reason)
    }
    await pinging
    await expect(lane.ping(10_000, never)).rejects.toBe(lane.lost.reason)
    await expect(lane.openStream(path, never)).rejects.toBe(lane.lost.reason)
    expect(lane.openStreams).toBe(0)
  })

  test('ends a ping that waits for its answer, and it does not count as one', async () => {
    await using scope = new Scope()
    const { lane, passing } = await start(scope)
    const before = await lane.ping(5000, never)
    for (const socket of passing) socket.pause()
    const pinging = lane.ping(10_000, never)
    const ended = expect(pinging).rejects.toBeInstanceOf(Error)
    for (const socket of passing) socket.destroy()
    await ended
    expect(lane.rttMs).toBe(before)
  })

  test('is found by a ping that gets no answer', async () => {
    await using scope = new Scope()
    const { lane, passing } = await start(scope)
    for (const socket of passing) {
      socket.unpipe()
      socket.pause()
    }
    await expect(lane.ping(200, never)).rejects.toMatchObject({
      code: 'LINK_LOST',
      message: expect.stringMatching(/has been silent for/u) as string,
    })
    // Whether that is the end is for the link to say.
    expect(lane.lost.aborted).toBe(false)
    const stuck = lane.openStream('/nonexistent', never)
    const ended = expect(stuck).rejects.toMatchObject({ code: 'LINK_LOST' })
    lane.close('no sign of life')
    await ended
  })
})
