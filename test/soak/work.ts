import { setMaxListeners } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { World } from '../testbed/cli.js'
import { ask, outcomeOf } from './ask.js'
import { docker, endOf, type Ended } from './docker.js'
import { noise, sumOfNoise } from './engine.js'
import type { Random } from './random.js'
import type { SoakHost } from './site.js'
import type { Outcome, Tally } from './tally.js'

/** What one worker works with. */
interface Place {
  readonly world: World
  readonly host: SoakHost
  readonly random: Random
  readonly tally: Tally
  readonly stop: AbortSignal
}

/** Everything that is done on one host all the while; resolves when `stop` has aborted and all of it has ended. */
export const workOn = async (place: Place): Promise<void> => {
  setMaxListeners(0, place.stop)
  await Promise.all([
    repeat(place, [20, 200], pings),
    repeat(place, [50, 800], sums),
    repeat(place, [50, 800], downloads),
    repeat(place, [200, 1500], echoes),
    repeat(place, [0, 300], ticks),
    repeat(place, [300, 1500], execs),
    repeat(place, [300, 1500], execs),
    repeat(place, [2000, 8000], copies),
    repeat(place, [0, 500], follows),
  ])
}

type Work = (place: Place) => Promise<void>

const repeat = async (place: Place, [low, high]: readonly [number, number], work: Work): Promise<void> => {
  while (!place.stop.aborted) {
    await work(place)
    // Refused work fails at once: not faster than people and their scripts come again.
    await sleep(place.random.between(low, high), undefined, { signal: place.stop }).catch(() => {})
  }
}

const pings: Work = async ({ host, random, tally }) => {
  if (random.whole(0, 1) === 0) {
    const reply = ask(host.socket, 'GET', '/_ping')
    tally.count(host.name, 'GET /_ping', await outcomeOf(reply, ({ text }) => unless(text === 'OK', text)))
  } else {
    const reply = ask(host.socket, 'GET', '/version')
    tally.count(
      host.name,
      'GET /version',
      await outcomeOf(reply, ({ text }) => unless(isWholeObject(text), text)),
    )
  }
}

const isWholeObject = (text: string): boolean => text.startsWith('{') && text.trimEnd().endsWith('}')

const unless = (right: boolean, seen: string): string | undefined =>
  right ? undefined : `answered: ${seen.slice(0, 200)}`

const sizeFrom = (random: Random): number =>
  random.whole(0, 9) === 0 ? random.whole(1, 6_000_000) : random.whole(1, 400_000)

const sums: Work = async (place) => {
  const { host, random } = place
  const [seed, length] = [random.whole(1, 1e9), sizeFrom(random)]
  const reply = ask(host.socket, 'POST', '/soak/sum', { body: noise(seed, length) })
  const right = sumOfNoise(seed, length)
  const outcome = await outcomeOf(reply, ({ text }) => unless(text === right, `${text} for ${right}`))
  transferred(place, 'upload', outcome, length)
}

const downloads: Work = async (place) => {
  const { host, random } = place
  const [seed, length] = [random.whole(1, 1e9), sizeFrom(random)]
  const reply = ask(host.socket, 'GET', `/soak/bytes/${seed}/${length}`)
  const right = sumOfNoise(seed, length)
  const outcome = await outcomeOf(reply, ({ sum, length: got }) =>
    unless(sum === right, `${got} of ${length}`),
  )
  transferred(place, 'download', outcome, length)
}

const echoes: Work = async (place) => {
  const { host, random } = place
  const [seed, length] = [random.whole(1, 1e9), sizeFrom(random)]
  const reply = ask(host.socket, 'POST', '/soak/echo', { body: noise(seed, length) })
  const right = sumOfNoise(seed, length)
  const outcome = await outcomeOf(reply, ({ sum, length: got }) =>
    unless(sum === right, `${got} of ${length}`),
  )
  transferred(place, 'echo', outcome, 2 * length)
}

const transferred = ({ host, tally }: Place, kind: string, outcome: Outcome, bytes: number): void => {
  tally.count(host.name, kind, outcome)
  if (outcome === 'done') tally.bytes += bytes
}

/** A stream that lasts until it is cut: its lines must be numbered without a gap, and it has no clean end. */
const ticks: Work = async ({ host, tally, stop }) => {
  let text = ''
  const onText = (piece: string) => (text += piece)
  const outcome = await outcomeOf(ask(host.socket, 'GET', '/soak/ticks', { onText, signal: stop }), () => {
    return 'ended as if it were whole'
  })
  tally.count(host.name, 'stream', gapIn(text) ?? outcome)
}

const gapIn = (text: string): Outcome | undefined => {
  // The last line may have been cut.
  const numbers = text.split('\n').slice(0, -1).map(Number)
  const at = numbers.findIndex((number, index) => number !== (numbers[0] ?? 0) + index)
  return at === -1 ? undefined : { wrong: `${numbers[at]} follows on ${numbers[at - 1]}` }
}

let executed = 0

/** A command whose exit code is known, and which leaves a mark when it is done. */
const execs: Work = async ({ world, host, random, tally }) => {
  const mark = `exec-${(executed += 1)}`
  const code = random.oneOf([0, 0, 7])
  const seconds = random.between(0, 4).toFixed(1)
  const script = `echo begun; sleep ${seconds}; touch /shared/${mark}; exit ${code}`
  const words = ['exec', host.box, 'sh', '-c', script]
  const { exitCode, timedOut, stderr } = await docker(world, host, words)
  const isDone = existsSync(join(host.shared, mark))
  if (timedOut) tally.count(host.name, 'docker exec', { wrong: `did not end: ${stderr}` })
  else if (exitCode === code && isDone) tally.count(host.name, 'docker exec', 'done')
  else if (exitCode === 0 || exitCode === 7)
    tally.count(host.name, 'docker exec', {
      wrong: `said ${exitCode} for ${code}, ${isDone ? '' : 'not '}done`,
    })
  else tally.count(host.name, 'docker exec', endOf(stderr))
}

const copies: Work = async ({ world, host, random, tally }) => {
  const name = `copy-${(executed += 1)}`
  const file = join(world.dir, 'work', name)
  const bytes = Buffer.concat([...noise(executed, random.whole(1, 2_000_000))])
  await writeFile(file, bytes)
  const into = await docker(world, host, ['cp', file, `${host.box}:/shared/${name}`])
  const there = join(host.shared, name)
  tally.count(host.name, 'docker cp', await copied(into, there, bytes))
  await writeFile(there, bytes)
  const out = await docker(world, host, ['cp', `${host.box}:/shared/${name}`, `${file}-back`])
  tally.count(host.name, 'docker cp', await copied(out, `${file}-back`, bytes))
}

const copied = async (
  { exitCode, stderr, timedOut }: Ended,
  path: string,
  bytes: Buffer,
): Promise<Outcome> => {
  if (timedOut) return { wrong: `did not end: ${stderr}` }
  if (exitCode !== 0) return endOf(stderr)
  const same = existsSync(path) && sha256(await readFile(path)) === sha256(bytes)
  return same ? 'done' : { wrong: `said 0, and ${path} is not the same` }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** `docker logs -f` of a container that prints without end: never ends well. */
const follows: Work = async ({ world, host, tally, stop }) => {
  const words = ['logs', '-f', '--tail', '1', host.box]
  const { exitCode, stdout, stderr } = await docker(world, host, words, stop)
  const outcome = exitCode === 0 ? { wrong: 'said 0 while its container runs' } : endOf(stderr)
  tally.count(host.name, 'docker logs -f', gapIn(`${stdout}\n`) ?? outcome)
}
