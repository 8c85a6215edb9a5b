import { spawn } from 'node:child_process'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { ControlClient } from '../../src/control/client.js'
import { readRunRecord, type RunRecord } from '../../src/control/run-record.js'
import { Keeper } from '../../src/supervisor/crash/keeper.js'
import { isSupervisor } from '../../src/supervisor/crash/other-supervisor.js'
import { EventLog } from '../../src/supervisor/event-log.js'
import { runSupervisor } from '../../src/supervisor/run.js'
import { definition } from '../control/support.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'
import { follow, Rig } from './rig.js'

const record = (pid: number): RunRecord => ({
  pid,
  version: '1',
  hosts: [{ definition: definition(), agent: null, lazy: false }],
  crashes: [],
  crash: null,
  gaveUp: false,
})

/** A process that lives until the scope ends, with `word` on its command line. */
const living = (scope: Scope, word: string) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', word], { stdio: 'ignore' })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const end = () => {
    child.kill('SIGKILL')
    return gone
  }
  scope.add(child, end)
  return { pid: child.pid!, end }
}

/** A supervisor of the run directory of `rig`, which can be told to stop and be broken. */
const run = (scope: Scope, { env }: Pick<Rig, 'env'>, pid = 9) => {
  const stops: (() => void)[] = []
  const breaks: ((failure: unknown) => Promise<boolean>)[] = []
  let revived = 0
  const running = runSupervisor({
    env,
    version: '1',
    pid,
    log: EventLog.inMemory(),
    onStop: (listener) => void stops.push(listener),
    onCrash: (listener) => void breaks.push(listener),
    revive: () => Promise.resolve(void (revived += 1)),
  })
  running.catch(() => undefined)
  const stop = () => stops.forEach((each) => each())
  scope.add(undefined, async () => {
    stop()
    stop()
    await running.catch(() => undefined)
  })
  const control = join(env.DPROXY_RUNTIME_DIR!, 'control.sock')
  const client = new ControlClient(control)
  const up = (host: RunRecord['hosts'][number]['definition']) =>
    client.up({ definition: host, agent: null, lazy: false, person: false, evenProtected: false })
  return {
    running,
    control,
    client,
    up,
    stop,
    crash: () => Promise.all(breaks.map((each) => each(new TypeError('broken')))),
    revived: () => revived,
    serves: () =>
      until('it serves', async () => {
        const status = await client.status().catch(() => undefined)
        return status?.supervisor?.pid === pid
      }),
  }
}

/** The names of the hosts in the record. */
const recorded = async ({ env }: Pick<Rig, 'env'>) =>
  (await readRunRecord(env))?.hosts.map(({ definition: { name } }) => name)

/** Both hosts up, with a stream open in prod that does not end by itself. */
const busy = async (scope: Scope, rig: Rig, names: readonly string[]) => {
  const supervisor = run(scope, rig)
  await supervisor.serves()
  for (const name of names) await supervisor.up(rig.host(name))
  await until('all are up', async () =>
    (await supervisor.client.status()).hosts.every(({ state }) => state === 'up'),
  )
  const stream = await follow(rig.socket('prod'))
  scope.add(stream, ({ leave }) => leave())
  return supervisor
}

const drains = (supervisor: ReturnType<typeof run>) =>
  until('prod drains', async () =>
    (await supervisor.client.status()).hosts.some(({ state }) => state === 'draining'),
  )

test('a host that is being stopped is not brought back by a crash meanwhile, and the others are [L6]', async () => {
  await using rig = await Rig.start()
  await using scope = new Scope()
  const supervisor = await busy(scope, rig, ['prod', 'staging'])
  const down = supervisor.client.down('prod', 30_000).catch(() => undefined)
  await drains(supervisor)
  await until('it is written down', async () => String(await recorded(rig)) === 'staging')
  await supervisor.crash()
  expect(supervisor.revived()).toBe(1)
  expect(await recorded(rig)).toEqual(['staging'])
  await down
})

test('a crash while the last host is being stopped brings nothing back [L6]', async () => {
  await using rig = await Rig.start()
  await using scope = new Scope()
  const supervisor = await busy(scope, rig, ['prod'])
  const down = supervisor.client.down('prod', 30_000).catch(() => undefined)
  await drains(supervisor)
  await supervisor.crash()
  await supervisor.running
  expect(supervisor.revived()).toBe(0)
  expect(await recorded(rig)).toBeUndefined()
  await down
})

test('one that was told to end and crashes then is not followed by another [L6]', async () => {
  await using rig = await Rig.start()
  await using scope = new Scope()
  const supervisor = await busy(scope, rig, ['prod'])
  supervisor.stop()
  await supervisor.crash()
  await supervisor.running
  expect(supervisor.revived()).toBe(0)
  expect(await recorded(rig)).toBeUndefined()
})

test('one whose control socket was deleted is waited for, and keeps its place and what it has written down', async () => {
  await using rig = await Rig.start()
  await using scope = new Scope()
  // Its number is not that of the second one, but of a process that looks like a supervisor.
  const { pid } = living(scope, '__supervise')
  const first = run(scope, rig, pid)
  await first.serves()
  await first.up(rig.host('prod'))
  await until('it is written down', async () => (await recorded(rig))?.length === 1)
  await rm(first.control)
  const second = run(scope, rig)
  await expect(second.running).rejects.toMatchObject({ code: 'SOCKET_BUSY' })
  await first.serves()
  expect(await readRunRecord(rig.env)).toMatchObject({ pid })
})

test('one that ends without serving again is waited for no longer', async () => {
  await using rig = await Rig.start()
  await using scope = new Scope()
  const first = run(scope, rig)
  await first.serves()
  first.stop()
  await first.running
  const other = living(scope, '__supervise')
  await until('it is one', () => isSupervisor(other.pid))
  await writeFile(join(rig.env.DPROXY_RUNTIME_DIR!, 'running.json'), JSON.stringify(record(other.pid)))
  const second = run(scope, rig)
  await other.end()
  await second.serves()
})

test('what is written down is there again when its directory was deleted', async () => {
  await using rig = await Rig.start()
  await using scope = new Scope()
  const supervisor = run(scope, rig)
  await supervisor.serves()
  await supervisor.up(rig.host('prod'))
  await until('it is written down', async () => (await recorded(rig))?.length === 1)
  await rm(rig.env.DPROXY_RUNTIME_DIR!, { recursive: true })
  await supervisor.serves()
  await until('it is written down again', async () => (await recorded(rig))?.length === 1)
})

test('what another living supervisor has written down is not forgotten, what a dead one has is', async () => {
  await using dir = await TempDir.create()
  await using scope = new Scope()
  const env = { DPROXY_RUNTIME_DIR: dir.path }
  const path = join(dir.path, 'running.json')
  const other = living(scope, '__supervise')
  await until('it is one', () => isSupervisor(other.pid))
  await writeFile(path, JSON.stringify(record(other.pid)))
  const keeper = new Keeper(env, { pid: 9, version: '1', log: EventLog.inMemory() })
  await keeper.forget()
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(record(other.pid))
  await other.end()
  await keeper.forget()
  await expect(stat(path)).rejects.toThrow('ENOENT')
})

test.runIf(process.platform === 'linux')(
  'another program under the number of a supervisor is not taken for one',
  async () => {
    await using scope = new Scope()
    const { pid } = living(scope, 'something')
    await until('it runs', async () => (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('something'))
    expect(await isSupervisor(pid)).toBe(false)
    expect(await isSupervisor(0)).toBe(false)
  },
)
