import { execa } from 'execa'
import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { describeWith } from '../testbed/describe-with.js'
import { until } from '../testbed/until.js'
import { engineIn, type Listed } from './support.js'

const namesOf = (containers: Listed[]) => containers.map(({ Names }) => Names.join()).toSorted()

describe('the demo engine', () => {
  test('tells clients its API version, with and without one in the path', async () => {
    await using scope = new Scope()
    const { status, get } = await engineIn(scope)
    for (const path of ['/_ping', '/v1.41/_ping']) {
      expect(await status('HEAD', path)).toMatchObject({ status: 200, body: '' })
      expect(await status('GET', path)).toMatchObject({
        status: 200,
        body: 'OK',
        headers: { 'api-version': '1.50', ostype: 'linux', 'docker-experimental': 'false' },
      })
    }
    expect(await get('/v1.24/version')).toMatchObject({ Version: '28.2.2-demo', ApiVersion: '1.50' })
    const tooNew = await status('GET', '/v1.51/info')
    expect(tooNew.status).toBe(400)
    expect(tooNew.body).toContain('client version 1.51 is too new. Maximum supported API version is 1.50')
  })

  test('has a handful of containers, more of them on prod', async () => {
    await using scope = new Scope()
    const [prod, staging] = [await engineIn(scope, 'prod'), await engineIn(scope, 'staging')]
    expect(namesOf(await staging.get('/containers/json'))).toEqual(['/api', '/db', '/web'])
    expect(namesOf(await prod.get('/containers/json'))).toEqual(['/api', '/cache', '/db', '/web', '/worker'])
    expect(namesOf(await prod.get('/containers/json?all=1'))).toContain('/migrate')
    const filters = encodeURIComponent(JSON.stringify({ status: ['exited'] }))
    expect(namesOf(await prod.get(`/containers/json?filters=${filters}`))).toEqual(['/migrate'])
  })

  test('is the same for the same seed', async () => {
    await using scope = new Scope()
    const [one, twin, other] = [
      await engineIn(scope, 'prod', 'a'),
      await engineIn(scope, 'prod', 'a'),
      await engineIn(scope, 'prod', 'b'),
    ]
    const logs = `/containers/web/logs?stdout=1&stderr=1&tail=20&until=${Math.floor(Date.now() / 1000) - 1}`
    const [first, second, third] = await Promise.all(
      [one, twin, other].map(({ open }) => open(logs).then(text)),
    )
    expect(first?.split('\n').length).toBe(21)
    expect(second).toBe(first)
    expect(third).not.toBe(first)
  })

  test('frames logs as Docker does and states the sha256 of what it sends', async () => {
    await using scope = new Scope()
    const { open } = await engineIn(scope)
    const response = await open('/containers/web/logs?stdout=1&stderr=1&tail=100')
    expect(response.headers['content-type']).toBe('application/vnd.docker.multiplexed-stream')
    const body = await buffer(response)
    expect(response.headers['repr-digest']).toBe(
      `sha-256=:${createHash('sha256').update(body).digest('base64')}:`,
    )
    let [frames, offset] = [0, 0]
    for (; offset < body.length; frames += 1) {
      expect([1, 2]).toContain(body[offset])
      expect(body.subarray(offset + 1, offset + 4)).toEqual(Buffer.alloc(3))
      offset += 8 + body.readUInt32BE(offset + 4)
      expect(body[offset - 1]).toBe(0x0a)
    }
    expect({ frames, offset }).toEqual({ frames: 100, offset: body.length })
  })

  test('follows a log without losing or repeating a line, until the container stops', async () => {
    await using scope = new Scope()
    const { open, status } = await engineIn(scope)
    const begunSeconds = Math.floor(Date.now() / 1000)
    const query = `stdout=1&stderr=1&since=${begunSeconds}`
    const followed = await open(`/containers/web/logs?${query}&follow=1`)
    const chunks: Buffer[] = []
    followed.on('data', (chunk: Buffer) => chunks.push(chunk))
    const ended = new Promise((resolve) => followed.once('end', resolve))
    await until('three lines arrived', () => Buffer.concat(chunks).toString().split('\n').length > 3)
    expect((await status('POST', '/containers/web/stop')).status).toBe(204)
    await ended
    const whole = await buffer(await open(`/containers/web/logs?${query}`))
    expect(Buffer.concat(chunks).equals(whole)).toBe(true)
  })

  test('tells whoever follows the events what happens to a container', async () => {
    await using scope = new Scope()
    const { open, status, get } = await engineIn(scope)
    const since = Math.floor(Date.now() / 1000)
    const events = await open('/events')
    const seen: { Action: string; Actor: { Attributes: { name: string } } }[] = []
    events.on('data', (line: Buffer) => {
      for (const one of line.toString().trim().split('\n'))
        seen.push(JSON.parse(one) as (typeof seen)[number])
    })
    expect((await status('POST', '/containers/cache/stop')).status).toBe(204)
    expect((await status('POST', '/containers/cache/stop')).status).toBe(304)
    expect(namesOf(await get('/containers/json'))).not.toContain('/cache')
    expect((await status('POST', '/containers/cache/start')).status).toBe(204)
    expect(namesOf(await get('/containers/json'))).toContain('/cache')
    const actions = () =>
      seen.filter(({ Actor }) => Actor.Attributes.name === 'cache').map(({ Action }) => Action)
    const expected = ['kill', 'die', 'stop', 'start']
    await until('all events arrived', () => actions().length === expected.length)
    expect(actions()).toEqual(expected)
    const past = await text(await open(`/events?since=${since}&until=${Math.ceil(Date.now() / 1000) + 1}`))
    expect(past.match(/"Action":"(?:kill|die|stop|start)"/gu)?.length).toBe(expected.length)
  })

  test('gives processor times from which clients can reckon a load', async () => {
    await using scope = new Scope()
    const { get } = await engineIn(scope)
    const {
      cpu_stats: now,
      precpu_stats: before,
      memory_stats: memory,
    } = await get<{
      cpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage: number; online_cpus: number }
      precpu_stats: { cpu_usage: { total_usage: number }; system_cpu_usage: number }
      memory_stats: { usage: number; limit: number }
    }>('/containers/worker/stats?stream=0')
    const used = now.cpu_usage.total_usage - before.cpu_usage.total_usage
    const share = (used / (now.system_cpu_usage - before.system_cpu_usage)) * now.online_cpus
    expect(share).toBeGreaterThan(0.1)
    expect(share).toBeLessThan(1.2)
    expect(memory.usage).toBeGreaterThan(100_000_000)
    expect(memory.usage).toBeLessThan(memory.limit)
  })

  test('refuses in Docker’s own form what only a real engine can do', async () => {
    await using scope = new Scope()
    const { status } = await engineIn(scope)
    for (const path of ['/containers/create', '/containers/web/exec', '/build', '/images/create']) {
      const { status: code, body } = await status('POST', path)
      expect(code).toBe(501)
      expect((JSON.parse(body) as { message: string }).message).toContain(
        'the demo engine does not run containers',
      )
    }
    expect(await status('GET', '/containers/nosuch/json')).toMatchObject({
      status: 404,
      body: '{"message":"No such container: nosuch"}\n',
    })
    expect((await status('GET', '/containers/%ff/json')).status).toBeGreaterThanOrEqual(400)
    expect((await status('GET', '/nothing')).status).toBe(404)
    expect((await status('GET', '/events?since=yesterday')).status).toBe(400)
    expect((await status('GET', '/containers/json?filters=%7B')).status).toBe(400)
  })

  test('answers a client that has already ended its direction', async () => {
    await using scope = new Scope()
    const { socket } = await engineIn(scope)
    const client = scope.add(connect({ path: socket, allowHalfOpen: true }), (taken) => taken.destroy())
    client.end('GET /images/get?names=nginx:1.27 HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n')
    const body = await buffer(client)
    expect(body.length).toBeGreaterThan(4 * 1024 * 1024)
    expect(body.subarray(-1024)).toEqual(Buffer.alloc(1024))
  })

  test('cuts what it is sending when it closes, and removes its socket', async () => {
    await using scope = new Scope()
    const { engine, socket, open } = await engineIn(scope)
    expect(statSync(socket).mode & 0o777).toBe(0o600)
    const events = await open('/events')
    const cut = new Promise<Error>((resolve) => events.once('error', resolve))
    events.resume()
    await engine.close()
    expect(await cut).toMatchObject({ code: 'ECONNRESET' })
    expect(existsSync(socket)).toBe(false)
  })
})

describeWith(['docker'], 'Docker’s command line, in front of the demo engine', () => {
  test('shows what it shows of a real one', async () => {
    await using scope = new Scope()
    const { socket } = await engineIn(scope)
    const docker = async (...words: string[]) =>
      (await execa('docker', ['-H', `unix://${socket}`, ...words])).stdout
    expect(await docker('version', '--format', '{{.Server.Version}}')).toBe('28.2.2-demo')
    expect(await docker('info')).toMatch(/Running: 5\n\s+Paused: 0\n\s+Stopped: 1\n\s*Images: 5/u)
    expect(await docker('ps', '-a', '--format', '{{.Names}} {{.Status}}')).toMatch(
      /^web Up \d+ (?:hours|days)$/mu,
    )
    expect(await docker('images', '--format', '{{.Repository}}:{{.Tag}}')).toContain('shop/api:2.14.0')
    expect(await docker('inspect', '--format', '{{.State.Status}}', 'web')).toBe('running')
    expect(await docker('image', 'inspect', '--format', '{{.Os}}', 'shop/api:2.14.0')).toBe('linux')
    expect((await docker('logs', '--tail', '3', 'db')).split('\n').length).toBeLessThanOrEqual(3)
    expect(await docker('top', 'web')).toContain('nginx: worker process')
    expect(await docker('stats', '--no-stream', '--format', '{{.Name}} {{.CPUPerc}}')).toMatch(
      /^worker [1-9]\d*\.\d\d%$/mu,
    )
    const run = await execa('docker', ['-H', `unix://${socket}`, 'exec', 'web', 'true'], { reject: false })
    expect(run.exitCode).not.toBe(0)
    expect(run.stderr).toContain('the demo engine does not run containers')
  })

  test('follows logs and events', async () => {
    await using scope = new Scope()
    const { socket } = await engineIn(scope)
    for (const words of [['logs', '-f', '--tail', '0', 'web'], ['events']]) {
      const follower = execa('docker', ['-H', `unix://${socket}`, ...words], { reject: false, all: true })
      const stop = async () => {
        follower.kill()
        await follower
      }
      scope.add(undefined, stop)
      let seen = ''
      follower.all.on('data', (chunk: Buffer) => (seen += chunk.toString()))
      await until('a line arrives', () => /GET|upstream|exec_create/u.test(seen))
      await stop()
    }
  })
})
