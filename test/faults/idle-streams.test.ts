import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { cutsIdleStreams } from '../../src/ssh/idle/cuts.js'
import { laneTo, targetOf } from '../ssh/support.js'
import { describeSince, SSHD_RELEASE } from '../testbed/describe-since.js'
import { describeWith } from '../testbed/describe-with.js'
import { Sshd } from '../testbed/sshd.js'
import { until } from '../testbed/until.js'
import { endOf, MEGABYTE, startLane, TRANSPORTS, type Transport } from './lanes.js'

const TYPE = 'direct-streamlocal@openssh.com'
const AFTER_3_S = [`ChannelTimeout ${TYPE}=3s`]
const CUT = {
  code: 'LINK_LOST',
  message: expect.stringMatching(/cut a stream through which nothing had gone for .* \(ChannelTimeout\)$/u),
}

const describeSince92 = (title: string, tests: (transport: Transport) => void) => {
  for (const transport of TRANSPORTS) {
    describeSince(9.2, `${title}, through ${transport}`, (full) =>
      describeWith(['sshd'], full, () => tests(transport)),
    )
  }
}

/** Asks nothing of the canary's, does what a client's first word says. */
const engine =
  (did: { word: string; engine: Socket }[] = []) =>
  (socket: Socket) => {
    socket.once('data', (bytes: Buffer) => {
      const word = String(bytes)
      did.push({ word, engine: socket })
      if (word === 'reply') socket.write('an answer')
      if (word.startsWith('end after ')) {
        setTimeout(() => socket.end('all of it'), Number(word.replace('end after ', '')))
      }
      if (word === 'pour') {
        const pour = () => {
          while (socket.write(Buffer.alloc(64 * 1024)));
        }
        socket.on('drain', pour)
        pour()
      }
      if (word === 'stop') socket.pause()
    })
  }

const leavingToo = (socket: Socket) => void socket.resume().once('end', () => socket.end())

describeSince92('a stream that the server cuts because nothing goes through it', (transport) => {
  test('fails and never ends cleanly, whatever state it was in [T20]', async () => {
    await using scope = new Scope()
    const { lane, open, path } = await startLane(scope, { transport, serve: engine(), options: AFTER_3_S })
    lane.keepCanary!(path)
    const [unused, waiting, answered, halfClosed, unread, unwritten] = await Promise.all(
      Array.from({ length: 6 }, open),
    )
    waiting!.resume().write('wait')
    answered!.resume().write('reply')
    // As `docker exec` does without input.
    halfClosed!.resume().end('reply')
    unread!.write('pour')
    unwritten!.resume().write('stop')
    unwritten!.write(Buffer.alloc(8 * MEGABYTE))
    const all = [unused!.resume(), waiting!, answered!, halfClosed!, unread!, unwritten!]
    expect(lane.openStreams).toBe(6)
    expect(await Promise.all(all.map(endOf))).toEqual(all.map(() => expect.objectContaining(CUT)))
    expect(lane.openStreams).toBe(0)
    expect(lane.lost.aborted).toBe(false)
    // The next one is none the worse for it.
    const next = (await open()).resume()
    next.end('end after 0')
    expect(await endOf(next)).toBe('clean')
  })

  test('is told from one that its engine ended after a silence, each way [T20]', async () => {
    await using scope = new Scope()
    const { lane, open, path } = await startLane(scope, {
      transport,
      serve: engine(),
      options: [`ChannelTimeout ${TYPE}=4s`],
    })
    lane.keepCanary!(path)
    const [whole, halfClosed, cut] = await Promise.all(Array.from({ length: 3 }, open))
    whole!.resume().write('end after 1000')
    halfClosed!.resume().end('end after 1000')
    cut!.resume().end('wait')
    expect(await Promise.all([whole!, halfClosed!].map(endOf))).toEqual(['clean', 'clean'])
    whole!.end()
    expect(await endOf(cut!)).toMatchObject(CUT)
  })

  test('is known by its own CLOSE alone when no canary lives, however far behind its EOF that comes [T20]', async () => {
    await using scope = new Scope()
    const { open, chaos } = await startLane(scope, { transport, serve: engine(), options: AFTER_3_S })
    const stream = await open()
    stream.write('reply')
    await once(stream, 'data')
    // EOF, and half a second later CLOSE: 36 to 64 bytes each, whatever the cipher.
    chaos.down.set({ slice: 8, rate: 80 })
    expect(await endOf(stream.resume())).toMatchObject(CUT)
  })

  test('is known when the server cuts all streams at once, the canary with them [T20]', async (context) => {
    if (SSHD_RELEASE < 9.7) context.skip(`sshd is ${SSHD_RELEASE}, ChannelTimeout global came with 9.7`)
    await using scope = new Scope()
    const options = ['ChannelTimeout global=2s']
    const { lane, open, path } = await startLane(scope, { transport, serve: engine(), options })
    lane.keepCanary!(path)
    const [busy, halfClosed] = await Promise.all([open(), open()])
    for (let time = 0; time < 5; time += 1) {
      busy.write('x')
      await sleep(700)
    }
    halfClosed.resume().end('reply')
    expect(await endOf(halfClosed)).toMatchObject(CUT)
  })

  test('is cut no more once the configuration says what the hint does [T20]', async () => {
    await using scope = new Scope()
    const options = [`ChannelTimeout ${TYPE}=0 *=1s`]
    const { open } = await startLane(scope, { transport, serve: engine(), options })
    const stream = await open()
    await sleep(2500)
    stream.write('reply')
    expect(String((await once(stream, 'data'))[0])).toBe('an answer')
  })
})

describeSince(9.2, 'a jump host that cuts what is idle', (title) => {
  describeWith(['sshd'], title, () => {
    test('costs the connection that goes through it, which says why [T20]', async () => {
      await using scope = new Scope()
      const options = ['ChannelTimeout direct-tcpip=2s']
      const [jump, inner] = await Promise.all([
        Sshd.start({ hostKeyTypes: ['ed25519'], options }),
        Sshd.start({ hostKeyTypes: ['ed25519'] }),
      ]).then((all) => all.map((each) => scope.use(each)) as [Sshd, Sshd])
      const config = join(jump.dir, 'ssh_config')
      const files = [`IdentityFile ${jump.keyFile}`, `UserKnownHostsFile ${jump.knownHostsFile}`]
      await writeFile(config, ['Host *', ...files, 'GlobalKnownHostsFile none', ''].join('\n'))
      const proxyJump = [{ destination: jump.host, user: jump.user, port: jump.port }]
      const env = { DPROXY_SSH_CONFIG: config }
      const lane = await laneTo(scope, targetOf(inner, { proxyJump }), { env })
      await until('it is lost', () => lane.lost.aborted)
      expect(lane.lost.reason).toMatchObject({
        code: 'LINK_LOST',
        message: expect.stringContaining('ChannelTimeout'),
      })
    })
  })
})

describe.each(TRANSPORTS)('through %s', (transport) => {
  describeWith(['sshd'], 'a stream that its engine ends after a silence', () => {
    test.each([
      ['whose client has ended', true],
      ['whose client has not', false],
    ])('%s ends cleanly, whole, and at once [T20]', async (_, ended) => {
      await using scope = new Scope()
      const engines: { word: string; engine: Socket }[] = []
      const { lane, open, path } = await startLane(scope, { transport, serve: engine(engines) })
      lane.keepCanary!(path)
      const stream = (await open()).resume()
      stream.write('wait')
      if (ended) stream.end()
      const served = await until('it is served', () => engines.find(({ word }) => word === 'wait'))
      await sleep(1200)
      const end = endOf(stream)
      served.engine.end()
      const before = performance.now()
      expect(await end).toBe('clean')
      expect(performance.now() - before).toBeLessThan(1000)
      stream.end()
      await until('it is over', () => lane.openStreams === 0)
    })
  })

  describeWith(['sshd'], 'the canary', () => {
    test('counts for nothing, and another takes its place when the engine ends it [T20]', async () => {
      await using scope = new Scope()
      const { lane, open, path, engines } = await startLane(scope, { transport, serve: leavingToo })
      lane.keepCanary!(path)
      const stream = (await open()).resume()
      await until('both are there', () => engines.size === 2)
      expect(lane.openStreams).toBe(1)
      stream.destroy()
      await until('it is alone', () => engines.size === 1)
      expect(lane.openStreams).toBe(0)
      for (const each of engines as Set<Socket>) each.end()
      await until('it is gone', () => engines.size === 0)
      const next = (await open()).resume()
      await until('both are there again', () => engines.size === 2)
      expect(lane.openStreams).toBe(1)
      next.destroy()
    })
  })
})

test.each([
  ['OpenSSH_9.2p1', true],
  ['OpenSSH_10.0', true],
  ['OpenSSH_for_Windows_9.5', true],
  ['OpenSSH_9.1', false],
  ['OpenSSH_8.9p1', false],
  ['dropbear_2022.83', false],
  ['Go', false],
  [null, true],
])('of %s it is %s that it may cut idle streams [T20]', (software, may) => {
  expect(cutsIdleStreams(software)).toBe(may)
})
