import { randomBytes } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import ssh2, { type Connection } from 'ssh2'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { startLoopbackServer } from '../../src/ssh/loopback-server.js'
import { generateThrowAwayKey } from '../../src/ssh/throw-away-key.js'
import { all, startEngine } from '../proxy/support.js'
import { opensshLaneTo } from '../ssh/openssh/support.js'
import { ANY_TARGET, laneTo, never } from '../ssh/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { endOf, MEGABYTE, sha256, startPath, TRANSPORTS, type Transport } from './lanes.js'

afterEach(() => void vi.restoreAllMocks())

const LOCAL_EXTENSION: [string, readonly number[]] = ['a local extension nobody knows', [200, 1, 2, 3]]

describe.each(TRANSPORTS)('through %s', (transport) => {
  describeWith(['sshd'], 'a bit that flips on the way', () => {
    test.each(['up', 'down'] as const)(
      '%s ends the connection with an error, and nobody gets a wrong byte or a clean end [T22]',
      async (way) => {
        await using scope = new Scope()
        const bytes = randomBytes(4 * MEGABYTE)
        const uploads: Buffer[][] = []
        const serve = (engine: Socket) => {
          engine.once('data', (word: Buffer) => {
            if (String(word) === 'down') return engine.write(bytes)
            const parts = [word]
            uploads.push(parts)
            return engine.on('data', (part: Buffer) => parts.push(part))
          })
        }
        const { chaos, lane, dial, failures, proxy } = await startPath(scope, { transport, serve })
        const clients = await Promise.all(Array.from({ length: 4 }, dial))
        const [idle, loading, ...saving] = clients
        const downloads = saving.map((docker) => {
          const parts: Buffer[] = []
          docker.on('data', (part: Buffer) => parts.push(part)).write('down')
          return parts
        })
        idle!.resume()
        chaos[way].set({ flipAt: chaos[way].bytes + MEGABYTE })
        loading!.resume().write(bytes)
        await until('the connection is over', () => lane.lost.aborted)
        expect(lane.lost.reason).toMatchObject({ code: 'LINK_LOST' })
        await until('all are cut', () => proxy.openStreams === 0)
        expect(failures.map(({ error }) => error.code)).toEqual(clients.map(() => 'LINK_LOST'))
        for (const parts of [...downloads, ...uploads]) {
          const got = Buffer.concat(parts)
          expect(sha256(got)).toBe(sha256(bytes.subarray(0, got.length)))
        }
        const damaged = way === 'up' ? uploads : downloads
        expect(damaged.some((parts) => Buffer.concat(parts).length < bytes.length)).toBe(true)
      },
    )
  })

  describeWith(transport === 'ssh2' ? [] : ['sshd'], 'messages that mean nothing to us', () => {
    test.each<[string, readonly number[]]>([
      ['SSH_MSG_IGNORE', [2, ...text('as much as one likes')]],
      ['SSH_MSG_UNIMPLEMENTED', [3, 0, 0, 0, 1]],
      ['SSH_MSG_DEBUG, to be shown', [4, 1, ...text('\u001B]0;look\u0007'), ...text('')]],
      ['SSH_MSG_DEBUG, not to be shown', [4, 0, ...text('nothing'), ...text('en')]],
      ['a message that nobody knows', [119, 1, 2, 3]],
      // ssh itself ends a connection that such a number comes in by, which is a loss like any other.
      ...(transport === 'ssh2' ? [LOCAL_EXTENSION] : []),
      ['a global request that nobody knows', [80, ...text('nothing@example.com'), 0]],
      ['a global request that wants an answer', [80, ...text('nothing@example.com'), 1]],
    ])('are let pass in the middle of streams: %s [T26]', async (_, message) => {
      await using scope = new Scope()
      const { lane, path, send } = await startOdd(scope, transport)
      const stream = await lane.openStream(path, never)
      const bytes = randomBytes(96_000)
      const back = all(stream)
      const ended = endOf(stream)
      for (let at = 0; at < bytes.length; at += bytes.length / 16) {
        send(message)
        stream.write(bytes.subarray(at, at + bytes.length / 16))
        await sleep(1)
      }
      send(message)
      stream.end()
      expect(sha256(await back)).toBe(sha256(bytes))
      expect(await ended).toBe('clean')
      expect(await lane.ping(5000, never)).toBeGreaterThan(0)
      expect(lane.lost.aborted).toBe(false)
    })
  })
})

function text(said: string): number[] {
  return [0, 0, 0, Buffer.byteLength(said), ...Buffer.from(said)]
}

/** What sending any message takes of ssh2 1.17's protocol (lib/protocol/Protocol.js). */
interface Protocol {
  readonly _packetRW: {
    readonly write: {
      readonly allocStart: number
      alloc(length: number): Buffer
      finalize(packet: Buffer): Buffer
    }
  }
  readonly _cipher: { encrypt(packet: Buffer): void }
}

/** A lane to a server that sends whatever it is told to. */
const startOdd = async (scope: Scope, transport: Transport) => {
  const dir = scope.use(await TempDir.create()).path
  const path = join(dir, 'engine.sock')
  await startEngine(scope, path, (engine) => engine.pipe(engine))
  const [hostKey, clientKey] = [generateThrowAwayKey(), generateThrowAwayKey()]
  const emit = vi.spyOn(ssh2.Server.prototype as EventEmitter, 'emit')
  const server = scope.use(await startLoopbackServer({ hostKey, clientKey, sockets: [path] }))
  await writeFile(join(dir, 'key'), clientKey.privateKey, { mode: 0o600 })
  await writeFile(join(dir, 'known_hosts'), `${server.hostKeyLine}\n`)
  const target = {
    ...ANY_TARGET,
    port: server.port,
    identityFiles: [join(dir, 'key')],
    knownHostsFiles: [join(dir, 'known_hosts')],
    user: 'demo',
    transport,
  }
  const lane = await (transport === 'ssh2' ? laneTo(scope, target) : opensshLaneTo(scope, target))
  const connection = emit.mock.calls.find(([event]) => event === 'connection')?.[1] as Connection
  const { _packetRW: packets, _cipher: cipher } = (connection as unknown as { _protocol: Protocol })._protocol
  const send = (message: readonly number[]) => {
    const packet = packets.write.alloc(message.length)
    packet.set(message, packets.write.allocStart)
    cipher.encrypt(packets.write.finalize(packet))
  }
  return { lane, path, send }
}
