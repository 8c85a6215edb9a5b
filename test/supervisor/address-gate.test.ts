import { expect, test } from 'vitest'
import { deferred } from '../../src/base/deferred.js'
import { AddressGate } from '../../src/supervisor/address-gate.js'

const never = () => new AbortController().signal

test('a few logins at once go to one address, and another address does not wait for them', async () => {
  const gate = new AddressGate()
  const open = deferred<void>()
  let running = 0
  let most = 0
  const login = async () => {
    running += 1
    most = Math.max(most, running)
    await open.promise
    running -= 1
  }
  const all = Array.from({ length: 20 }, () => gate.through('a:22', login, never()))
  expect(await gate.through('b:22', async () => 'b', never())).toBe('b')
  expect(most).toBe(6)
  open.resolve()
  await Promise.all(all)
  expect(most).toBe(6)
})

test('a login that fails makes room for the next', async () => {
  const gate = new AddressGate()
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, (_, index) =>
      gate.through(
        'a:22',
        () => (index < 8 ? Promise.reject(new Error('no')) : Promise.resolve('in')),
        never(),
      ),
    ),
  )
  expect(results.slice(8)).toMatchObject([{ value: 'in' }, { value: 'in' }])
})

test('whoever is told to stop while waiting for a turn stops at once, and is not logged in later', async () => {
  const gate = new AddressGate()
  const open = deferred<void>()
  const first = Array.from({ length: 6 }, () => gate.through('a:22', () => open.promise, never()))
  const stop = new AbortController()
  let loggedIn = false
  const waiting = gate.through('a:22', async () => (loggedIn = true), stop.signal)
  stop.abort(new Error('stopped'))
  await expect(waiting).rejects.toThrow('stopped')
  open.resolve()
  await Promise.all(first)
  expect(await gate.through('a:22', async () => 'next', never())).toBe('next')
  expect(loggedIn).toBe(false)
})

test('whoever was told to stop before does not wait for a turn', async () => {
  const gate = new AddressGate()
  const open = deferred<void>()
  const busy = Array.from({ length: 6 }, () => gate.through('a:22', () => open.promise, never()))
  const over = AbortSignal.abort(new Error('stopped before'))
  await expect(gate.through('a:22', () => open.promise, over)).rejects.toThrow('stopped before')
  open.resolve()
  await Promise.all(busy)
})
