import { chmod, chown, mkdir, stat } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { execa } from 'execa'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ownUid } from '../../src/base/paths.js'
import { ControlClient } from '../../src/control/client.js'
import { runSupervisor, type RunOptions } from '../../src/supervisor/run.js'
import { EventLog } from '../../src/supervisor/event-log.js'
import { definition } from '../control/support.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'

/** A supervisor of the run directory `dir`, and the wish that it stop. */
const start = (dir: string, more: Partial<RunOptions> = {}) => {
  const listeners: (() => void)[] = []
  let isReady = false
  const running = runSupervisor({
    env: { HOME: dir, DPROXY_RUNTIME_DIR: dir, DPROXY_SSH_CONFIG: '/dev/null' },
    version: '1.2.3',
    pid: 4711,
    log: EventLog.inMemory(),
    onStop: (listener) => void listeners.push(listener),
    onReady: () => void (isReady = true),
    ...more,
  })
  running.catch(() => undefined)
  const stop = () => listeners.forEach((listener) => listener())
  const control = join(dir, 'control.sock')
  return {
    running,
    control,
    client: new ControlClient(control),
    ready: () => until('it is ready', () => isReady),
    stop,
    [Symbol.asyncDispose]: async () => {
      stop()
      stop()
      await running.catch(() => undefined)
    },
  }
}

test('a supervisor serves its control socket, 0600 in a directory 0700, and leaves nothing behind', async () => {
  await using dir = await TempDir.create()
  const run = join(dir.path, 'run')
  await using supervisor = start(run)
  await supervisor.ready()
  expect((await stat(run)).mode & 0o777).toBe(0o700)
  expect((await stat(supervisor.control)).mode & 0o777).toBe(0o600)
  expect(await supervisor.client.status()).toMatchObject({
    supervisor: { pid: 4711, version: '1.2.3', control: supervisor.control },
    hosts: [],
  })
  supervisor.stop()
  await supervisor.running
  expect(existsSync(supervisor.control)).toBe(false)
  expect(existsSync(`${supervisor.control}.lock`)).toBe(false)
})

test('ten that start at once end with one', async () => {
  await using dir = await TempDir.create()
  const starters = Array.from({ length: 10 }, () => start(dir.path))
  let left = 0
  const losers: unknown[] = []
  for (const { running } of starters)
    void running.then(
      () => (left += 1),
      (failure: unknown) => losers.push(failure),
    )
  try {
    await until('nine have given up', () => losers.length === 9)
    expect(losers).toEqual(losers.map(() => expect.objectContaining({ code: 'SOCKET_BUSY' })))
    expect(left).toBe(0)
    expect(await starters[0]!.client.status()).toMatchObject({ hosts: [] })
  } finally {
    for (const starter of starters) await starter[Symbol.asyncDispose]()
  }
  expect(left).toBe(1)
})

test('the control socket of a supervisor that was killed is replaced', async () => {
  await using dir = await TempDir.create()
  const control = join(dir.path, 'control.sock')
  const script = `require('net').createServer().listen(${JSON.stringify(control)}, () => process.kill(process.pid, 'SIGKILL'))`
  await execa(process.execPath, ['-e', script], { reject: false })
  expect(existsSync(control)).toBe(true)
  await using supervisor = start(dir.path)
  await supervisor.ready()
  expect(await supervisor.client.status()).toMatchObject({ hosts: [] })
})

test('it leaves when it is told to over its control socket, and the teller gets an answer', async () => {
  await using dir = await TempDir.create()
  await using supervisor = start(dir.path)
  await supervisor.ready()
  await supervisor.client.shutdown(0)
  await supervisor.running
  expect(existsSync(supervisor.control)).toBe(false)
})

test('watchers and clients that say nothing do not keep it from leaving', async () => {
  await using dir = await TempDir.create()
  await using supervisor = start(dir.path)
  await supervisor.ready()
  const watch = supervisor.client.watch(new AbortController().signal)
  await watch.next()
  const started = performance.now()
  supervisor.stop()
  await supervisor.running
  expect(performance.now() - started).toBeLessThan(2000)
  await watch.return(undefined)
})

test('a wish to stop that comes while it starts is heard', async () => {
  await using dir = await TempDir.create()
  await using supervisor = start(dir.path)
  supervisor.stop()
  await supervisor.running
  expect(existsSync(supervisor.control)).toBe(false)
})

test('whoever asks for a host while it leaves is refused once its place is free, and not before', async () => {
  await using dir = await TempDir.create()
  await using supervisor = start(dir.path)
  await supervisor.ready()
  const asked = { definition: definition(), agent: null, lazy: true, person: false, evenProtected: false }
  supervisor.stop()
  const freed = supervisor.client.up(asked).catch((failure: unknown) => ({
    failure,
    isFree: !existsSync(supervisor.control),
  }))
  expect(await freed).toMatchObject({ failure: { code: 'SUPERVISOR_DOWN' }, isFree: true })
  await supervisor.running
})

test('a host that fails to start does not keep it', async () => {
  await using dir = await TempDir.create()
  await using supervisor = start(dir.path)
  await supervisor.ready()
  const occupied = join(dir.path, 'occupied')
  await mkdir(occupied)
  const request = { definition: { ...definition(), socket: occupied }, agent: null }
  await expect(
    supervisor.client.up({ ...request, lazy: false, person: false, evenProtected: false }),
  ).rejects.toMatchObject({
    code: 'SOCKET_BUSY',
    stage: 'socket',
    hint: expect.any(String),
  })
  await supervisor.running
})

test('a run directory that is open to others is refused, and nothing is served in it', async () => {
  await using dir = await TempDir.create()
  await chmod(dir.path, 0o755)
  await expect(start(dir.path).running).rejects.toMatchObject({
    code: 'SUPERVISOR_FAILED',
    message: expect.stringContaining('is open to others (mode 755)'),
  })
  expect(existsSync(join(dir.path, 'control.sock'))).toBe(false)
})

test.runIf(ownUid() === 0)('a run directory of another user is refused', async () => {
  await using dir = await TempDir.create()
  const theirs = join(dir.path, 'theirs')
  await mkdir(theirs, { mode: 0o700 })
  await chown(theirs, 65_534, 65_534)
  await expect(start(theirs).running).rejects.toMatchObject({
    code: 'SUPERVISOR_FAILED',
    message: expect.stringContaining('belongs to uid 65534'),
  })
})

test('told to stop before it is ready, it refuses what it is asked for then, and leaves', async () => {
  await using dir = await TempDir.create()
  const run = join(dir.path, 'run')
  const asked: unknown[] = []
  await using supervisor = start(run, {
    onReady: async (made) => {
      const request = {
        definition: definition(),
        agent: null,
        lazy: true,
        person: false,
        evenProtected: false,
      }
      await made.up(request).catch((failure: unknown) => asked.push(failure))
    },
  })
  supervisor.stop()
  await supervisor.running
  expect(existsSync(supervisor.control)).toBe(false)
  expect(asked.length).toBeLessThan(2)
})
