import { expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { openLane } from '../../../src/ssh/open-lane.js'
import { text } from '../../proxy/support.js'
import { describeWith } from '../../testbed/describe-with.js'
import { Sshd } from '../../testbed/sshd.js'
import { PLAIN_ENV, runDirIn } from '../openssh/support.js'
import { never, optionsOf, targetOf } from '../support.js'
import { TRANSPORTS } from './forbidding.js'

describeWith(['sshd'], 'a remote command', () => {
  test.each(TRANSPORTS)('says how it ended, long after its output and input did: %s', async (transport) => {
    await using scope = new Scope()
    const sshd = scope.use(await Sshd.start({ hostKeyTypes: ['ed25519'] }))
    const options = optionsOf({ env: PLAIN_ENV, runDir: await runDirIn(scope) })
    const lane = scope.add(await openLane(targetOf(sshd, { transport }), options), (opened) => opened.close())
    const late = await lane.exec("sh -c 'echo said; exec >/dev/null 2>&1; sleep 1; exit 3'", never)
    late.stream.end()
    expect(await text(late.stream)).toBe('said\n')
    expect(await late.exit).toBe(3)
    const killed = await lane.exec("sh -c 'exec >/dev/null 2>&1; sleep 1; kill -9 $$'", never)
    killed.stream.end()
    expect(await text(killed.stream)).toBe('')
    expect(await killed.exit).toBe('SIGKILL')
  })
})
