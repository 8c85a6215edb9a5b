import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { deferred } from '../../../src/base/deferred.js'
import { inTurn } from '../../../src/ssh/config/program-turns.js'

const never = () => new AbortController().signal

test('many programs that are wanted at once are started a few at a time, and all of them run', async () => {
  let running = 0
  let most = 0
  const program = async (index: number) => {
    running += 1
    most = Math.max(most, running)
    await sleep(5)
    running -= 1
    return index
  }
  const all = Array.from({ length: 100 }, (_, index) => inTurn(() => program(index), never()))
  expect(await Promise.all(all)).toEqual(all.map((_, index) => index))
  expect(most).toBe(4)
})

test('programs that hang make room for others', async () => {
  const hang = deferred<string>()
  const hanging = Array.from({ length: 20 }, () => inTurn(() => hang.promise, never()))
  expect(await inTurn(async () => 'living', never())).toBe('living')
  hang.resolve('late')
  expect(new Set(await Promise.all(hanging))).toEqual(new Set(['late']))
})

test('what fails is told, and makes room at once', async () => {
  const all = Array.from({ length: 30 }, () => inTurn(() => Promise.reject(new Error('no')), never()))
  expect(new Set((await Promise.allSettled(all)).map(({ status }) => status))).toEqual(new Set(['rejected']))
})

test('whoever is told to stop while waiting for a turn stops at once, and nothing is started later', async () => {
  const hang = deferred<void>()
  const hanging = Array.from({ length: 4 }, () => inTurn(() => hang.promise, never()))
  const stop = new AbortController()
  let started = false
  const waiting = inTurn(async () => (started = true), stop.signal)
  stop.abort(new Error('stopped'))
  await expect(waiting).rejects.toThrow('stopped')
  hang.resolve()
  await Promise.all(hanging)
  expect(await inTurn(async () => 'next', never())).toBe('next')
  expect(started).toBe(false)
})
