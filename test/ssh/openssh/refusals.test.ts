import { link, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { startEngine, text } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { TempDir } from '../../testbed/temp-dir.js'
import { until } from '../../testbed/until.js'
import { never, targetOf } from '../support.js'
import { opensshLaneTo } from './support.js'

describeWith(['sshd'], "a stream that cannot be opened through the system's ssh", () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
  })
  afterAll(() => sshd[Symbol.asyncDispose]())

  test('is refused with what stands at the path there, and other streams live on', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const path = join(dir, 'engine.sock')
    await startEngine(scope, path, (engine) => engine.pipe(engine))
    const lane = await opensshLaneTo(scope, targetOf(sshd))
    const living = await lane.openStream(path, never)
    const missing = lane.openStream(join(dir, 'nothing.sock'), never)
    await expect(missing).rejects.toMatchObject({ code: 'ENGINE_SOCKET_MISSING', stage: 'engine' })
    await writeFile(join(dir, 'file'), '')
    const other = lane.openStream(join(dir, 'file'), never)
    await expect(other).rejects.toMatchObject({ code: 'ENGINE_SOCKET_MISSING' })
    const dead = join(dir, 'dead.sock')
    const server = createServer().listen(dead)
    await once(server, 'listening')
    // Closed without its name being removed, as by a crash.
    await mkdir(join(dir, 'kept'))
    await link(dead, join(dir, 'kept', 'dead.sock'))
    server.close()
    await expect(lane.openStream(join(dir, 'kept', 'dead.sock'), never)).rejects.toMatchObject({
      code: 'ENGINE_DOWN',
    })
    living.end('still here')
    expect(await text(living)).toBe('still here')
  })

  test('is refused alike, at once, for a crowd; the engine is asked again a moment later', async () => {
    await using scope = new Scope()
    const dir = scope.use(await TempDir.create()).path
    const path = join(dir, 'engine.sock')
    const lane = await opensshLaneTo(scope, targetOf(sshd))
    const crowd = await Promise.allSettled(Array.from({ length: 100 }, () => lane.openStream(path, never)))
    for (const one of crowd) {
      expect(one).toMatchObject({ status: 'rejected', reason: { code: 'ENGINE_SOCKET_MISSING' } })
    }
    await startEngine(scope, path, (engine) => engine.end('here'))
    const stream = await until('it opens', () => lane.openStream(path, never))
    expect(await text(stream)).toBe('here')
  })

  test('is told apart where the server forbids forwarding, or commands', async () => {
    await using scope = new Scope()
    const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
    await startEngine(scope, path, (engine) => engine.pipe(engine))
    await using forbidding = await Sshd.start({
      hostKeyTypes: ['ed25519'],
      options: ['AllowStreamLocalForwarding no'],
    })
    const lane = await opensshLaneTo(scope, targetOf(forbidding))
    await expect(lane.openStream(path, never)).rejects.toMatchObject({
      code: 'FORWARDING_FORBIDDEN',
      hint: expect.stringContaining('AllowStreamLocalForwarding yes') as string,
    })
    await using mute = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxSessions 0'] })
    const noCommands = await opensshLaneTo(scope, targetOf(mute))
    await expect(noCommands.openStream(`${path}x`, never)).rejects.toMatchObject({
      code: 'ENGINE_UNREACHABLE',
    })
    const stream = await noCommands.openStream(path, never)
    stream.end('works')
    expect(await text(stream)).toBe('works')
  })
})

describeWith(['sshd'], "the round trip through the system's ssh", () => {
  test('is measured with and without streams, and is a sign of life', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'] })
    const path = join(scope.use(await TempDir.create()).path, 'engine.sock')
    await startEngine(scope, path, (engine) => engine.pipe(engine))
    const lane = await opensshLaneTo(scope, targetOf(sshd))
    expect(lane.rttMs).toBeNull()
    const first = await lane.ping(5000, never)
    expect(first).toBeGreaterThan(0)
    expect(lane.rttMs).toBe(first)
    expect(lane.openStreams).toBe(0)
    const stream = await lane.openStream(path, never)
    await until('the server has nothing more to say', () => lane.silentMs > 100)
    const trips = await Promise.all(Array.from({ length: 20 }, () => lane.ping(5000, never)))
    for (const ms of trips) expect(ms).toBeLessThan(1000)
    expect(lane.silentMs).toBeLessThan(100)
    stream.end('not disturbed')
    expect(await text(stream)).toBe('not disturbed')
  })

  test('is measured also where the server allows no session', async () => {
    await using scope = new Scope()
    await using sshd = await Sshd.start({ hostKeyTypes: ['ed25519'], options: ['MaxSessions 0'] })
    const lane = await opensshLaneTo(scope, targetOf(sshd))
    for (let time = 0; time < 3; time += 1) expect(await lane.ping(5000, never)).toBeGreaterThan(0)
    await sleep(50)
    expect(lane.lost.aborted).toBe(false)
  })
})
