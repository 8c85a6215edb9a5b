import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Canary } from '../../../src/ssh/idle/canary.js'
import { IdleWatch, type End } from '../../../src/ssh/idle/watch.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'Date'] }))
afterEach(() => void vi.useRealTimers())

const pass = (ms: number) => vi.advanceTimersByTime(ms)

/** A canary that is in place, and what the server may do to it. */
const start = async () => {
  const opened: { readonly watch: IdleWatch; readonly stream: PassThrough }[] = []
  const canary = new Canary({
    open: async (watch) => {
      const stream = new PassThrough()
      opened.push({ watch, stream })
      return stream
    },
    answered: async () => undefined,
  })
  const keep = async () => {
    canary.keep()
    await vi.waitFor(() => expect(canary.stream).toBeDefined())
  }
  const cut = async () => {
    const { watch, stream } = opened.at(-1)!
    watch.closed()
    stream.destroy()
    await vi.waitFor(() => expect(canary.stream).toBeUndefined())
  }
  await keep()
  return { canary, opened, keep, cut }
}

/** The end of a stream through which nothing has gone for `ms`. */
const endAfter = (ms: number): End => ({
  at: { ms: performance.now(), wallMs: Date.now() },
  quietSince: { ms: performance.now() - ms, wallMs: Date.now() - ms },
  afterOurs: true,
})

test('a canary that has been idle for longer, and lives, vouches for an end', async () => {
  const { canary } = await start()
  pass(60_000)
  expect(canary.tells(endAfter(59_000))).toBe('whole')
  expect(canary.tells(endAfter(61_000))).toBe('nothing')
})

test('once it was cut, so is whatever was silent for as long; whole seconds apart', async () => {
  const { canary, cut, keep } = await start()
  pass(60_000)
  await cut()
  pass(10_000)
  expect(canary.tells(endAfter(59_000))).toBe('cut')
  expect(canary.tells(endAfter(50_000))).toBe('nothing')
  await keep()
  pass(55_000)
  expect(canary.tells(endAfter(54_000))).toBe('whole')
  expect(canary.tells(endAfter(60_000))).toBe('cut')
})

test('what ends at the same moment was cut with it, however short its silence (ChannelTimeout global)', async () => {
  const { canary, cut } = await start()
  pass(3_600_000)
  const before = endAfter(2000)
  pass(100)
  await cut()
  expect(canary.tells(before)).toBe('cut')
  pass(100)
  expect(canary.tells(endAfter(2000))).toBe('cut')
  pass(1000)
  expect(canary.tells(endAfter(2000))).toBe('nothing')
})

test('an engine that dies of its question, or ends it, has cut nothing', async () => {
  const { canary, cut, opened, keep } = await start()
  pass(100)
  await cut()
  expect(canary.tells(endAfter(60_000))).toBe('nothing')
  await keep()
  pass(60_000)
  opened.at(-1)!.stream.end()
  await vi.waitFor(() => expect(canary.stream).toBeUndefined())
  expect(canary.tells(endAfter(60_000))).toBe('nothing')
})

test('what does not open is not tried again at once', async () => {
  let asked = 0
  const open = () => {
    asked += 1
    return Promise.reject(new Error('open failed'))
  }
  const canary = new Canary({ open, answered: async () => undefined })
  canary.keep()
  await vi.waitFor(() => {
    canary.keep()
    expect(asked).toBe(1)
  })
  await Promise.resolve()
  pass(500)
  canary.keep()
  expect(asked).toBe(1)
  pass(600)
  canary.keep()
  expect(asked).toBe(2)
})
