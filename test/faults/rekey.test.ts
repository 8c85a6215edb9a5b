import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { all } from '../proxy/support.js'
import { describeWith } from '../testbed/describe-with.js'
import { MEGABYTE, sha256, startPath } from './lanes.js'

describeWith(['sshd'], 'new keys', () => {
  test.each([
    ['1M', 40 * MEGABYTE, 'ssh2', 100],
    ['16K', 40 * MEGABYTE, 'ssh2', 500],
    ['1M', 40 * MEGABYTE, 'openssh', 100],
    // Fewer bytes: of OpenSSH, each exchange takes about a fifth of a second.
    ['16K', 2 * MEGABYTE, 'openssh', 40],
  ] as const)(
    'every %s change nothing of four streams, two up and two down, of %i bytes each, through %s [T8]',
    { timeout: 120_000 },
    async (limit, size, transport, exchanges) => {
      await using scope = new Scope()
      const received: Buffer[] = []
      const answers = new Map<string, Buffer>()
      const { dial, sshd, failures } = await startPath(scope, {
        transport,
        options: [`RekeyLimit ${limit}`, 'LogLevel DEBUG1'],
        serve: (engine) => {
          engine.once('data', (word: Buffer) => {
            const answer = answers.get(word.toString('latin1', 0, 6))
            if (answer) return engine.end(answer)
            const parts = [word]
            engine.on('data', (part: Buffer) => parts.push(part))
            return engine.once('end', () => {
              received.push(Buffer.concat(parts))
              engine.end('taken')
            })
          })
        },
      })
      const up = async () => {
        const bytes = randomBytes(size)
        const docker = await dial()
        docker.end(bytes)
        expect(String(await all(docker))).toBe('taken')
        return sha256(bytes)
      }
      const down = async (name: string) => {
        const bytes = randomBytes(size)
        answers.set(name, bytes)
        const docker = await dial()
        docker.write(name)
        expect(sha256(await all(docker))).toBe(sha256(bytes))
        docker.end()
      }
      const sent = await Promise.all([up(), up(), down('down 1'), down('down 2')])
      expect(new Set(received.map(sha256))).toEqual(new Set(sent.filter((hash) => hash !== undefined)))
      expect(failures).toEqual([])
      const log = await sshd.log()
      const counted = log.match(/SSH2_MSG_KEXINIT received/gu)?.length ?? 0
      expect(counted).toBeGreaterThan(exchanges)
    },
  )
})
