import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Scope } from '../../src/base/scope.js'
import { startSuccessor } from '../../src/cli/supervisor-process.js'
import { serveControl } from '../../src/control/server.js'
import { FakeService } from '../control/support.js'
import { isAlive } from '../testbed/processes.js'
import { until } from '../testbed/until.js'
import { Desk } from './support.js'

/** A supervisor of that pid, as far as its status tells, at `name` in the run directory. */
const serve = async (scope: Scope, dir: string, name: string, pid: number): Promise<void> => {
  const service = new FakeService()
  const status = service.status()
  service.status = () => ({ ...status, supervisor: { ...status.supervisor!, pid } })
  scope.use(await serveControl(join(dir, 'run', name), service, '1.2.3'))
}

/** A command that starts `script` in place of a supervisor, and the pid that the script tells of itself. */
const starting = async (scope: Scope, script: string) => {
  const desk = scope.use(await Desk.create())
  const [main, told] = [join(desk.dir, 'main.cjs'), join(desk.dir, 'pid')]
  await mkdir(join(desk.dir, 'run'), { mode: 0o700 })
  await writeFile(
    main,
    `require('fs').writeFileSync(${JSON.stringify(told)}, String(process.pid))\n${script}`,
  )
  const io = { ...desk.io(String, String), self: [process.execPath, main] as const }
  const begun = async () => {
    const pid = await until('it has begun', async () => Number(await readFile(told, 'utf8')) || undefined)
    scope.add(pid, () => void (isAlive(pid) && process.kill(pid, 'SIGKILL')))
    return pid
  }
  return { desk, io, begun }
}

const STAYS = 'setInterval(() => undefined, 1000)'
const LEAVES = `${STAYS}; process.stdin.resume().on('end', () => process.exit(0))`

test('the supervisor that another command has started is not taken for the own one', async () => {
  await using scope = new Scope()
  const { desk, io, begun } = await starting(scope, LEAVES)
  const started = expect(startSuccessor(io)).rejects.toMatchObject({
    code: 'SUPERVISOR_FAILED',
    message: 'another command is just renewing the supervisor',
  })
  const pid = await begun()
  await serve(scope, desk.dir, 'next.sock', 1)
  await started
  await until('the own one is gone', () => !isAlive(pid))
})

test.for([
  ['serves everybody by now', true],
  ['does not', false],
] as const)('one that hangs when it is let go of, and %s: it lives on: %s', async ([, serves]) => {
  await using scope = new Scope()
  const { desk, io, begun } = await starting(scope, STAYS)
  const started = startSuccessor(io)
  const pid = await begun()
  await serve(scope, desk.dir, 'next.sock', pid)
  const successor = await started
  expect(successor.pid).toBe(pid)
  await serve(scope, desk.dir, 'control.sock', serves ? pid : 1)
  await successor.letGo()
  if (serves) expect(isAlive(pid)).toBe(true)
  else await until('it is gone', () => !isAlive(pid))
})

test('why one could not start is told in its own words alone, not in what another has logged before', async () => {
  for (const [script, said] of [
    ['process.exit(1)', 'it ended with code 1'],
    ["console.error('of its own'); process.exit(1)", 'it ended with code 1: of its own'],
  ] as const) {
    await using scope = new Scope()
    const { desk, io } = await starting(scope, script)
    const log = join(desk.dir, '.local/state/dproxy/dproxy.log')
    await mkdir(join(log, '..'), { recursive: true })
    await writeFile(log, '{"level":"info","message":"prod is up"}\n')
    await expect(startSuccessor(io)).rejects.toMatchObject({
      message: `the supervisor could not start: ${said}`,
      hint: `its log is ${log}`,
    })
  }
})
