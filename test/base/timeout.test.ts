import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { aborted, within } from '../../src/base/timeout.js'

const unhandled: unknown[] = []
const note = (reason: unknown) => void unhandled.push(reason)
beforeEach(() => void process.on('unhandledRejection', note))
afterEach(async () => {
  await sleep(5)
  process.off('unhandledRejection', note)
  expect(unhandled.splice(0)).toEqual([])
})

const late = () => new Error('late')
const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

describe('work within a limit', () => {
  test('gives its value and leaves no listener behind', async () => {
    const { signal } = new AbortController()
    expect(await within(1000, signal, late, () => Promise.resolve(7))).toBe(7)
    expect(listeners(signal)).toBe(0)
  })

  test('fails as the work fails', async () => {
    const { signal } = new AbortController()
    const failure = new Error('broken')
    await expect(within(1000, signal, late, () => Promise.reject(failure))).rejects.toBe(failure)
    expect(listeners(signal)).toBe(0)
  })

  test('leaves nothing behind when the work throws before it returns a promise', async () => {
    const { signal } = new AbortController()
    const failure = new Error('at once')
    const work = (): Promise<never> => {
      throw failure
    }
    await expect(within(1000, signal, late, work)).rejects.toBe(failure)
    expect(listeners(signal)).toBe(0)
  })

  test('is late even for work that ignores its signal, and its later failure hurts nobody', async () => {
    const { signal } = new AbortController()
    let given: AbortSignal | undefined
    const work = async (limited: AbortSignal) => {
      given = limited
      await sleep(30)
      throw new Error('too late to matter')
    }
    await expect(within(5, signal, late, work)).rejects.toThrow('late')
    expect(given?.aborted).toBe(true)
    expect(given?.reason).toEqual(new Error('late'))
    expect(listeners(signal)).toBe(0)
    await sleep(40)
  })

  test('ends with the outer signal and its reason', async () => {
    const outer = new AbortController()
    const reason = new Error('stop')
    const waiting = within(1000, outer.signal, late, () => sleep(2000, undefined, { ref: false }))
    outer.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    expect(listeners(outer.signal)).toBe(0)
  })

  test('does not begin under a signal that has aborted', async () => {
    let began = false
    const work = async () => {
      began = true
    }
    await expect(within(1000, AbortSignal.abort(new Error('stop')), late, work)).rejects.toThrow('stop')
    expect(began).toBe(false)
  })

  test('may have a limit longer than the longest timer of Node', async () => {
    const month = 30 * 86_400_000
    const { signal } = new AbortController()
    expect(await within(month, signal, late, () => sleep(20, 'done'))).toBe('done')
  })
})

describe('waiting for an abort', () => {
  test('rejects with the reason, before or after', async () => {
    const reason = new Error('over')
    await expect(aborted(AbortSignal.abort(reason))).rejects.toBe(reason)
    const later = new AbortController()
    const waiting = aborted(later.signal)
    later.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    expect(listeners(later.signal)).toBe(0)
  })
})
