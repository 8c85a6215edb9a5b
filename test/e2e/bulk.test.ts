import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { Status } from '../../src/control/messages.js'
import { bigImage } from '../testbed/big-image.js'
import { World } from '../testbed/cli.js'
import { describeOurs } from '../testbed/describe-with.js'
import { HOST_PARTS, program } from '../testbed/parts.js'
import { residentBytes } from '../testbed/processes.js'
import { until } from '../testbed/until.js'

const GIGABYTES = 2
const BYTES = GIGABYTES * 1_000_000_000 - ((GIGABYTES * 1_000_000_000) % 512)
const ROOM = 64 * 1024 * 1024
const LIMIT_MS = 300_000

describeOurs(HOST_PARTS, 'two gigabytes through one host', () => {
  const image = bigImage('dproxy-test/big:local', BYTES)
  let world: World
  let supervisor: number
  let idle: number
  /** The hash of what `docker save` gave. */
  let through: string

  beforeAll(async () => {
    world = await World.create()
    await world.configure(inject('hosts')!)
    expect((await world.dproxy(['up', 'prod'])).exitCode).toBe(0)
    supervisor = (await status()).supervisor!.pid
    idle = residentBytes(supervisor)
  })
  afterAll(async () => {
    await world.docker('prod', ['rmi', '-f', image.tag])
    await world[Symbol.asyncDispose]()
  })

  const status = async (): Promise<Status> =>
    Status.parse(JSON.parse((await world.dproxy(['status', '--json'])).stdout))

  const down = async (): Promise<number> =>
    (await status()).hosts.find(({ name }) => name === 'prod')!.bytes.down

  const docker = (args: string[], socket = world.socket('prod')) =>
    execa(program('docker')!, args, {
      env: { ...world.env, DOCKER_HOST: `unix://${socket}` },
      buffer: { stdout: false },
      timeout: LIMIT_MS,
    })

  /** The most memory the supervisor has while `work` runs. */
  const mostResident = async (work: () => Promise<unknown>): Promise<number> => {
    let most = 0
    const look = () => {
      most = Math.max(most, residentBytes(supervisor))
    }
    const timer = setInterval(look, 100)
    try {
      await work()
    } finally {
      clearInterval(timer)
      look()
    }
    return most
  }

  const saved = async (socket?: string): Promise<string> => {
    const hash = createHash('sha256')
    const save = docker(['save', image.tag], socket)
    await Promise.all([save, consume(save.stdout, hash)])
    return hash.digest('hex')
  }

  test('docker load takes them in unchanged, in bounded memory', { timeout: LIMIT_MS }, async () => {
    const most = await mostResident(async () => {
      const load = docker(['load'])
      await Promise.all([load, pipeline(Readable.from(image.archive()), load.stdin)])
    })
    const { stdout } = await world.docker('prod', ['inspect', '--format', '{{.Id}}', image.tag])
    expect(stdout).toBe(image.id)
    expect(most - idle).toBeLessThan(ROOM)
  })

  test('docker save gives them back unchanged, in bounded memory', { timeout: LIMIT_MS }, async () => {
    const most = await mostResident(async () => {
      through = await saved()
    })
    const engine = inject('hosts')!.prod.engineSocket
    if (engine !== null) expect(through).toBe(await saved(engine))
    expect(most - idle).toBeLessThan(ROOM)
  })

  test(
    'a reader that is stuck stops only itself, costs little memory, and still gets every byte [T10]',
    { timeout: LIMIT_MS },
    async () => {
      const hash = createHash('sha256')
      const before = await down()
      const save = docker(['save', image.tag])
      save.catch(() => undefined)
      try {
        // Nobody reads what docker prints: it stops, then dproxy's stream, then sshd, then the engine.
        const seen: number[] = []
        const still = async () => {
          seen.push(await down())
          const [last = before] = seen.slice(-1)
          return last > before && seen.length > 4 && seen.slice(-4).every((each) => each === last)
        }
        await until('the stream stands still', still, LIMIT_MS / 2)
        const most = await mostResident(async () => {
          expect((await world.docker('prod', ['ps', '-q'])).exitCode).toBe(0)
        })
        expect(most - idle).toBeLessThan(ROOM)
        await Promise.all([save, consume(save.stdout, hash)])
      } finally {
        save.kill('SIGKILL')
      }
      expect((await down()) - before).toBeGreaterThan(BYTES)
      expect(hash.digest('hex')).toBe(through)
    },
  )
})

const consume = async (from: AsyncIterable<Buffer>, hash: Hash): Promise<void> => {
  for await (const piece of from) hash.update(piece)
}
