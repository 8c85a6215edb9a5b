import { existsSync } from 'node:fs'
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { serveControl } from '../../src/control/server.js'
import { post, rawly } from '../control/support.js'
import { openFiles } from '../testbed/processes.js'
import { until } from '../testbed/until.js'
import { ask, follow, Rig } from './rig.js'

const madeAt = async (path: string) => (await stat(path, { bigint: true })).ctimeNs

test('a host that is brought up serves its engine at its socket', async () => {
  await using rig = await Rig.start()
  expect(await rig.up(rig.host('prod'))).toEqual({ action: 'started' })
  await rig.reaches('prod', 'up')
  expect(await ask(rig.socket('prod'))).toBe(200)
  await until('the stream is over', () => rig.supervisor.status().hosts[0]?.streams.open === 0)
  expect(rig.supervisor.status().hosts).toMatchObject([
    {
      name: 'prod',
      reason: null,
      lanes: 1,
      streams: { total: 1 },
      lastError: null,
      engine: { version: '28.2.2' },
    },
  ])
})

test('a host that already runs as asked is left alone', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  await rig.reaches('prod', 'up')
  const [before] = rig.supervisor.status().hosts
  expect(await rig.up(rig.host('prod'))).toEqual({ action: 'unchanged' })
  expect(await rig.up(rig.host('prod'), { lazy: true })).toEqual({ action: 'unchanged' })
  expect(rig.supervisor.status().hosts[0]?.since).toBe(before?.since)
})

test('a changed definition restarts that host and no other', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  await rig.up(rig.host('staging'))
  await Promise.all([rig.reaches('prod', 'up'), rig.reaches('staging', 'up')])
  const [prod, staging] = [await madeAt(rig.socket('prod')), await madeAt(rig.socket('staging'))]
  expect(await rig.up(rig.host('prod', { connectTimeoutMs: 5000 }))).toEqual({ action: 'restarted' })
  await rig.reaches('prod', 'up')
  expect(await madeAt(rig.socket('prod'))).not.toBe(prod)
  expect(await madeAt(rig.socket('staging'))).toBe(staging)
})

test('a protected host is not restarted by a changed definition, unless that is said', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod', { protected: true }))
  await rig.reaches('prod', 'up')
  const before = await madeAt(rig.socket('prod'))
  await expect(rig.up(rig.host('prod'))).rejects.toMatchObject({ code: 'HOST_PROTECTED' })
  expect(rig.state('prod')).toBe('up')
  expect(await madeAt(rig.socket('prod'))).toBe(before)
  expect(await rig.up(rig.host('prod'), { evenProtected: true })).toEqual({ action: 'restarted' })
})

test('a lazy host listens, dials nobody, and serves its first client', async () => {
  await using rig = await Rig.start()
  expect(await rig.up(rig.host('prod'), { lazy: true })).toEqual({ action: 'started' })
  await sleep(100)
  expect(rig.supervisor.status().hosts[0]).toMatchObject({ state: 'idle', lanes: 0 })
  expect(await ask(rig.socket('prod'))).toBe(200)
  expect(rig.state('prod')).toBe('up')
})

test('a failed host is tried again when it is asked for again, and only then', async () => {
  await using rig = await Rig.start()
  const prod = rig.host('prod')
  const known = await readFile(prod.knownHostsFiles![0]!, 'utf8')
  await writeFile(prod.knownHostsFiles![0]!, '')
  await rig.up(prod)
  await rig.reaches('prod', 'failed')
  expect(rig.supervisor.status().hosts[0]?.lastError).toMatchObject({
    code: 'HOST_KEY_UNKNOWN',
    stage: 'host key',
  })
  await writeFile(prod.knownHostsFiles![0]!, known)
  expect(await ask(rig.socket('prod'))).toBe(503)
  expect(rig.state('prod')).toBe('failed')
  expect(await rig.up(prod)).toEqual({ action: 'retried' })
  await rig.reaches('prod', 'up')
})

test('a host whose socket cannot be made is not started, and stops no other', async () => {
  await using rig = await Rig.start()
  await writeFile(rig.socket('prod'), 'mine')
  const results = await Promise.allSettled([rig.up(rig.host('prod')), rig.up(rig.host('staging'))])
  expect(results).toMatchObject([
    { reason: { code: 'SOCKET_BUSY', stage: 'socket' } },
    { status: 'fulfilled' },
  ])
  await rig.reaches('staging', 'up')
  expect(rig.supervisor.status().hosts.map(({ name }) => name)).toEqual(['staging'])
  expect(await readFile(rig.socket('prod'), 'utf8')).toBe('mine')
})

test('two hosts cannot share a socket: the second is refused and told of the first', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  await expect(rig.up(rig.host('staging', { socket: rig.socket('prod') }))).rejects.toMatchObject({
    code: 'SOCKET_BUSY',
    message: expect.stringContaining('prod is served there'),
  })
  expect(await ask(rig.socket('prod'))).toBe(200)
})

test('names that differ only in case are one host', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  expect(await rig.up(rig.host('PROD', { socket: rig.socket('other') }))).toEqual({ action: 'restarted' })
  expect(existsSync(rig.socket('prod'))).toBe(false)
  expect(await rig.supervisor.down('Prod', 0)).toEqual({ cut: 0 })
})

test('a host that is taken down leaves no socket, and the supervisor leaves with its last host', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  await rig.up(rig.host('staging'))
  await rig.supervisor.down('prod', 0)
  expect(existsSync(rig.socket('prod'))).toBe(false)
  await sleep(400)
  expect(rig.supervisor.emptied.aborted).toBe(false)
  await rig.supervisor.down('staging', 0)
  await until('it leaves', () => rig.supervisor.emptied.aborted)
  rig.supervisor.hasLeft()
  await expect(rig.up(rig.host('prod'))).rejects.toMatchObject({ code: 'SUPERVISOR_DOWN' })
  expect(existsSync(rig.socket('prod'))).toBe(false)
})

test('a host that does not run cannot be taken down or restarted', async () => {
  await using rig = await Rig.start()
  for (const change of [() => rig.supervisor.down('prod', 0), () => rig.supervisor.restart('prod', 0)])
    await expect(change()).rejects.toMatchObject({ code: 'HOST_UNKNOWN' })
})

test('streams end by themselves while a host drains, and new clients find no socket', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  const client = await follow(rig.socket('prod'))
  const down = rig.supervisor.down('prod', 60_000)
  await rig.reaches('prod', 'draining')
  await until('the socket is gone', () => !existsSync(rig.socket('prod')))
  expect(rig.supervisor.streams('prod')).toHaveLength(1)
  rig.supervisor.cut(rig.supervisor.streams('prod')[0]!.id)
  await client.gone
  expect(await down).toEqual({ cut: 0 })
})

test('streams still open at the end of the drain are cut, and counted', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  const client = await follow(rig.socket('prod'))
  const started = performance.now()
  expect(await rig.supervisor.down('prod', 300)).toEqual({ cut: 1 })
  expect(performance.now() - started).toBeGreaterThan(290)
  expect(performance.now() - started).toBeLessThan(2000)
  await client.gone
})

test('whoever asks for a shorter drain meanwhile gets it', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  await follow(rig.socket('prod'))
  const patient = rig.supervisor.down('prod', 3_600_000)
  await rig.reaches('prod', 'draining')
  const started = performance.now()
  expect(await rig.supervisor.down('prod', 0)).toEqual({ cut: 0 })
  expect(await patient).toEqual({ cut: 1 })
  expect(performance.now() - started).toBeLessThan(1000)
})

test('a shutdown drains to its deadline, whatever drain was asked for before; a hurry ends it at once [L1]', async () => {
  for (const hurried of [false, true]) {
    await using rig = await Rig.start()
    await rig.up(rig.host('prod'))
    await rig.up(rig.host('staging'))
    await Promise.all([follow(rig.socket('prod')), follow(rig.socket('staging'))])
    const patient = rig.supervisor.down('prod', 3_600_000)
    await rig.reaches('prod', 'draining')
    const started = performance.now()
    const shutdown = rig.supervisor.shutdown(hurried ? 3_600_000 : 300)
    if (hurried) rig.supervisor.hurry()
    await Promise.all([shutdown, patient])
    expect(performance.now() - started).toBeLessThan(1500)
    expect(rig.supervisor).toMatchObject({ emptied: { aborted: true } })
    expect(rig.supervisor.status().hosts).toEqual([])
  }
})

test('a host that is just being started or restarted when the supervisor stops does not outlive it', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('staging'))
  const asked = [rig.up(rig.host('prod')), rig.supervisor.restart('staging', 0)]
  const stopped = rig.supervisor.shutdown(0)
  await stopped
  rig.supervisor.hasLeft()
  await Promise.allSettled(asked)
  expect(rig.supervisor.status().hosts).toEqual([])
  expect([existsSync(rig.socket('prod')), existsSync(rig.socket('staging'))]).toEqual([false, false])
})

test('changes to one host happen in the order they were asked for', async () => {
  await using rig = await Rig.start()
  const results = await Promise.allSettled([
    rig.up(rig.host('prod')),
    rig.supervisor.down('prod', 0),
    rig.supervisor.down('prod', 0),
    rig.up(rig.host('prod')),
    rig.supervisor.restart('prod', 0),
  ])
  expect(results.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ])
  await rig.reaches('prod', 'up')
})

test('a host restarts behind the same path', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  await rig.reaches('prod', 'up')
  expect(await rig.supervisor.restart('prod', 0)).toEqual({ cut: 0 })
  await rig.reaches('prod', 'up')
  expect(await ask(rig.socket('prod'))).toBe(200)
})

test('a host restarted under live streams serves nobody for a moment: what was cut must not look finished', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  for (const restart of [
    () => rig.supervisor.restart('prod', 0),
    () => Promise.all([rig.supervisor.down('prod', 0), rig.up(rig.host('prod'))]),
    () => rig.up(rig.host('prod', { connectTimeoutMs: 5000 })),
  ]) {
    await until('it serves', async () => (await ask(rig.socket('prod'))) === 200)
    const client = await follow(rig.socket('prod'))
    await restart()
    await client.gone
    await rig.reaches('prod', 'up')
    expect(await ask(rig.socket('prod'))).toBe(503)
  }
})

test('a host can be taken down at once while others of its address hang in their login', async () => {
  await using rig = await Rig.start()
  const silent = createServer(() => undefined).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  try {
    const { port } = silent.address() as { port: number }
    const names = Array.from({ length: 10 }, (_, index) => `h${index}`)
    for (const name of names) await rig.up(rig.host(name, { port }))
    const started = performance.now()
    for (const name of names.toReversed()) await rig.supervisor.down(name, 0)
    expect(performance.now() - started).toBeLessThan(1000)
  } finally {
    silent.close()
  }
})

test('a stream can be seen and cut', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  const client = await follow(rig.socket('prod'))
  const [stream] = rig.supervisor.streams('prod')
  expect(stream).toMatchObject({ host: 'prod', bytes: { up: expect.any(Number) } })
  expect(stream!.bytes.up).toBeGreaterThan(0)
  rig.supervisor.cut(stream!.id)
  await client.gone
  for (const id of ['prod:99', 'nobody:1', '', ':'])
    expect(() => rig.supervisor.cut(id)).toThrow('there is no stream')
})

test('nothing that is secret is told or logged, by any route [C8]', async () => {
  await using rig = await Rig.start()
  await using server = await serveControl(join(rig.dir, 'control.sock'), rig.supervisor, '1')
  await rig.up(rig.host('prod'))
  await rig.reaches('prod', 'up')
  await ask(rig.socket('prod'))
  const loose = rig.host('staging')
  await chmod(loose.identityFiles[0]!, 0o644)
  await rig.up(loose)
  await rig.reaches('staging', 'failed')
  const answered = 'hunter2 is not told'
  const close = 'Host: dproxy\r\nConnection: close\r\n\r\n'
  const routes = ['status', 'logs', 'running', 'hosts/prod/streams', 'hosts/staging/streams']
  const said = [
    JSON.stringify([rig.supervisor.status(), rig.supervisor.recentLogs()]),
    ...(await Promise.all(
      routes.map((route) => rawly(server.path, `GET /v1/${route} HTTP/1.1\r\n${close}`)),
    )),
    await rawly(server.path, ...post('/v1/questions/prod:1', JSON.stringify({ answers: [answered] }))),
    await rawly(server.path, ...post('/v1/questions/prod:1', JSON.stringify({ answers: answered }))),
    await rawly(
      server.path,
      ...post('/v1/hosts/prod/up', JSON.stringify({ password: answered, agent: null })),
    ),
  ].join('\n')
  expect(said).toContain('is open to others')
  expect(said.match(/HTTP\/1\.1 200 /gu)).toHaveLength(routes.length)
  for (const secret of [...rig.secrets, answered]) expect(said).not.toContain(secret)
})

test(
  'a hundred times up and down leaves nothing behind: no descriptor, no memory [L5]',
  { timeout: 120_000 },
  async () => {
    await using rig = await Rig.start()
    await rig.up(rig.host('staging'))
    await rig.reaches('staging', 'up')
    const cycle = async () => {
      await rig.up(rig.host('prod'))
      const client = await follow(rig.socket('prod'))
      await rig.supervisor.down('prod', 0)
      await client.gone
    }
    for (let times = 0; times < 20; times += 1) await cycle()
    const before = await measure()
    for (let times = 0; times < 100; times += 1) await cycle()
    const after = await measure()
    expect(after.files).toBeLessThanOrEqual(before.files)
    // A host that is kept costs some 100 kB, a stream 64 KiB and more.
    expect(after.heap - before.heap).toBeLessThan(4 * 1024 * 1024)
    expect(rig.supervisor.status().hosts.map(({ name }) => name)).toEqual(['staging'])
    expect(await readdir(rig.dir)).not.toContain('prod.sock')
  },
)

// What --expose-gc gives from the start.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What this process holds once what is over has been let go of. */
const measure = async () => {
  await sleep(500)
  for (let times = 0; times < 3; times += 1) collect()
  return { files: openFiles(process.pid), heap: process.memoryUsage().heapUsed }
}
