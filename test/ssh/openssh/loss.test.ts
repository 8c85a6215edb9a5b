import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import type { OpensshLane } from '../../../src/ssh/openssh/openssh-lane.js'
import { startEngine } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { commandOf, descendants } from '../../testbed/processes.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { never, targetOf } from '../support.js'
import { opensshLaneTo } from './support.js'

const uncaught: unknown[] = []
const note = (failure: unknown) => void uncaught.push(failure)

/** A server, a lane to it by way of a door that can be shut, and an engine that talks and listens. */
const start = async (scope: Scope) => {
  const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
  const dir = scope.use(await TempDir.create()).path
  const path = join(dir, 'engine.sock')
  const { clients } = await startEngine(scope, path, (engine) => {
    const pour = () => {
      while (engine.write(Buffer.alloc(16 * 1024)));
    }
    engine.once('data', (word) => {
      if (!String(word).startsWith('pour')) return
      engine.on('drain', pour)
      pour()
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
  const known = join(dir, 'known_hosts')
  await writeFile(known, `[127.0.0.1]:${port} ${sshd.hostKeys[0]}\n`)
  const keepAlive = { intervalMs: 1000, misses: 1 }
  const lane = await opensshLaneTo(scope, targetOf(sshd, { port, knownHostsFiles: [known], keepAlive }))
  return { sshd, lane, path, passing, engines: clients }
}

const sshOfOurs = (): number => {
  const pid = descendants(process.pid).find((each) => commandOf(each).startsWith('ssh -F none -N'))
  if (pid === undefined) throw new Error('no ssh runs')
  return pid
}

interface End {
  readonly how: unknown
  /** What the link knew when the stream ended. */
  readonly lost: boolean
}

/** Streams in every state that can be met: idle, receiving, unread, sending, waiting, half-closed. */
const openMany = async (lane: OpensshLane, path: string) => {
  const ends: Promise<End>[] = []
  const writes: Promise<unknown>[] = []
  for (let at = 0; at < 24; at += 1) {
    const stream = await lane.openStream(path, never)
    ends.push(
      new Promise((resolve) => {
        const end = (how: unknown) => resolve({ how, lost: lane.lost.aborted })
        stream.once('error', end)
        stream.once('end', () => end('ended cleanly'))
        stream.once('close', () => end('closed without an error'))
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

describeWith(['sshd'], "the loss of a connection of the system's ssh", () => {
  beforeEach(() => void process.on('uncaughtException', note).on('unhandledRejection', note))
  afterEach(() => {
    process.off('uncaughtException', note).off('unhandledRejection', note)
    expect(uncaught.splice(0)).toEqual([])
  })

  const losses: [string, (parts: Awaited<ReturnType<typeof start>>) => unknown, RegExp][] = [
    ['a killed ssh', () => process.kill(sshOfOurs(), 'SIGKILL'), /was lost: ./u],
    ['an ssh that was told to end', () => process.kill(sshOfOurs(), 'SIGTERM'), /was lost: ./u],
    [
      'a killed session of the server',
      ({ sshd }) => {
        for (const pid of sshd.sessions()) process.kill(pid, 'SIGKILL')
      },
      /closed by remote host|Broken pipe|reset by peer/u,
    ],
    [
      'a session of the server that was told to end',
      ({ sshd }) => {
        for (const pid of sshd.sessions()) process.kill(pid, 'SIGTERM')
      },
      /closed by remote host|Broken pipe|reset by peer/u,
    ],
    ['a stopped server', ({ sshd }) => sshd.stop(), /closed by remote host|Broken pipe|reset by peer/u],
    [
      'a network that swallows everything',
      ({ passing }) => {
        for (const socket of passing) socket.unpipe().pause()
      },
      /not responding/u,
    ],
  ]

  test.each(losses)(
    'by %s: the link hears it first, and no stream ever ends cleanly [T6]',
    async (_, cut, why) => {
      await using scope = new Scope()
      const parts = await start(scope)
      const { lane, path } = parts
      const { ends, writes } = await openMany(lane, path)
      const late: unknown[] = []
      let open = 0
      lane.lost.addEventListener('abort', () => {
        open = lane.openStreams
        // Whoever asks from now on is told.
        void lane.openStream(path, never).catch((failure: unknown) => late.push(failure))
      })
      await cut(parts)
      await until('the loss is noticed', () => lane.lost.aborted, 8000)
      expect(lane.lost.reason).toMatchObject({
        code: 'LINK_LOST',
        message: expect.stringMatching(why) as string,
      })
      for (const end of await Promise.all(ends)) expect(end).toEqual({ how: lane.lost.reason, lost: true })
      for (const end of await Promise.all(writes)) expect(end === 'done' || end instanceof Error).toBe(true)
      expect(open).toBe(24)
      expect(lane.openStreams).toBe(0)
      await until('who asked late is told', () => late.length === 1)
      expect(late[0]).toBe(lane.lost.reason)
      await expect(lane.ping(1000, never)).rejects.toBe(lane.lost.reason)
    },
  )

  test('is found by a ping that gets no answer', async () => {
    await using scope = new Scope()
    const { lane, passing } = await start(scope)
    for (const socket of passing) socket.unpipe().pause()
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

  test('a stream that the engine ended before the loss has ended, whole', async () => {
    await using scope = new Scope()
    const { lane, path, engines } = await start(scope)
    const stream = await lane.openStream(path, never)
    await until('the engine has a client', () => engines.size === 1)
    for (const engine of engines) engine.end('all of it')
    await once(stream, 'readable')
    await until('all has come', () => stream.readableLength === 9)
    await lane.ping(5000, never)
    process.kill(sshOfOurs(), 'SIGKILL')
    const failed = once(stream, 'error')
    await until('the loss is noticed', () => lane.lost.aborted)
    // It was not read before the loss: whoever did not hear the end must not take it for one.
    expect((await failed)[0]).toBe(lane.lost.reason)
  })
})
