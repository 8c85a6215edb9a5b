import { once } from 'node:events'
import ssh2, { type Client } from 'ssh2'
import { expect, test, vi } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { all } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { openFiles, residentBytes } from '../testbed/processes.js'
import { until } from '../testbed/until.js'
import { MEGABYTE, startPath, TRANSPORTS } from './lanes.js'

const WARM_UP = 1000
const TOTAL = 10_000

describeWith(['sshd'], 'clients that come and go', () => {
  test.each(TRANSPORTS)(
    'through %s, 10,000 one after the other, then as many fifty at a time: none fails, and nothing is left [T9]',
    { timeout: 240_000 },
    async (transport) => {
      await using scope = new Scope()
      const connect = vi.spyOn(ssh2.Client.prototype, 'connect')
      const { dial, proxy, lane, sshd, failures, engines } = await startPath(scope, {
        transport,
        serve: (engine) => engine.pipe(engine),
      })
      const client = connect.mock.contexts.at(-1) as Client | undefined
      vi.restoreAllMocks()
      let served = 0
      /** Leaves as soon as it is answered, as most clients do. */
      const visit = async (at: number) => {
        const docker = await dial()
        docker.write(`client ${at}`)
        expect(String((await once(docker, 'data'))[0])).toBe(`client ${at}`)
        docker.destroy()
        served += 1
      }
      /** Ends, and waits for the other end. */
      const talk = async (at: number) => {
        const docker = await dial()
        docker.end(`client ${at}`)
        expect(String(await all(docker))).toBe(`client ${at}`)
        served += 1
      }
      const streams = () => proxy.openStreams + lane.openStreams + engines.size
      const atOnce = async (width: number, count: number, what: (at: number) => Promise<void>) => {
        const lines = Array.from({ length: width }, async () => {
          for (let at = 0; at < count / width; at += 1) await what(at)
        })
        await Promise.all(lines)
        await until('nothing is left', () => streams() === 0)
      }
      const remoteFiles = () => sshd.sessions().reduce((sum, pid) => sum + openFiles(pid), 0)

      await atOnce(50, WARM_UP, talk)
      const [files, remote, memory] = [openFiles(process.pid), remoteFiles(), residentBytes(process.pid)]
      await atOnce(1, TOTAL, visit)
      await atOnce(50, TOTAL, talk)
      expect(served).toBe(WARM_UP + 2 * TOTAL)
      expect(failures).toEqual([])
      expect(lane.lost.aborted).toBe(false)
      if (client && transport === 'ssh2') expect(channelsOf(client)).toBe(0)
      await until(
        'the descriptors are given back',
        () => openFiles(process.pid) <= files && remoteFiles() <= remote,
      )
      // The test's own clients and engine are in it, and what the collector has not come to yet.
      expect(residentBytes(process.pid) - memory).toBeLessThan(96 * MEGABYTE)
    },
  )
})

/** How many channels ssh2 still keeps. */
const channelsOf = (client: Client): number =>
  (client as unknown as { _chanMgr: { _count: number } })._chanMgr._count
