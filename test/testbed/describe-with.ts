import { describe, test } from 'vitest'
import { type Part, lacking } from './parts.js'
import { skippedTitle } from './skipped.js'
import { theirServer } from './their-server.js'

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

/** The same, for tests that look behind a host or harm it: not for the user's own server. */
export const describeOurs = (parts: readonly Part[], title: string, tests: () => void): void => {
  if (!theirServer()) return describeWith(parts, title, tests)
  describe.skip(skippedTitle(title, 'needs a host made for the tests, and SSH_HOST names yours'), tests)
  return undefined
}
