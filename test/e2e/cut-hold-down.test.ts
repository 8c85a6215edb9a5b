import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { until } from '../testbed/until.js'
import type { Client } from './cut-client.js'
import { CutScene } from './cut.js'
import { describeOurs } from './lifecycle.js'

/** What one client was told: an HTTP status, or that its connection broke or was refused. */
interface Answer {
  readonly status: number | 'broken'
  readonly text: string
  readonly startedMs: number
  readonly atMs: number
}

const HARMS: readonly (readonly [string, (scene: CutScene) => Promise<unknown>])[] = [
  ['its connection is reset', async ({ chaos }) => chaos.reset()],
  ['its session at sshd is killed', async ({ sshd }) => sshd.sessions().map((pid) => process.kill(pid, 9))],
  ['dproxy restarts the host', ({ control }) => control.restart('prod', 0, false)],
  ['a stream of it is cut by hand', ({ control }) => cutFirst(control)],
]

describeOurs('the clients that come right after a cut', (hosts) => {
  /** A host with a stream that lasts: nothing is held back unless something was cut. */
  const busy = async (): Promise<{ scene: CutScene; follower: Client } & AsyncDisposable> => {
    const scene = await CutScene.start(hosts().prod.engineSocket!, { gated: false })
    const box = await scene.container('box', 'echo begun; exec sleep 1000')
    const follower = await scene.start(['logs', '-f', box])
    await until('a stream is open', () => follower.text === 'begun\n')
    return { scene, follower, [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() }
  }

  test.for(HARMS)('when %s, hear 503 for a second at least, and then are served [T24]', async ([, harm]) => {
    await using at = await busy()
    const { scene, follower } = at
    const refused = await holdsDown(scene, () => harm(scene))
    expect(refused.length).toBeGreaterThan(10)
    expect((await follower.end).code).not.toBe(0)
  })

  test('are not served for a second when the link is lost in the drain of a restart [T24]', async () => {
    await using at = await busy()
    const { scene, follower } = at
    const restarting = scene.world.dproxy(['restart', 'prod', '--drain', '30s'])
    await until('it drains', async () => (await scene.status()).state === 'draining')
    await holdsDown(scene, async () => scene.chaos.reset())
    expect((await follower.end).code).not.toBe(0)
    expect(await restarting).toMatchObject({ exitCode: 0 })
  })

  test('hear 503 for as long as the link is down, however long [T24]', async () => {
    await using at = await busy()
    const { scene, follower } = at
    await scene.chaos.door('refuse')
    scene.chaos.reset()
    const early = await hammer(scene, (all, forMs) => forMs > 2500)
    expect((await follower.end).code).not.toBe(0)
    expect(early.filter(isServed)).toEqual([])
    expect(early.filter(({ status }) => status === 503).length).toBeGreaterThan(50)
    await scene.chaos.door('open')
    const late = await hammer(scene, (all) => all.some(isServed))
    expect(late.at(-1)).toMatchObject({ status: 200, text: 'OK' })
  })
})

const isServed = ({ status }: Answer): boolean => status === 200

/** Harms a host and asks it all the while; fails unless nobody was served for a second, and all are after it. */
const holdsDown = async (scene: CutScene, harm: () => Promise<unknown>): Promise<readonly Answer[]> => {
  const atMs = performance.now()
  const harmed = harm()
  const answers = await hammer(scene, (all, forMs) => {
    return forMs > 1000 && all.slice(-20).filter(isServed).length === 20
  })
  await harmed
  const seenMs = answers.find((answer) => !isServed(answer))!.atMs
  // Whoever was let in before the cut may still be served.
  const since = answers.filter(({ startedMs }) => startedMs > seenMs)
  const firstMs = since.find(isServed)!.atMs
  expect(firstMs - atMs).toBeGreaterThanOrEqual(1000)
  const late = since.filter(({ startedMs }) => startedMs > firstMs)
  expect(late.length).toBeGreaterThan(0)
  expect(late.filter((answer) => !isServed(answer))).toEqual([])
  const refused = since.filter(({ status }) => status === 503)
  for (const { text } of refused) expect(text).toMatch(/^\{"message":"dproxy: prod: .+"\}\n$/u)
  return refused
}

const cutFirst = async (control: CutScene['control']): Promise<void> => {
  const [stream] = await control.streams('prod')
  await control.cut(stream!.id)
}

/** Asks again and again, every 10 ms on a connection of its own, until `enough`, or for half a minute. */
const hammer = async (
  scene: CutScene,
  enough: (answers: readonly Answer[], forMs: number) => boolean,
): Promise<Answer[]> => {
  const sinceMs = performance.now()
  const answers: Answer[] = []
  const asked: Promise<void>[] = []
  for (let forMs = 0; forMs < 30_000 && !enough(answers, forMs); forMs = performance.now() - sinceMs) {
    asked.push(ask(scene.world.socket('prod')).then((answer) => void answers.push(answer)))
    await sleep(10)
  }
  await Promise.all(asked)
  return answers.toSorted((one, other) => one.atMs - other.atMs)
}

const ask = (socketPath: string): Promise<Answer> =>
  new Promise((resolve) => {
    const startedMs = performance.now()
    const told = (status: Answer['status'], text: string, atMs = performance.now()) =>
      resolve({ status, text, startedMs, atMs })
    const broken = ({ message }: Error) => told('broken', message)
    get({ socketPath, path: '/_ping', agent: false }, (response) => {
      const atMs = performance.now()
      let text = ''
      response
        .setEncoding('utf8')
        .on('data', (piece: string) => (text += piece))
        .once('end', () => told(response.statusCode ?? 0, text, atMs))
        .once('error', broken)
    }).once('error', broken)
  })
