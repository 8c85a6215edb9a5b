import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'

describe('a scope', () => {
  test('gives back last first, each only after the one before is through', async () => {
    const released: string[] = []
    {
      await using scope = new Scope()
      for (const name of ['first', 'second', 'third']) {
        expect(scope.add(name, async (thing) => (await sleep(1), released.push(thing)))).toBe(name)
      }
      scope.use({
        [Symbol.asyncDispose]: async () => {
          released.push('fourth')
        },
      })
    }
    expect(released).toEqual(['fourth', 'third', 'second', 'first'])
  })

  test('gives everything back though one release fails, and throws what failed', async () => {
    const released: string[] = []
    const scope = new Scope()
    const failure = new Error('stuck')
    scope.add('a', (name) => released.push(name))
    scope.add('b', () => Promise.reject(failure))
    scope.add('c', (name) => released.push(name))
    await expect(scope[Symbol.asyncDispose]()).rejects.toBe(failure)
    expect(released).toEqual(['c', 'a'])
  })

  test('throws several failures together', async () => {
    const scope = new Scope()
    const [one, two] = [new Error('one'), new Error('two')]
    scope.add(0, () => {
      throw one
    })
    scope.add(0, () => Promise.reject(two))
    const thrown = await scope[Symbol.asyncDispose]().catch((failure: unknown) => failure)
    expect(thrown).toBeInstanceOf(AggregateError)
    expect((thrown as AggregateError).errors).toEqual([two, one])
  })

  test('gives back once', async () => {
    let times = 0
    const scope = new Scope()
    scope.add(0, () => (times += 1))
    await scope[Symbol.asyncDispose]()
    await scope[Symbol.asyncDispose]()
    expect(times).toBe(1)
  })

  test('gives back what a release takes on its way', async () => {
    const released: string[] = []
    const scope = new Scope()
    scope.add('outer', (name) => {
      released.push(name)
      scope.add('inner', (inner) => released.push(inner))
    })
    await scope[Symbol.asyncDispose]()
    expect(released).toEqual(['outer', 'inner'])
  })
})
