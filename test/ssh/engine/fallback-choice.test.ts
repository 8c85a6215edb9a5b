import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { all, text, type Serve } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
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
} from './forbidding.js'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const echo: Serve = (client) => client.pipe(client)
const ENABLE = 'AllowStreamLocalForwarding yes'

const dirIn = async (scope: Scope) => scope.use(await TempDir.create()).path

const deadSocket = async (path: string): Promise<void> => {
  const server = createServer().listen(`${path}.live`)
  await once(server, 'listening')
  await rename(`${path}.live`, path)
  server.close()
  await once(server, 'close')
}

const commandsSince = async (sshd: Sshd, before: number): Promise<number> =>
  [...(await sshd.log()).slice(before).matchAll(/Starting session: command/gu)].length

describeWith(
  ['sshd', 'docker', 'socat', 'nc', 'busybox'],
  'the way round a server that does not forward',
  () => {
    test.each(['AllowStreamLocalForwarding no', 'DisableForwarding yes'])(
      "is chosen once for a connection, and Docker's own command is the first choice: %s",
      async (forbid) => {
        await using scope = new Scope()
        const path = join(await dirIn(scope), 'engine.sock')
        const { pings } = await startPinged(scope, path, echo)
        const sshd = await startForbidding(scope, { forbid })
        const lane = await engineLaneTo(scope, sshd, path)
        expect(lane.forwarding).toBeNull()
        const streams = await Promise.all(Array.from({ length: 5 }, () => lane.openStream(never)))
        const answers = streams.map(async (stream, at) => {
          stream.end(`stream ${at}`)
          return text(stream)
        })
        expect(await Promise.all(answers)).toEqual(streams.map((_, at) => `stream ${at}`))
        expect(lane.forwarding).toMatchObject({ method: 'docker system dial-stdio' })
        expect(pings()).toBeGreaterThan(0)
        const before = (await sshd.log()).length
        for (let at = 0; at < 3; at += 1) (await lane.openStream(never)).end().resume()
        expect(await commandsSince(sshd, before)).toBe(3)
      },
    )

    test('is not looked for once a stream was opened by sshd itself', async () => {
      await using scope = new Scope()
      const path = join(await dirIn(scope), 'engine.sock')
      const away = new Scope()
      await startPinged(away, path, echo)
      const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
      const lane = await engineLaneTo(scope, sshd, path)
      const stream = await lane.openStream(never)
      await away[Symbol.asyncDispose]()
      stream.destroy()
      await rm(path, { force: true })
      await deadSocket(path)
      await expect(lane.openStream(never)).rejects.toMatchObject({ code: 'ENGINE_DOWN' })
      expect(lane.forwarding).toEqual({ method: 'streamlocal', why: null })
      await startPinged(scope, `${path}.new`, echo)
      await rename(`${path}.new`, path)
      const again = await lane.openStream(never)
      again.end('again')
      expect(await text(again)).toBe('again')
      expect(lane.forwarding).toEqual({ method: 'streamlocal', why: null })
    })

    test.each(['AllowStreamLocalForwarding yes', 'AllowStreamLocalForwarding no'])(
      'is none where the engine itself is down, which is said: %s',
      async (forbid) => {
        await using scope = new Scope()
        const path = join(await dirIn(scope), 'engine.sock')
        await deadSocket(path)
        const sshd = await startForbidding(scope, { forbid })
        const lane = await engineLaneTo(scope, sshd, path)
        const crowd = await Promise.allSettled(Array.from({ length: 20 }, () => lane.openStream(never)))
        for (const one of crowd) {
          expect(one).toMatchObject({
            reason: {
              code: 'ENGINE_DOWN',
              hint: expect.stringContaining('systemctl status docker') as string,
            },
          })
        }
        expect(lane.forwarding).toBeNull()
        // One look at the socket, one for commands, and each of them once.
        expect(await commandsSince(sshd, 0)).toBeLessThanOrEqual(5)
      },
    )

    test('is named, beside the word that allows forwarding, where there is none', async () => {
      await using scope = new Scope()
      const path = join(await dirIn(scope), 'engine.sock')
      await startPinged(scope, path, echo)
      const sshd = await startForbidding(scope, { has: [] })
      const lane = await engineLaneTo(scope, sshd, path)
      const failure: unknown = await lane.openStream(never).catch((thrown: unknown) => thrown)
      expect(failure).toMatchObject({ code: 'FORWARDING_FORBIDDEN', stage: 'engine' })
      for (const word of [ENABLE, 'Docker', 'socat', 'nc'])
        expect((failure as { hint: string }).hint).toContain(word)
      expect(lane.openStreams).toBe(0)
    })

    test('is none through a login shell that adds to the bytes, and that is said', async () => {
      await using scope = new Scope()
      const path = join(await dirIn(scope), 'engine.sock')
      await startPinged(scope, path, echo)
      const noisy = ['ForceCommand echo Welcome; eval "$SSH_ORIGINAL_COMMAND"']
      const sshd = await startForbidding(scope, { options: noisy })
      const lane = await engineLaneTo(scope, sshd, path)
      await expect(lane.openStream(never)).rejects.toMatchObject({
        code: 'FORWARDING_FORBIDDEN',
        hint: expect.stringContaining(
          'docker system dial-stdio there does not answer as a Docker engine',
        ) as string,
      })
    })

    test('is none where the server runs no commands, or no sessions', async () => {
      await using scope = new Scope()
      const path = join(await dirIn(scope), 'engine.sock')
      await startPinged(scope, path, echo)
      for (const option of ['ForceCommand true', 'MaxSessions 0']) {
        const sshd = await startForbidding(scope, { options: [option] })
        for (const transport of TRANSPORTS) {
          const lane = await engineLaneTo(scope, sshd, path, { transport })
          await expect(lane.openStream(never)).rejects.toMatchObject({
            code: 'ENGINE_UNREACHABLE',
            hint: expect.stringContaining(ENABLE) as string,
          })
          expect(lane.lost.aborted).toBe(false)
        }
      }
    })

    test('whose engine dies says so to the clients after the first, and serves again when it is back', async () => {
      await using scope = new Scope()
      const path = join(await dirIn(scope), 'engine.sock')
      const away = new Scope()
      await startPinged(away, path, echo)
      const sshd = await startForbidding(scope, { has: ['socat'] })
      const lane = await engineLaneTo(scope, sshd, path)
      let cuts = 0
      lane.onCut((streams) => (cuts += streams))
      ;(await lane.openStream(never)).destroy()
      await away[Symbol.asyncDispose]()
      await rm(path, { force: true })
      await deadSocket(path)
      const first = (await lane.openStream(never)).resume()
      await until('it is cut', () => first.closed)
      expect(first.errored).toMatchObject({
        code: 'ENGINE_UNREACHABLE',
        message: expect.stringContaining('Connection refused') as string,
      })
      expect(cuts).toBe(1)
      await expect(lane.openStream(never)).rejects.toMatchObject({ code: 'ENGINE_DOWN' })
      await rm(path)
      await sleep(1100)
      await expect(lane.openStream(never)).rejects.toMatchObject({ code: 'ENGINE_SOCKET_MISSING' })
      await startPinged(scope, path, echo)
      const stream = await until('it serves', () => lane.openStream(never))
      stream.end('back')
      expect(await text(stream)).toBe('back')
      expect(lane.forwarding).toMatchObject({ method: 'socat' })
    })

    test.each([['dash'], ['bash'], ['busybox']])(
      'hands the bytes right behind the path to the command, all of them, and leaves nothing behind: %s as sh',
      async (shell) => {
        await using scope = new Scope()
        const path = join(await dirIn(scope), 'engine.sock')
        await startPinged(scope, path, (client) => {
          client.once('data', (first: Buffer) => {
            // Without an end: the command there has to be ended.
            if (String(first).startsWith('stay')) client.write('staying')
            else client.write(first, () => echo(client))
          })
        })
        const sshd = await startForbidding(scope, { sh: [shell] })
        const lane = await engineLaneTo(scope, sshd, path)
        const staying = await lane.openStream(never)
        staying.write('stay')
        await once(staying, 'data')
        staying.destroy()
        const upload = Buffer.concat([Buffer.from('\n\0\r\n \\\n'), randomBytes(200_000)])
        const stream = await lane.openStream(never)
        stream.end(upload)
        expect(sha256(await all(stream))).toBe(sha256(upload))
        await until('nothing is left there', () => processesIn(sshd).length === 0, 15_000)
      },
    )

    test.each(TRANSPORTS)(
      'has as much room as the server allows sessions, which is said: %s',
      async (transport) => {
        await using scope = new Scope()
        const path = join(await dirIn(scope), 'engine.sock')
        await startPinged(scope, path, echo)
        const sshd = await startForbidding(scope, { options: ['MaxSessions 2'] })
        const lane = await engineLaneTo(scope, sshd, path, { transport })
        let room = 0
        lane.onRoom(() => (room += 1))
        const [one, two] = [await lane.openStream(never), await lane.openStream(never)]
        await expect(lane.openStream(never)).rejects.toMatchObject({
          code: 'SESSION_LIMIT',
          message: expect.stringContaining('allows no more than 2 sessions') as string,
          hint: expect.stringMatching(/AllowStreamLocalForwarding yes.*MaxSessions.*`lanes:`/u) as string,
        })
        expect(lane).toMatchObject({ openStreams: 2, lost: { aborted: false } })
        two.end('two')
        expect(await text(two)).toBe('two')
        await until('it is over', () => room === 1)
        const three = await until('there is room', () => lane.openStream(never))
        for (const [stream, said] of [
          [one, 'one'],
          [three, 'three'],
        ] as const) {
          stream.end(said)
          expect(await text(stream)).toBe(said)
        }
      },
    )

    test.each(TRANSPORTS)(
      'serves one client after the other through a single session: %s',
      async (transport) => {
        await using scope = new Scope()
        const path = join(await dirIn(scope), 'engine.sock')
        await startPinged(scope, path, echo)
        const sshd = await startForbidding(scope, { options: ['MaxSessions 1'] })
        const lane = await engineLaneTo(scope, sshd, path, { transport })
        for (let at = 0; at < 5; at += 1) {
          const stream = await lane.openStream(never)
          stream.end(`stream ${at}`)
          expect(await text(stream)).toBe(`stream ${at}`)
        }
      },
    )

    test('is known to another connection to the same server, without a look', async () => {
      await using scope = new Scope()
      const path = join(await dirIn(scope), 'engine.sock')
      const { pings } = await startPinged(scope, path, echo)
      const sshd = await startForbidding(scope)
      const first = await engineLaneTo(scope, sshd, path)
      ;(await first.openStream(never)).destroy()
      const before = { log: (await sshd.log()).length, pings: pings() }
      const second = await engineLaneTo(scope, sshd, path, {}, first)
      expect(second).toMatchObject({ forwarding: first.forwarding, remoteSocket: path })
      let cuts = 0
      second.onCut((streams) => (cuts += streams))
      const stream = await second.openStream(never)
      stream.end('second')
      expect(await text(stream)).toBe('second')
      expect(await commandsSince(sshd, before.log)).toBe(1)
      const cut = (await second.openStream(never)).resume()
      cut.write('x')
      await until('it runs', () => carriersIn(sshd).length > 0)
      for (const pid of carriersIn(sshd)) process.kill(pid, 'SIGKILL')
      await until('it is cut', () => cut.closed)
      expect(cuts).toBe(1)
    })

    const STRANGE = [
      `it's "$(touch owned)" \`touch owned\`; touch owned`,
      '$HOME ${IFS}',
      '-e -x',
      ' blanks ',
      String.raw`back\slash\n`,
      'a,b:c!!d[e]f(g){h}',
      '100%41',
      'für 鯨 🐳',
      '*',
    ]
    test.each(CARRIERS)(
      'takes any path as one word, or is none for it: $method [F4]',
      async ({ name, method }) => {
        await using scope = new Scope()
        const dir = await dirIn(scope)
        const sshd = await startForbidding(scope, { has: [name] })
        const refused: string[] = []
        for (const strange of STRANGE) {
          const path = join(dir, strange)
          await startPinged(scope, path, (client) => void client.end(`at ${strange}`))
          const lane = await engineLaneTo(scope, sshd, path)
          const stream = await lane.openStream(never).catch((failure: unknown) => {
            // Not every name can be looked up in /proc/net/unix.
            expect(failure).toMatchObject({
              code: expect.stringMatching(/^(?:FORWARDING_FORBIDDEN|ENGINE_DOWN)$/u) as string,
            })
            refused.push(strange)
          })
          if (!stream) continue
          stream.end()
          expect(await text(stream)).toBe(`at ${strange}`)
          expect(lane.forwarding).toMatchObject({ method })
        }
        expect(refused).toEqual(NOT_FOR[name])
        for (const place of [dir, sshd.home, '.']) expect(existsSync(join(place, 'owned'))).toBe(false)
      },
    )
    const [quotes, dollar, , blanks, backslash, punctuation, percent] = STRANGE
    const NOT_FOR = { docker: [blanks, percent], socat: [quotes, dollar, backslash, punctuation], nc: [] }
  },
)
