import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import ssh2, { type Connection } from 'ssh2'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../../src/base/scope.js'
import { generateThrowAwayKey } from '../../../src/ssh/throw-away-key.js'
import type { Sshd } from '../../testbed/sshd.js'
import { until } from '../../testbed/until.js'
import { laneTo, targetOf } from '../support.js'
import { fileWith } from './support.js'

describe('a host key when new session keys are made', () => {
  const first = generateThrowAwayKey()
  const second = generateThrowAwayKey()

  /** A server that lets anybody in, the lane to it, and its end of the connection. Both of its keys are known. */
  const connected = async (scope: Scope) => {
    let theirs: Connection | undefined
    const server = new ssh2.Server({ hostKeys: [first.privateKey] }, (connection) => {
      theirs = connection
      connection.on('authentication', (login) => login.accept()).on('error', () => undefined)
    })
    scope.add(server, () => server.close())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const keyFile = await fileWith(scope, generateThrowAwayKey().privateKey, 'key')
    const known = [first, second]
      .map(({ publicKeyLine }) => `[127.0.0.1]:${port} ${publicKeyLine}\n`)
      .join('')
    const sshd = { host: '127.0.0.1', user: 'somebody', port, keyFile } as Sshd
    const lane = await laneTo(scope, targetOf(sshd, { knownHostsFiles: [await fileWith(scope, known)] }))
    return { lane, theirs: theirs! }
  }

  test('may be the same', async () => {
    await using scope = new Scope()
    const { lane, theirs } = await connected(scope)
    await new Promise<void>((resolve) => {
      theirs.rekey(resolve)
    })
    expect(lane.lost.aborted).toBe(false)
  })

  test('may not be another, known or not: the connection ends', async () => {
    await using scope = new Scope()
    const { lane, theirs } = await connected(scope)
    // What no server of the usual kind would do: another key in the middle of a connection.
    const { _protocol } = theirs as unknown as { _protocol: { _hostKeys: Record<string, unknown> } }
    expect(Object.keys(_protocol._hostKeys)).toEqual(['ssh-ed25519'])
    _protocol._hostKeys['ssh-ed25519'] = ssh2.utils.parseKey(second.privateKey)
    theirs.rekey()
    await until('the lane is lost', () => lane.lost.aborted)
    // A code that needs the user: the link is not made again by itself.
    expect(lane.lost.reason).toMatchObject({ code: 'HOST_KEY_CHANGED', stage: 'host key' })
  })
})
