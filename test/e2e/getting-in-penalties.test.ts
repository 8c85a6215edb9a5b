import { execa } from 'execa'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { program } from '../testbed/parts.js'
import { skippedTitle } from '../testbed/skipped.js'
import { until } from '../testbed/until.js'
import { Entrance, openEngine } from './getting-in.js'
import { describeOurs, must, supervisors } from './lifecycle.js'

/** Servers that penalise an address for failed logins came with OpenSSH 9.8. */
const version = /OpenSSH_(\d+\.\d+)/u.exec(String(spawnSync(program('sshd') ?? 'sshd', ['-V']).stderr))?.[1]
const lacking = Number(version ?? 0) < 9.8
const title = 'a refused login costs one attempt, and no penalty for whoever comes from the same address'

describeOurs('getting in where servers penalise failed logins', () => {
  test.skipIf(lacking)(
    lacking ? skippedTitle(title, `sshd ${version} has no penalties`) : title,
    async () => {
      await using scope = new Scope()
      const options = ['PerSourcePenalties yes']
      const engine = await openEngine(scope)
      const place = scope.use(await Entrance.open(engine, {}, { hostKeyTypes: ['ed25519'], options }))
      const wrong = join(place.world.dir, 'wrong')
      await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', wrong])
      await place.configure({ identityFile: wrong })
      expect((await place.world.dproxy(['up', 'prod'])).exitCode).toBe(4)
      await until('the supervisor has left', () => supervisors(place.world).length === 0)
      expect([...(await place.sshd.log()).matchAll(/Failed publickey/gu)]).toHaveLength(1)
      const { user, port, keyFile, knownHostsFile } = place.sshd
      const words = [
        '-F',
        'none',
        '-i',
        keyFile,
        '-o',
        `UserKnownHostsFile=${knownHostsFile}`,
        '-p',
        `${port}`,
      ]
      await execa('ssh', ['-o', 'BatchMode=yes', ...words, `${user}@127.0.0.1`, 'true'])
      await place.configure({})
      await must(place.world, ['up', 'prod'])
      // One refusal alone stays below the least that is enforced.
      const penalties = [...(await place.sshd.log()).matchAll(/srclimit_penalise: .*/gu)].map(
        ([line]) => line,
      )
      expect(penalties).toEqual([expect.stringContaining('deferred penalty')])
    },
  )
})
