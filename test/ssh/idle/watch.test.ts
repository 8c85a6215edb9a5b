import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { DproxyError } from '../../../src/base/errors.js'
import { IdleWatch, type Judge } from '../../../src/ssh/idle/watch.js'

const CUT = new DproxyError('LINK_LOST', 'cut')

/** Takes whatever it is asked about for a cut. */
const judge = (facts: Partial<Judge> = {}): Judge => ({
  mayCut: true,
  rttMs: null,
  answered: async () => undefined,
  cutBy: () => CUT,
  ...facts,
})

const verdict = (watch: IdleWatch) => new Promise((resolve) => watch.ended(resolve))
const pass = (ms: number) => vi.advanceTimersByTime(ms)

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'Date'] }))
afterEach(() => void vi.useRealTimers())

test('an end in the middle of traffic is one, and nothing is asked', async () => {
  const watch = new IdleWatch(judge({ answered: () => Promise.reject(new Error('asked')) }))
  pass(5000)
  watch.received()
  pass(400)
  watch.closed()
  expect(await verdict(watch)).toBeUndefined()
})

test('an end out of silence is a cut when a CLOSE comes before the answer, and else none', async () => {
  const [closed, open] = [new IdleWatch(judge()), new IdleWatch(judge())]
  pass(600)
  const verdicts = [verdict(closed), verdict(open)]
  closed.closed()
  expect(await Promise.all(verdicts)).toEqual([CUT, undefined])
})

test('what was sent may take a round trip to be answered, but no longer than a second', async () => {
  const soon = new IdleWatch(judge({ rttMs: 900 }))
  const stale = new IdleWatch(judge({ rttMs: 60_000 }))
  pass(1200)
  soon.closed()
  expect(await verdict(soon)).toBeUndefined()
  pass(600)
  stale.closed()
  expect(await verdict(stale)).toBe(CUT)
})

test('the silence of a machine that slept counts, though only the wall clock tells of it', async () => {
  const watch = new IdleWatch(judge())
  vi.setSystemTime(Date.now() + 600_000)
  watch.closed()
  expect(await verdict(watch)).toBe(CUT)
})

test('a server that cuts nothing is not asked, nor is one without a judge', async () => {
  for (const watch of [new IdleWatch(judge({ mayCut: false })), new IdleWatch()]) {
    pass(5000)
    watch.closed()
    expect(await verdict(watch)).toBeUndefined()
  }
})

test('it is told whether our own end had gone out before', async () => {
  const told: boolean[] = []
  const cutBy: Judge['cutBy'] = ({ afterOurs }) => (told.push(afterOurs), undefined)
  for (const first of [true, false]) {
    const watch = new IdleWatch(judge({ cutBy }))
    pass(5000)
    if (first) watch.endSent()
    const waiting = verdict(watch)
    watch.endSent()
    watch.closed()
    await waiting
  }
  expect(told).toEqual([true, false])
})
