import { setMaxListeners } from 'node:events'
import { rm } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { hashedName } from '../../../src/ssh/known-hosts/names.js'
import { listNames } from '../../../src/ssh/known-hosts/patterns.js'
import { readKnownHosts } from '../../../src/ssh/known-hosts/read.js'
import { fileWith, line, lookupOf } from './support.js'

describe('a large known_hosts', () => {
  const HUNDRED_THOUSAND = Array.from({ length: 100_000 }, (_, at) => at)

  test.each([
    ['plain', (name: string) => name],
    ['hashed', (name: string) => hashedName(name)],
  ])(
    'of a hundred thousand %s lines lets everything else go on meanwhile',
    { timeout: 60_000, retry: 2 },
    async (kind, field) => {
      await using scope = new Scope()
      const file = await fileWith(
        scope,
        HUNDRED_THOUSAND.map((at) => line(field(`[host-${at}.example.com]:2222`))).join(''),
      )
      let found = 0
      const blockedMs = await longestBlock(async () => {
        const lookup = lookupOf({ files: [file], host: 'host-99999.example.com', port: 2222 })
        found = (await readKnownHosts(lookup)).keys[0]?.line ?? 0
      })
      expect(found).toBe(100_000)
      expect(blockedMs).toBeLessThan(100)
    },
  )

  test('is not read to its end for somebody who has left', async () => {
    await using scope = new Scope()
    const file = await fileWith(scope, HUNDRED_THOUSAND.map((at) => line(hashedName(`host-${at}`))).join(''))
    const leaving = new AbortController()
    setMaxListeners(0, leaving.signal)
    const reading = readKnownHosts(lookupOf({ files: [file] }), leaving.signal)
    const reason = new Error('left')
    setImmediate(() => leaving.abort(reason))
    await expect(reading).rejects.toBe(reason)
    await rm(file)
  })

  test('with patterns made to be slow is matched in a moment', () => {
    const hostile = [
      [`${'*h'.repeat(500)}*z`, 'h'.repeat(255)],
      [`${'*a?'.repeat(300)}b`, `${'a'.repeat(254)}c`],
      [`*${'h'.repeat(500)}z`, 'h'.repeat(1000)],
      [`*${'h'.repeat(500)}z*`, 'h'.repeat(1000)],
    ] as const
    for (const [pattern, host] of hostile) {
      const before = process.cpuUsage()
      expect(listNames(pattern, host)).toBe(false)
      // Time of the processor, not of the clock: other tests run beside.
      expect(process.cpuUsage(before).user / 1000).toBeLessThan(50)
    }
  })
})

/** The longest time for which nothing else could run, milliseconds. */
const longestBlock = async (work: () => Promise<unknown>): Promise<number> => {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  await sleep(20)
  delay.reset()
  await work()
  await sleep(20)
  delay.disable()
  return delay.max / 1e6
}
