import { expect, test } from 'vitest'
import { nearest } from '../../src/registry/nearest.js'

test.each([
  ['prdo', ['prod', 'lab'], 'prod'],
  ['PRDO', ['prod', 'lab'], 'prod'],
  ['indentityfile', ['identityFile', 'identitiesOnly'], 'identityFile'],
  ['portts', ['port', 'parts'], 'port'],
  ['x', ['a', 'b'], undefined],
  ['lob', ['prod', 'lab'], 'lab'],
  ['x', ['prod', 'lab'], undefined],
  ['qqqqqq', ['prod', 'lab'], undefined],
  ['prod', [], undefined],
  ['p'.repeat(100_000), ['prod'], undefined],
])('the nearest to %o of %o is %s', (word, candidates, expected) => {
  expect(nearest(word, candidates)).toBe(expected)
})
