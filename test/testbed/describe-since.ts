import { describe, test } from 'vitest'
import { skippedTitle } from './skipped.js'
import { versionOfSshd } from './sshd-config.js'

/** The release of the sshd on this machine; 0: there is none. */
export const SSHD_RELEASE = await versionOfSshd().catch(() => 0)

/**
 * What `describeIt` makes, for tests of what sshd does since OpenSSH `release`. Where it is older they are skipped,
 * and the title says why; where there is none, that is for `describeIt` to say.
 */
export const describeSince = (release: number, title: string, describeIt: (title: string) => void): void => {
  if (SSHD_RELEASE === 0 || SSHD_RELEASE >= release) return describeIt(title)
  const why = `sshd is ${SSHD_RELEASE}, and does so since ${release}`
  describe.skip(skippedTitle(title, why), () => test('it does', () => undefined))
  return undefined
}
