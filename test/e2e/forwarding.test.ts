import { describe, expect, inject, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import type { HostStatus } from '../../src/control/messages.js'
import {
  carriersIn,
  CARRIERS,
  processesIn,
  startForbidding,
  TRANSPORTS,
  type Forbidding,
} from '../ssh/engine/forbidding.js'
import { bigImage } from '../testbed/big-image.js'
import { World, type RunOptions } from '../testbed/cli.js'
import { describeOurs } from '../testbed/describe-with.js'
import { IMAGE } from '../testbed/image.js'
import { HOST_PARTS } from '../testbed/parts.js'
import { until } from '../testbed/until.js'
import { hostOf, must, statusOf } from './lifecycle.js'

/** A host whose server does not forward, in front of prod's engine, and up. */
const enter = async (scope: Scope, entry: object = {}, forbidding: Forbidding = {}) => {
  const sshd = await startForbidding(scope, forbidding)
  const world = scope.use(await World.create())
  const { engineSocket } = inject('hosts')!.prod
  await world.config({ hosts: { prod: { ...world.entry('prod', hostOf(sshd, engineSocket!)), ...entry } } })
  await must(world, ['up', 'prod'])
  const docker = async (args: readonly string[], options?: RunOptions) => {
    const { exitCode, stdout, stderr } = await world.docker('prod', args, options)
    if (exitCode !== 0) throw new Error(`docker ${args.join(' ')} ended with ${exitCode}: ${stderr}`)
    return stdout
  }
  return {
    sshd,
    world,
    docker,
    status: async (): Promise<HostStatus> => (await statusOf(world, 'prod')).hosts[0]!,
    /** A container that sleeps; gone with the scope, past dproxy. */
    box: async () => {
      const past = ['-H', `unix://${engineSocket}`]
      const { stdout } = await world.spawn('docker', [...past, 'run', '-d', '--rm', IMAGE, 'sleep', '300'])
      return scope.add(stdout, (id) => world.spawn('docker', [...past, 'rm', '-f', id]))
    },
  }
}

const fifteen = <T>(work: (at: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: 15 }, (_, at) => work(at)))

describe('where sshd forbids forwarding', () => {
  const WAYS = CARRIERS.flatMap((carrier) => [
    { ...carrier, transport: 'ssh2', forbid: 'AllowStreamLocalForwarding no' },
    { ...carrier, transport: 'openssh', forbid: 'DisableForwarding yes' },
  ])
  for (const { method, name, part, transport, forbid } of WAYS) {
    describeOurs([...HOST_PARTS, part], `and ${method} is there (${transport}, ${forbid})`, () => {
      test("Docker's command line does its work over it, and status says so", async () => {
        await using scope = new Scope()
        const { world, sshd, docker, status, box } = await enter(
          scope,
          { transport },
          { has: [name], forbid },
        )
        expect((await status()).forwarding).toEqual({
          method,
          why: expect.stringMatching(/^sshd there forbids forwarding to Unix sockets/u) as string,
        })
        const id = await box()
        expect(await docker(['ps', '-q', '--no-trunc'])).toContain(id)
        expect(await docker(['run', '--rm', IMAGE, 'echo', 'hello'])).toBe('hello')
        expect((await world.docker('prod', ['exec', id, 'sh', '-c', 'echo out; exit 7'])).exitCode).toBe(7)
        // The end of the input reaches the container, and the answer to it comes back.
        const input = Buffer.alloc(3_000_000, 'half-close ')
        expect(await docker(['exec', '-i', id, 'wc', '-c'], { input })).toBe('3000000')
        const big = bigImage(
          `dproxy-test/${world.dir.split('-').at(-1)!.toLowerCase()}:local`,
          8 * 1024 * 1024,
        )
        scope.add(big.tag, (tag) => world.docker('prod', ['rmi', '-f', tag]))
        expect(await docker(['load'], { input: Buffer.concat([...big.archive()]) })).toContain(big.tag)
        expect(await docker(['image', 'inspect', '-f', '{{.Id}}', big.tag])).toBe(big.id)
        await until('nothing is left there', () => processesIn(sshd).length === 0)
      })

      test('a command whose stream is cut is never taken for one that has finished', async () => {
        await using scope = new Scope()
        const { world, sshd, box } = await enter(scope, { transport }, { has: [name], forbid })
        const id = await box()
        const running = world.docker('prod', ['exec', id, 'sh', '-c', 'sleep 4; exit 0'])
        // One stream for its questions, one for the command's own output.
        await until('it runs', () => carriersIn(sshd).length === 2)
        for (const pid of carriersIn(sshd)) process.kill(pid, 'SIGKILL')
        const { exitCode } = await running
        expect(exitCode).not.toBe(0)
        expect(exitCode).toBeDefined()
      })
    })
  }
})

describeOurs(HOST_PARTS, 'where sshd forbids forwarding and allows few sessions', () => {
  test.each(TRANSPORTS)(
    '15 clients at once, of two streams each, are all served: %s [T13]',
    async (transport) => {
      await using scope = new Scope()
      const { world, sshd, status, box } = await enter(scope, { transport }, { options: ['MaxSessions 10'] })
      const id = await box()
      const codes = fifteen(async (at) => {
        const { exitCode, stderr } = await world.docker('prod', [
          'exec',
          id,
          'sh',
          '-c',
          `sleep 1; exit ${at}`,
        ])
        return stderr === '' ? exitCode : stderr
      })
      expect(await codes).toEqual(Array.from({ length: 15 }, (_, at) => at))
      const { lanes, reconnects } = await status()
      expect(lanes).toBeGreaterThan(1)
      expect(lanes).toBeLessThanOrEqual(4)
      expect(reconnects).toBe(0)
      await until('nothing is left there', () => processesIn(sshd).length === 0)
    },
  )

  test.each([
    [2, 'ssh2'],
    [2, 'openssh'],
    [1, 'ssh2'],
    [1, 'openssh'],
  ])(
    '15 clients at once wait for each other, and all are served: MaxSessions %i, %s [T13]',
    async (most, transport) => {
      await using scope = new Scope()
      const entry = { transport, connectTimeout: '30s' }
      const { sshd, docker, status, box } = await enter(scope, entry, { options: [`MaxSessions ${most}`] })
      const id = await box()
      for (const listed of await fifteen(() => docker(['ps', '-q', '--no-trunc'])))
        expect(listed).toContain(id)
      expect((await status()).reconnects).toBe(0)
      await until('nothing is left there', () => processesIn(sshd).length === 0)
    },
  )

  test('clients that hold one stream and wait for another are told in time, and none of them takes that for success [T13]', async () => {
    await using scope = new Scope()
    const entry = { lanes: 1, connectTimeout: '2s' }
    const { world, docker, box } = await enter(scope, entry, { options: ['MaxSessions 3'] })
    const id = await box()
    const ends = await fifteen(async (at) => {
      const { exitCode } = await world.docker('prod', ['exec', id, 'sh', '-c', `exit ${at + 1}`])
      return { at, exitCode }
    })
    for (const { at, exitCode } of ends) expect([at + 1, 1, 125, 126]).toContain(exitCode)
    await docker(['ps'])
  })

  test('who waits too long hears of both ways out', async () => {
    await using scope = new Scope()
    const entry = { lanes: 1, connectTimeout: '2s' }
    const { world, status, docker } = await enter(scope, entry, { options: ['MaxSessions 2'] })
    const busy = [1, 2].map(() => world.startDocker('prod', ['events']))
    await until('they run', async () => (await status()).streams.open === 2)
    const late = await world.docker('prod', ['ps'])
    expect(late.exitCode).not.toBe(0)
    expect(late.stderr).toMatch(
      /dproxy: prod: engine: sshd on .* allows no more than 2 sessions.*MaxSessions/u,
    )
    expect(late.stderr).toContain('`lanes:`')
    expect((await status()).lanes).toBe(1)
    for (const each of busy) each.kill('SIGKILL')
    await until('there is room', async () => (await status()).streams.open === 0)
    await until('it serves', () => docker(['ps']), 15_000)
  })

  test.each(TRANSPORTS)(
    'a further connection that is lost cuts its own clients alone, and none of them takes that for success: %s',
    async (transport) => {
      await using scope = new Scope()
      const { world, sshd, status, docker, box } = await enter(
        scope,
        { transport },
        { options: ['MaxSessions 2'] },
      )
      const id = await box()
      const exec = async (code: number) =>
        (await world.docker('prod', ['exec', id, 'sh', '-c', `sleep 6; exit ${code}`])).exitCode
      const first = exec(1)
      await until('it runs', async () => (await status()).streams.open === 2)
      const before = new Set(sshd.sessions())
      const second = exec(2)
      await until('both run', async () => (await status()).streams.open === 4)
      expect((await status()).lanes).toBe(2)
      const commands = new Set(processesIn(sshd).map(({ pid }) => pid))
      const further = sshd.sessions().filter((pid) => !before.has(pid) && !commands.has(pid))
      for (const pid of further) process.kill(pid, 'SIGKILL')
      const [kept, cut] = await Promise.all([first, second])
      expect(kept).toBe(1)
      expect(cut).toBeGreaterThan(0)
      expect(cut).not.toBe(2)
      expect(await status()).toMatchObject({ state: 'up', reconnects: 0 })
      expect((await must(world, ['logs', 'prod'])).stdout).toMatch(
        /another SSH connection is over, and 2 streams/u,
      )
      await until('it serves', () => docker(['ps']))
      await until('nothing is left there', () => processesIn(sshd).length === 0, 20_000)
    },
  )
})
