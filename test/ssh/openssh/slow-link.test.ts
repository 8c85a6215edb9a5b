import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { startEngine } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { never, targetOf } from '../support.js'
import { opensshLaneTo } from './support.js'

const BYTES_A_SECOND = 400_000

/** A way to the server that carries little, and takes in all that it is given. */
const slowDoor = async (scope: Scope, sshd: Sshd): Promise<number> => {
  const door = createServer((near: Socket) => {
    const far = connect(sshd.port, sshd.host)
    for (const socket of [near, far])
      scope.add(
        socket.on('error', () => undefined),
        (taken) => taken.destroy(),
      )
    const queue: Buffer[] = []
    near.on('data', (chunk: Buffer) => queue.push(chunk))
    far.pipe(near)
    const trickle = setInterval(() => {
      for (let left = BYTES_A_SECOND / 50; left > 0 && queue[0];) {
        const piece = queue[0].subarray(0, left)
        far.write(piece)
        left -= piece.length
        queue[0] = queue[0].subarray(piece.length)
        if (queue[0].length === 0) queue.shift()
      }
    }, 20)
    far.once('close', () => clearInterval(trickle))
    near.once('close', () => far.destroy())
  }).listen(0, '127.0.0.1')
  await once(door, 'listening')
  scope.add(door, () => door.close())
  return (door.address() as AddressInfo).port
}

describeWith(['sshd'], "an upload through the system's ssh on a slow link", () => {
  test('does not queue in front of other streams what the link cannot carry', async () => {
    await using scope = new Scope()
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    const dir = scope.use(await TempDir.create()).path
    const path = join(dir, 'engine.sock')
    let received = 0
    await startEngine(scope, path, (engine) => {
      engine.once('data', (word: Buffer) => {
        if (String(word) === 'echo') return engine.pipe(engine)
        return engine.on('data', (chunk: Buffer) => (received += chunk.length))
      })
    })
    const port = await slowDoor(scope, sshd)
    const known = join(dir, 'known_hosts')
    await writeFile(known, `[127.0.0.1]:${port} ${sshd.hostKeys[0]}\n`)
    const lane = await opensshLaneTo(scope, targetOf(sshd, { port, knownHostsFiles: [known] }))
    const [upload, other] = [await lane.openStream(path, never), await lane.openStream(path, never)]
    const pour = () => {
      while (upload.write(Buffer.alloc(64 * 1024)));
    }
    other.write('echo')
    upload.on('drain', pour).on('error', () => undefined)
    pour()
    // The window alone would let in 2 MiB at once, which is five seconds of this link.
    for (let time = 0; time < 4; time += 1) {
      await sleep(700)
      const started = performance.now()
      other.write('ping')
      await once(other, 'data')
      expect(performance.now() - started).toBeLessThan(2500)
    }
    expect(received).toBeGreaterThan(BYTES_A_SECOND)
    expect(lane.lost.aborted).toBe(false)
    await until('the ping is answered too', async () => (await lane.ping(5000, never)) < 2500)
  })
})
