import { expect, test } from 'vitest'
import { explain } from '../../../src/ssh/openssh/explain.js'
import { SshLog } from '../../../src/ssh/openssh/ssh-log.js'
import type { Route } from '../../../src/ssh/target.js'
import { resolvedAt } from '../login/support.js'

const explained = (said: readonly string[], route: Route = { kind: 'direct' }) => {
  const log = new SshLog(() => undefined)
  log.hear(Buffer.from(said.map((line) => `${line}\n`).join('')))
  return explain({ resolved: resolvedAt(22, { route }), log, words: 'prod' })
}

test('what a proxy command said counts, whatever ssh made of its end', () => {
  const route = { kind: 'command', words: ['false'] } as const
  for (const end of [
    'banner exchange: Connection to UNKNOWN port 65535: Broken pipe',
    'kex_exchange_identification: Connection closed by remote host',
    'Connection closed by UNKNOWN port 65535',
  ]) {
    const failure = explained(['no such way', end], route)
    expect(failure).toMatchObject({ code: 'PROXY_FAILED' })
    expect(failure.message).toMatch(/: no such way$/u)
  }
})

test.each([
  ['kex_exchange_identification: banner line 0: Not allowed at this time', 20_000],
  // As OpenSSH before 7.9 has it.
  ['ssh_exchange_identification: Exceeded MaxStartups', 2000],
])('a server that takes no login for now is known by what ssh tells of its greeting: %s', (line, ms) => {
  const end = 'kex_exchange_identification: Connection closed by remote host'
  const said = ['debug1: Connection established.', `debug1: ${line}`, end]
  expect(explained(said)).toMatchObject({ code: 'LOGIN_THROTTLED', stage: 'login', retryAfterMs: ms })
  // Also where the way there is somebody else's.
  const route = { kind: 'command', words: ['false'] } as const
  expect(explained(said, route)).toMatchObject({ code: 'LOGIN_THROTTLED' })
})
