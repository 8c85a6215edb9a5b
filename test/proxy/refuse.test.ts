import { request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { DproxyError } from '../../src/base/errors.js'
import { Scope } from '../../src/base/scope.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { client, startProxy, text } from './support.js'

const refusing = async (scope: Scope, message = 'connection refused by 10.0.0.9:22') => {
  const dir = scope.use(await TempDir.create())
  const dial = () => Promise.reject(new DproxyError('CONNECT_REFUSED', message))
  return startProxy(scope, join(dir.path, 'proxy.sock'), dial)
}

const ask = async (socketPath: string, method: string, body?: Buffer): Promise<[IncomingMessage, string]> => {
  const asked = request({ socketPath, method, path: '/v1.50/info', agent: false })
  // It may still be sending when the answer is complete.
  asked.on('error', () => undefined).end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return [response, await text(response)]
}

describe('a client that cannot be served', () => {
  test("gets an answer in Docker's own form, and the connection is closed", async () => {
    await using scope = new Scope()
    const { path, proxy, failures } = await refusing(scope)
    const [response, body] = await ask(path, 'GET')
    expect(response.statusCode).toBe(503)
    expect(response.headers).toMatchObject({ 'content-type': 'application/json', connection: 'close' })
    expect(JSON.parse(body)).toEqual({ message: 'dproxy: prod: connection refused by 10.0.0.9:22' })
    expect(failures).toMatchObject([{ error: { code: 'CONNECT_REFUSED' } }])
    expect(proxy.openStreams).toBe(0)
    expect(proxy.totalStreams).toBe(0)
  })

  test('that asked for the head only gets no body', async () => {
    await using scope = new Scope()
    const { path } = await refusing(scope)
    const docker = await client(scope, path)
    docker.end('HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n')
    const answer = await text(docker)
    expect(answer).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/u)
    expect(answer).toMatch(/\r\nContent-Length: [1-9]\d*\r\n/u)
    expect(answer.slice(answer.indexOf('\r\n\r\n'))).toBe('\r\n\r\n')
  })

  test('is understood when its request comes byte by byte', async () => {
    await using scope = new Scope()
    const { path } = await refusing(scope)
    for (const [line, hasBody] of [
      ['HEAD /_ping HTTP/1.1\r\n\r\n', false],
      ['GET /_ping HTTP/1.1\r\n\r\n', true],
    ] as const) {
      const docker = await client(scope, path)
      const answer = text(docker)
      for (const byte of line) {
        docker.write(byte)
        await sleep(1)
      }
      docker.end()
      const said = await answer
      expect(said.slice(said.indexOf('\r\n\r\n') + 4) !== '').toBe(hasBody)
    }
  })

  test('gets its answer though a big upload is under way', async () => {
    await using scope = new Scope()
    const { path } = await refusing(scope)
    const [response, body] = await ask(path, 'POST', Buffer.alloc(30 * 1024 * 1024))
    expect(response.statusCode).toBe(503)
    expect(JSON.parse(body)).toEqual({ message: 'dproxy: prod: connection refused by 10.0.0.9:22' })
  })

  test('gets whatever the reason holds as JSON, quotes and newlines too', async () => {
    await using scope = new Scope()
    const message = 'said "no"\r\n\r\nHTTP/1.1 200 OK – Zürich'
    const { path } = await refusing(scope, message)
    const [response, body] = await ask(path, 'GET')
    expect(response.statusCode).toBe(503)
    expect(Number(response.headers['content-length'])).toBe(Buffer.byteLength(body))
    expect(JSON.parse(body)).toEqual({ message: `dproxy: prod: ${message}` })
  })

  test('and says nothing is let go of when it leaves', async () => {
    await using scope = new Scope()
    const { path, proxy, failures } = await refusing(scope)
    const docker = await client(scope, path)
    await until('it was refused', () => failures.length === 1)
    docker.end()
    expect(await text(docker)).toBe('')
    // No client is left to wait for.
    await proxy.close(60_000, new AbortController().signal)
  })

  test('and says nothing does not hold up a proxy that is told to hurry', async () => {
    await using scope = new Scope()
    const { path, proxy, failures } = await refusing(scope)
    const docker = await client(scope, path)
    await until('it was refused', () => failures.length === 1)
    const started = performance.now()
    expect(await proxy.close(0, AbortSignal.abort())).toBe(0)
    expect(performance.now() - started).toBeLessThan(1000)
    expect(await text(docker)).toBe('')
  })

  test('and is killed leaves no trace', async () => {
    await using scope = new Scope()
    const { path, proxy, failures } = await refusing(scope)
    for (let at = 0; at < 50; at += 1) {
      const docker = await client(scope, path)
      docker.write('POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n')
      docker.destroy()
    }
    await until('all were refused', () => failures.length === 50)
    await proxy.close(60_000, new AbortController().signal)
  })
})
