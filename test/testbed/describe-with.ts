import { describe, test } from 'vitest'
import { type Part, lacking } from './parts.js'
import { skippedTitle } from './skipped.js'

/**
 * `describe`, for tests that need real parts. Where one is missing they are skipped, and the title says why;
 * with CI set that is a failure instead: a green run there means that everything ran.
 */
export const describeWith = (parts: readonly Part[], title: string, tests: () => void): void => {
  const missing = lacking(parts)
  if (missing.length === 0) {
    describe(title, tests)
  } else if (process.env.CI) {
    describe(title, () => {
      test('has the parts it needs', () => {
        throw new Error(`not on this machine: ${missing.join(', ')}`)
      })
    })
  } else {
    describe.skip(skippedTitle(title, `not on this machine: ${missing.join(', ')}`), tests)
  }
}
