import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { describeWith } from '../testbed/describe-with.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { never } from '../ssh/support.js'
import { MEGABYTE, startLane, startPath, TRANSPORTS, type LaneRig } from './lanes.js'

const uncaught: unknown[] = []
const note = (failure: unknown) => void uncaught.push(failure)

/** Pours at whoever asks for it. */
const talk = (engine: Socket) => {
  const pour = () => {
    while (engine.write(Buffer.alloc(16 * 1024)));
  }
  engine.once('data', (word: Buffer) => {
    if (!String(word).startsWith('pour')) return
    engine.on('drain', pour)
    pour()
  })
}

/** Clients in every state that can be met: idle, receiving, unread, sending, waiting, half-closed. */
const fill = async (dial: () => Promise<Socket>): Promise<Socket[]> => {
  const clients = await Promise.all(Array.from({ length: 24 }, dial))
  for (const [at, docker] of clients.entries()) {
    if (at % 6 !== 2) docker.resume()
    if (at % 6 === 1 || at % 6 === 2) docker.write('pour')
    if (at % 6 === 3) docker.write(Buffer.alloc(1024))
    if (at % 6 === 4) docker.write(Buffer.alloc(5 * MEGABYTE))
    if (at % 6 === 5) docker.end('pour')
  }
  return clients
}

const killSessions = ({ sshd }: LaneRig) => {
  for (const pid of sshd.sessions()) process.kill(pid, 'SIGKILL')
}

describe.each(TRANSPORTS)('through %s', (transport) => {
  beforeEach(() => void process.on('uncaughtException', note).on('unhandledRejection', note))
  afterEach(() => {
    process.off('uncaughtException', note).off('unhandledRejection', note)
    expect(uncaught.splice(0)).toEqual([])
  })

  describeWith(['sshd'], 'a lost connection', () => {
    test.each<[string, (rig: LaneRig) => void]>([
      ['was reset', ({ chaos }) => chaos.reset()],
      ['was closed', ({ chaos }) => chaos.close()],
      ['was cut by the death of its session', killSessions],
    ])(
      'that %s has closed all its streams within a second, and nothing else happens [T6]',
      async (_, cut) => {
        await using scope = new Scope()
        const rig = await startPath(scope, { transport, serve: talk })
        const clients = await fill(rig.dial)
        await until('all are served', () => rig.proxy.openStreams === clients.length)
        cut(rig)
        await until('all are closed', () => rig.proxy.openStreams === 0 && rig.lane.openStreams === 0, 1000)
        expect(rig.failures.map(({ error }) => error.code)).toEqual(clients.map(() => 'LINK_LOST'))
        // Who reads nothing learns it from the next read.
        for (const docker of clients) docker.resume()
        await until('all clients know', () =>
          clients.every((docker) => docker.closed || docker.readableEnded),
        )
      },
    )

    test('answers whatever is still asked of it, with an error and at once [T7]', async () => {
      await using scope = new Scope()
      const { lane, chaos, open, path } = await startLane(scope, { transport, serve: talk })
      const [stream, full] = [await open(), await open()]
      for (const each of [stream, full]) each.on('error', () => undefined)
      const unanswered = written(full, Buffer.alloc(8 * MEGABYTE))
      chaos.reset()
      await until('the loss is noticed', () => lane.lost.aborted)
      expect(await unanswered).toBeInstanceOf(Error)
      expect(await written(stream, 'x')).toBeInstanceOf(Error)
      stream.end()
      stream.destroy()
      expect(stream.errored).toBe(lane.lost.reason)
      for (const asked of [lane.openStream(path, never), lane.exec('true', never), lane.ping(5000, never)]) {
        await expect(asked).rejects.toBe(lane.lost.reason)
      }
      lane.close()
    })
  })

  describeWith(['sshd'], 'a stream that is over', () => {
    test('takes or refuses what is written to it, and never keeps it waiting [T7]', async () => {
      await using scope = new Scope()
      const { open, engines } = await startLane(scope, {
        transport,
        serve: (engine) => void engine.end('all', () => engine.destroy()),
      })
      const [closed, destroyed] = [await open(), await open()]
      const failures: unknown[] = []
      for (const each of [closed, destroyed]) each.on('error', (failure) => failures.push(failure))
      destroyed.destroy()
      expect(await written(destroyed, 'x')).toMatchObject({ code: 'ERR_STREAM_DESTROYED' })
      await until('the engine has left', () => engines.size === 0)
      // sshd learns by writing that the engine has gone, and closes the channel then.
      for (let time = 0; time < 50; time += 1) expect(await written(closed, Buffer.alloc(1024))).toBeFalsy()
      expect(String((await once(closed, 'data'))[0])).toBe('all')
      await until('it is closed', () => closed.closed)
      expect(await written(closed, 'x')).toBeInstanceOf(Error)
      expect(failures).toEqual([])
    })
  })

  describeWith(['sshd'], 'an engine that is killed', () => {
    test('has lost its clients within a second [T5]', async () => {
      await using scope = new Scope()
      const rig = await startPath(scope, { transport, serve: talk })
      const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
      const script = `require('net').createServer({ allowHalfOpen: true }, (s) => { const f = () => { while (s.write(Buffer.alloc(65536))); }; s.on('drain', f).on('data', f) }).listen(${JSON.stringify(path)})`
      const engine = scope.add(spawn(process.execPath, ['-e', script]), (taken) => taken.kill('SIGKILL'))
      await until('it listens', () => existsSync(path))
      const streams = await Promise.all(Array.from({ length: 3 }, () => rig.lane.openStream(path, never)))
      const [receiving, waiting, sending] = streams
      receiving!.resume().write('x')
      waiting!.resume()
      sending!.resume().end(Buffer.alloc(MEGABYTE))
      for (const stream of streams) stream.on('error', () => undefined)
      await once(receiving!, 'data')
      engine.kill('SIGKILL')
      await until('all have ended', () => streams.every((each) => each.readableEnded || each.errored), 1000)
      expect(rig.lane.lost.aborted).toBe(false)
    })
  })
})

/** What a write comes to: undefined when it was taken. */
const written = (stream: NodeJS.WritableStream, bytes: Buffer | string): Promise<unknown> =>
  new Promise((resolve) => stream.write(bytes, (failure) => resolve(failure ?? undefined)))
