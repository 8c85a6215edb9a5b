import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readRunRecord, type RunRecord } from '../../src/control/run-record.js'
import { onBehalfOf } from '../../src/supervisor/crash/at-fault.js'
import { Crashes } from '../../src/supervisor/crash/crashes.js'
import { Keeper } from '../../src/supervisor/crash/keeper.js'
import { RecordFile } from '../../src/supervisor/crash/record-file.js'
import { EventLog } from '../../src/supervisor/event-log.js'
import { runSupervisor } from '../../src/supervisor/run.js'
import { ControlClient } from '../../src/control/client.js'
import { definition } from '../control/support.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { ask, follow, Rig } from './rig.js'

const record = (more: Partial<RunRecord> = {}): RunRecord => ({
  pid: 1,
  version: '1',
  hosts: [{ definition: definition(), agent: null, lazy: false }],
  crashes: [],
  crash: null,
  gaveUp: false,
  ...more,
})

const keeperIn = async (dir: string) => {
  const keeper = new Keeper({ DPROXY_RUNTIME_DIR: dir }, { pid: 2, version: '1', log: EventLog.inMemory() })
  await keeper.read()
  return keeper
}

test('an exception in the name of a host costs that host its link, and no other anything [L7]', async () => {
  await using rig = await Rig.start()
  for (const name of ['prod', 'staging']) {
    await rig.up(rig.host(name))
    await rig.reaches(name, 'up')
  }
  const since = (name: string) => rig.supervisor.status().hosts.find((host) => host.name === name)?.since
  const [prod, staging] = [since('prod'), since('staging')]
  expect(onBehalfOf('prod', () => rig.supervisor.contain(new Error('broken')))).toBe(true)
  await until('prod is up anew', () => rig.state('prod') === 'up' && since('prod') !== prod)
  expect(since('staging')).toBe(staging)
  expect(await ask(rig.socket('staging'))).toBe(200)
  await until('prod serves', async () => (await ask(rig.socket('prod'))) === 200)
  const said = rig.supervisor.recentLogs().map(({ message }) => message)
  expect(said.join('\n')).toMatch(/an internal error: Error: broken\n +at /u)
})

test('an exception in the name of nobody, or of a host that is gone, is not kept to a host', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  expect(rig.supervisor.contain(new Error('broken'))).toBe(false)
  expect(onBehalfOf('lab', () => rig.supervisor.contain(new Error('broken')))).toBe(false)
})

test('an exception in the name of a host that is being ended cuts its streams, and no others', async () => {
  await using rig = await Rig.start()
  for (const name of ['prod', 'staging']) {
    await rig.up(rig.host(name))
    await rig.reaches(name, 'up')
  }
  const [prod, staging] = [await follow(rig.socket('prod')), await follow(rig.socket('staging'))]
  const ended = rig.supervisor.shutdown(60_000)
  for (const name of ['prod', 'staging']) await rig.reaches(name, 'draining')
  expect(onBehalfOf('prod', () => rig.supervisor.contain(new Error('broken')))).toBe(true)
  await prod.gone
  await until('prod is gone', () => rig.state('prod') === undefined)
  expect(rig.supervisor.streams('staging')).toHaveLength(1)
  staging.leave()
  await ended
})

test('a host whose code throws again and again waits for the user', async () => {
  await using rig = await Rig.start()
  await rig.up(rig.host('prod'))
  for (let times = 0; times < 5; times += 1) {
    await until('it runs', () => rig.state('prod') !== undefined && rig.state('prod') !== 'draining')
    expect(onBehalfOf('prod', () => rig.supervisor.contain(new TypeError('broken')))).toBe(true)
    await until('it was stopped', () => rig.state('prod') !== 'up')
  }
  await rig.reaches('prod', 'failed')
  expect(rig.supervisor.status().hosts[0]?.lastError).toMatchObject({
    code: 'HOST_CRASHED',
    message: 'dproxy itself failed 5 times within a minute over this host: TypeError: broken',
  })
  await rig.up(rig.host('prod'))
  await rig.reaches('prod', 'up')
})

test('pauses grow from one crash to the next, and those of more than a minute ago do not count', () => {
  const now = Date.now()
  const pauses = [0, 1, 2, 3, 4].map((count) => new Crashes(Array.from({ length: count }, () => now)).pauseMs)
  expect(pauses).toEqual([0, 0, 1000, 2000, 4000])
  const crashes = new Crashes([now - 61_000, now - 61_000, now, now, now, now])
  expect(crashes.areTooMany).toBe(false)
  crashes.add()
  expect(crashes.areTooMany).toBe(true)
})

test('the record of what runs is for its owner alone, always whole, and the newest in the end', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'running.json')
  const file = new RecordFile(path)
  for (let pid = 1; pid <= 200; pid += 1) file.save(record({ pid }))
  await until('the newest', async () => (await readRunRecord({ DPROXY_RUNTIME_DIR: dir.path }))?.pid === 200)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  file.save(record({ pid: 201 }))
  file.saveForGood(record({ pid: 300 }))
  file.save(record({ pid: 301 }))
  await file.settled()
  await file.remove()
  expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ pid: 300 })
  expect(await readdir(dir.path)).not.toContain('running.json.now')
})

test('what a directory or a file of another shape says is not believed', async () => {
  await using dir = await TempDir.create()
  const env = { DPROXY_RUNTIME_DIR: dir.path }
  expect(await readRunRecord(env)).toBeUndefined()
  for (const text of ['', '{', '{}', '[]', JSON.stringify({ ...record(), hosts: [{}] })]) {
    await writeFile(join(dir.path, 'running.json'), text)
    expect(await readRunRecord(env)).toBeUndefined()
  }
})

test('after five crashes within a minute it gives up, and hosts not yet back are not forgotten before [L6]', async () => {
  await using dir = await TempDir.create()
  const env = { DPROXY_RUNTIME_DIR: dir.path }
  const first = await keeperIn(dir.path)
  first.keep(record().hosts)
  expect(await first.crashed(new TypeError('one'))).toBe(true)
  for (let times = 2; times <= 5; times += 1) {
    const next = await keeperIn(dir.path)
    expect(next.begin()).toEqual(record().hosts)
    next.keep([])
    expect(await next.crashed(new TypeError('again'))).toBe(times < 5)
    expect((await readRunRecord(env))?.hosts).toEqual(record().hosts)
  }
  expect(await readRunRecord(env)).toMatchObject({ gaveUp: true, crash: 'TypeError: again' })
  expect((await keeperIn(dir.path)).begin()).toEqual([])
})

test.for<[string, Partial<RunRecord>, boolean]>([
  ['has crashed a moment ago', { crash: 'TypeError: x', crashes: [Date.now()] }, true],
  ['crashed long ago', { crash: 'TypeError: x', crashes: [Date.now() - 600_000] }, false],
  ['gave up', { crash: 'TypeError: x', crashes: [Date.now()], gaveUp: true }, false],
  ['was killed', {}, false],
])('a supervisor that comes after one that %s runs its hosts: %#', async ([, more, restores]) => {
  await using rig = await Rig.start()
  const run = join(rig.dir, 'run')
  await mkdir(run, { mode: 0o700 })
  const hosts = [
    { definition: rig.host('prod'), agent: null, lazy: false },
    { definition: rig.host('staging'), agent: null, lazy: true },
  ]
  await writeFile(join(run, 'running.json'), JSON.stringify(record({ hosts, ...more })))
  const stops: (() => void)[] = []
  const log = EventLog.inMemory()
  const onStop = (listener: () => void) => void stops.push(listener)
  const running = runSupervisor({ env: rig.env, version: '1', pid: 9, log, onStop })
  try {
    const client = new ControlClient(join(run, 'control.sock'))
    const states = async () => (await client.status()).hosts.map(({ state }) => state)
    await until('it runs', async () => (await client.status()).supervisor?.pid === 9)
    if (restores) await until('its hosts are back', async () => String(await states()) === 'up,idle')
    else expect(await states()).toEqual([])
  } finally {
    for (const stop of [...stops, ...stops]) stop()
    await running
  }
  expect(await readdir(run)).toEqual([])
})
