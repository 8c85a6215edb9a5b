import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { printable } from '../../src/base/text.js'
import { addressesOf } from '../../src/ssh/connect.js'
import { openLane } from '../../src/ssh/open-lane.js'
import type { Target } from '../../src/ssh/target.js'
import { freePort } from '../testbed/free-port.js'
import { until } from '../testbed/until.js'
import { ANY_TARGET, failureOf, never, optionsOf } from './support.js'

const target = (port: number, changes: Partial<Target> = {}): Target => ({
  ...ANY_TARGET,
  user: 'deploy',
  port,
  knownHostsFiles: [],
  ...changes,
})

/** Something that listens and is no SSH server. */
const listening = async (scope: Scope, serve: (client: Socket) => void) => {
  const clients = new Set<Socket>()
  const server = createServer((client) => {
    clients.add(client)
    client.on('error', () => undefined).once('close', () => clients.delete(client))
    client.resume()
    serve(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.add(server, () => {
    for (const client of clients) client.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, clients }
}

describe('connecting', () => {
  test('to a port where nobody listens is refused, with a hint at the port', async () => {
    const port = await freePort()
    expect(await failureOf(target(port))).toMatchObject({
      code: 'CONNECT_REFUSED',
      stage: 'connect',
      message: `connection refused by 127.0.0.1:${port}`,
      hint: `is sshd running there (there: systemctl status ssh), and is ${port} its port?`,
      stages: ['resolve', 'connect'],
    })
  })

  test('to a name that does not resolve says so', async () => {
    const failure = await failureOf(target(22, { destination: 'no-such-host.invalid' }))
    expect(failure).toMatchObject({ code: 'RESOLVE_FAILED', stage: 'resolve', stages: ['resolve'] })
    expect(failure.message).toMatch(/^the name no-such-host\.invalid does not resolve: /u)
  })

  test('takes addresses as they are and finds those of a name', async () => {
    expect(await addressesOf('192.0.2.1', 1000, never)).toEqual([{ address: '192.0.2.1', family: 4 }])
    expect(await addressesOf('2001:db8::1', 1000, never)).toEqual([{ address: '2001:db8::1', family: 6 }])
    expect((await addressesOf('localhost', 5000, never)).length).toBeGreaterThan(0)
  })

  test.each([
    ['a web server', 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'],
    ['a flood without a newline', 'x'.repeat(1_000_000)],
    ['an older SSH', 'SSH-1.5-old\r\n'],
    ['nothing, and it hangs up', ''],
  ])('to what is no SSH server fails at once: %s', async (_, greeting) => {
    await using scope = new Scope()
    const { port, clients } = await listening(scope, (client) => client.end(greeting))
    const failure = await failureOf(target(port))
    expect(failure).toMatchObject({ code: 'HANDSHAKE_FAILED', stage: 'host key' })
    expect(failure.message).toContain(`127.0.0.1:${port} ended the SSH handshake`)
    await until('the connection is closed', () => clients.size === 0)
  })

  test('to a server that says nothing ends at the limit, and leaves no connection', async () => {
    await using scope = new Scope()
    const { port, clients } = await listening(scope, (client) => client.resume())
    const started = performance.now()
    expect(await failureOf(target(port, { connectTimeoutMs: 300 }))).toMatchObject({
      code: 'HANDSHAKE_TIMEOUT',
      stage: 'host key',
      message: `127.0.0.1:${port} did not finish the SSH handshake within 300 ms`,
    })
    expect(performance.now() - started).toBeLessThan(2000)
    await until('the connection is closed', () => clients.size === 0)
  })

  test('to a server that stops in the middle of the handshake ends at the limit', async () => {
    await using scope = new Scope()
    const { port } = await listening(scope, (client) => client.write('SSH-2.0-OpenSSH_9.2\r\n'))
    expect((await failureOf(target(port, { connectTimeoutMs: 300 }))).code).toBe('HANDSHAKE_TIMEOUT')
  })

  test('that is cut in the middle of the handshake is an error of the handshake', async () => {
    await using scope = new Scope()
    const { port } = await listening(scope, (client) => {
      client.write('SSH-2.0-OpenSSH_9.2\r\n')
      client.once('data', () => client.resetAndDestroy())
    })
    expect((await failureOf(target(port))).code).toBe('HANDSHAKE_FAILED')
  })

  test('shows what a hostile greeting says without obeying it', async () => {
    await using scope = new Scope()
    const { port } = await listening(scope, (client) => client.end('SSH-9.9-\u001B]0;owned\u0007\r\n'))
    const failure = await failureOf(target(port))
    expect(failure.code).toBe('HANDSHAKE_FAILED')
    expect(failure.message).toBe(printable(failure.message))
  })

  test('ends when whoever asked leaves, with the reason and without a connection', async () => {
    await using scope = new Scope()
    const { port, clients } = await listening(scope, (client) => client.resume())
    const stop = new AbortController()
    const opening = openLane(target(port), optionsOf({ signal: stop.signal }))
    await until('it is connected', () => clients.size === 1)
    const reason = new Error('stopped')
    stop.abort(reason)
    await expect(opening).rejects.toBe(reason)
    await until('the connection is closed', () => clients.size === 0)
  })

  test('does not begin for somebody who has left', async () => {
    await using scope = new Scope()
    let came = 0
    const { port } = await listening(scope, () => (came += 1))
    const reason = new Error('stopped')
    await expect(openLane(target(port), optionsOf({ signal: AbortSignal.abort(reason) }))).rejects.toBe(
      reason,
    )
    expect(came).toBe(0)
  })
})
