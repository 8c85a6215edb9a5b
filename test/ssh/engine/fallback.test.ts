import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { all, text, type Serve } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { commandOf } from '../../testbed/processes.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { never } from '../support.js'
import {
  carriersIn,
  CARRIERS,
  engineLaneTo,
  processesIn,
  startForbidding,
  startPinged,
  TRANSPORTS,
  untilEnd,
} from './forbidding.js'

const MEGABYTE = 1024 * 1024
const neverEnds: Serve = (client) => void client.resume().write('here')

/** A stream in which the engine has answered. */
const begun = async (stream: Duplex): Promise<Duplex> => {
  stream.write('ask')
  await once(stream, 'data')
  return stream
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

describe.each(TRANSPORTS)('where sshd forbids forwarding, by %s, a stream', (transport) => {
  describe.each(CARRIERS)('over $method', ({ method, name, part }) => {
    describeWith(['sshd', part], 'there', () => {
      /** A server that has only this command, an engine behind it, and a lane in between. */
      const start = async (scope: Scope, serve: Serve) => {
        const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
        const { clients } = await startPinged(scope, path, serve)
        const sshd = await startForbidding(scope, { has: [name] })
        const lane = await engineLaneTo(scope, sshd, path, { transport })
        const nothingIsLeft = () => until('nothing is left', () => processesIn(sshd).length === 0, 15_000)
        return { sshd, path, clients, lane, nothingIsLeft, open: () => lane.openStream(never) }
      }

      test('carries an upload, its end, and the whole answer after that', async () => {
        await using scope = new Scope()
        const { lane, open, nothingIsLeft } = await start(scope, (client) => {
          void untilEnd(client).then((got) => client.end(`${sha256(got)} ${'x'.repeat(MEGABYTE)}`))
        })
        const stream = await open()
        expect(lane.forwarding).toEqual({
          method,
          why: expect.stringMatching(/^sshd there forbids forwarding to Unix sockets/u) as string,
        })
        expect(lane.openStreams).toBe(1)
        const upload = randomBytes(5 * MEGABYTE)
        stream.end(upload)
        const answer = await text(stream)
        expect(answer.slice(0, 65)).toBe(`${sha256(upload)} `)
        expect(answer.length).toBe(65 + MEGABYTE)
        await nothingIsLeft()
        expect(lane.openStreams).toBe(0)
      })

      test('is over once the engine has ended and gone: what it sent comes whole, the rest of the upload is dropped [T3]', async () => {
        await using scope = new Scope()
        const answer = randomBytes(3 * MEGABYTE)
        const { open, nothingIsLeft } = await start(scope, (client) => {
          client.once('data', () => {
            client.pause()
            client.end(answer, () => client.destroy())
          })
        })
        const stream = await open()
        const failures: unknown[] = []
        stream.on('error', (failure) => failures.push(failure))
        stream.write('ask')
        expect(sha256(await all(stream))).toBe(sha256(answer))
        stream.write('too late')
        await until('it is closed', () => stream.closed)
        expect(failures).toEqual([])
        await nothingIsLeft()
      })

      test.skipIf(name === 'nc')(
        'is over once the engine has ended its side, unlike one by sshd [T3]',
        async () => {
          await using scope = new Scope()
          const { open, clients, nothingIsLeft } = await start(
            scope,
            (client) => void client.resume().end('early'),
          )
          const stream = await open()
          stream.write('ask')
          expect(await text(stream)).toBe('early')
          await until('it is closed', () => stream.closed && clients.size === 0)
          await nothingIsLeft()
        },
      )

      test('is cut, and said to be, when the command is killed', async () => {
        await using scope = new Scope()
        const { sshd, lane, open, nothingIsLeft } = await start(
          scope,
          (client) => void client.resume().write('half'),
        )
        const stream = await open()
        const order: unknown[] = []
        lane.onCut((streams) => order.push(streams))
        stream.once('error', (failure) => order.push(failure)).once('end', () => order.push('end'))
        stream.write('ask')
        expect(String(await once(stream, 'data'))).toBe('half')
        for (const pid of carriersIn(sshd)) process.kill(pid, 'SIGKILL')
        await until('it is closed', () => stream.closed)
        expect(order).toEqual([
          1,
          expect.objectContaining({
            code: 'ENGINE_UNREACHABLE',
            message: expect.stringContaining(
              `${method} on ${sshd.user}@127.0.0.1:${sshd.port} ended with 137`,
            ) as string,
          }),
        ])
        expect(lane.lost.aborted).toBe(false)
        await nothingIsLeft()
      })

      test('leaves no process behind, though the engine never ends: cut here, or with its connection', async () => {
        await using scope = new Scope()
        const { sshd, path, open, nothingIsLeft } = await start(scope, neverEnds)
        const [cut, ended] = [await begun(await open()), await begun(await open())]
        const before = new Set(sshd.sessions())
        const other = await engineLaneTo(scope, sshd, path, { transport })
        const lost = await begun(await other.openStream(never))
        cut.destroy()
        ended.end().destroy()
        for (const pid of sshd.sessions()) {
          if (!before.has(pid) && /^\S*sshd/u.test(commandOf(pid))) process.kill(pid, 'SIGKILL')
        }
        await until('the loss is known', () => lost.closed)
        expect(lost.errored).toMatchObject({ code: 'LINK_LOST' })
        await nothingIsLeft()
      })
    })
  })
})
