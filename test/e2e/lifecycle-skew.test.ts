import { createServer } from 'node:http'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { expect, test } from 'vitest'
import { World } from '../testbed/cli.js'

/** A supervisor of another age: it knows how to stop, and takes its time for it. */
const another = async (world: World, api: string) => {
  await mkdir(dirname(world.controlSocket), { mode: 0o700 })
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.setHeader('Dproxy-Api', api)
    response.setHeader('Dproxy-Version', '9.9.9')
    response.setHeader('Connection', 'close')
    if (request.url === '/v1/shutdown') setTimeout(() => server.close(), 300)
    response.end('{"ok":true,"value":{}}')
  }).listen(world.controlSocket)
  await once(server, 'listening')
  return { asked, [Symbol.asyncDispose]: async () => void server.close() }
}

test('a supervisor of another version is told apart and left alone, until everything is to go down [C5]', async () => {
  for (const api of ['0', '2']) {
    await using world = await World.create()
    await using other = await another(world, api)
    await world.config({ hosts: { prod: { ssh: 'prod.invalid', socket: world.socket('prod') } } })
    const commands = [['up', 'prod'], ['status'], ['down', 'prod'], ['restart', '--all'], ['version']]
    for (const args of [...commands, ['restart', '--supervisor']]) {
      const refused = await world.dproxy(args)
      expect(refused).toMatchObject({ exitCode: 5, stdout: '' })
      expect(refused.stderr).toContain(
        `is dproxy 9.9.9 and speaks another protocol (${api}) than this command (1)`,
      )
      expect(refused.stderr).toContain('next: stop it, then start your hosts again: dproxy down --all')
    }
    expect(other.asked).not.toContain('POST /v1/shutdown')
    expect(await world.dproxy(['down', '--all'])).toMatchObject({ exitCode: 0, stdout: '' })
    expect(other.asked).toContain('POST /v1/shutdown')
    expect(existsSync(world.controlSocket)).toBe(false)
    expect(await world.dproxy(['up', 'prod', '--lazy'])).toMatchObject({ exitCode: 0 })
  }
})

test('an older supervisor that does not understand a request is named as what it is [C5]', async () => {
  await using world = await World.create()
  await mkdir(dirname(world.controlSocket), { mode: 0o700 })
  const supervisor = {
    pid: 1,
    version: '0.0.1',
    since: new Date().toISOString(),
    control: world.controlSocket,
  }
  const server = createServer((request, response) => {
    response.setHeader('Dproxy-Api', '1')
    response.setHeader('Dproxy-Version', '0.0.1')
    const status = { schemaVersion: 1, atMs: Date.now(), supervisor, hosts: [] }
    const refusal = {
      ok: false,
      code: 'REQUEST_INVALID',
      message: 'unrecognized key',
      hint: null,
      stage: null,
    }
    response.end(JSON.stringify(request.url === '/v1/status' ? status : refusal))
  }).listen(world.controlSocket)
  await once(server, 'listening')
  try {
    await world.config({ hosts: { prod: { ssh: 'prod.invalid', socket: world.socket('prod') } } })
    const refused = await world.dproxy(['up', 'prod', '--no-wait'])
    expect(refused).toMatchObject({ exitCode: 5, stdout: '' })
    expect(refused.stderr).toContain(
      'the running supervisor is dproxy 0.0.1 and does not understand this command',
    )
    const renewed = await world.dproxy(['restart', '--supervisor'])
    expect(renewed).toMatchObject({ exitCode: 5, stdout: '' })
    expect(renewed.stderr).toContain('the running supervisor is too old to hand its hosts over')
    expect(renewed.stderr).toContain('next: stop it, then start your hosts again: dproxy down --all')
    expect((await world.dproxy(['status'])).stderr).toContain('note: the running supervisor is dproxy 0.0.1')
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
