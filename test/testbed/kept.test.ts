import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Kept } from './kept.js'
import { namespaces } from './parts.js'
import { commandOf, descendants, isAlive, withEnvironment } from './processes.js'
import { TempDir } from './temp-dir.js'
import { until } from './until.js'

const modes = [
  { apart: false, where: 'among the others' },
  ...(namespaces() ? [{ apart: true, where: 'in namespaces of its own' }] : []),
]

describe.runIf(process.platform === 'linux').each(modes)('a process kept $where', ({ apart }) => {
  test('ends with its children when asked to, and its directory goes', async () => {
    await using dir = await TempDir.create()
    const kept = Kept.start(['sh', '-c', 'sleep 1000 & sleep 1001'], {
      dir: dir.path,
      log: '/dev/null',
      apart,
    })
    const pids = await until('it runs', () => whole(kept.pids()))
    await kept[Symbol.asyncDispose]()
    await until('nothing of it runs', () => !pids.some(isAlive))
    expect(existsSync(dir.path)).toBe(false)
  })

  test('ends when whoever started it is killed with -9', async () => {
    await using dir = await TempDir.create()
    const holder = spawn(process.execPath, ['-e', HOLDER, KEEP, apart ? 'yes' : 'no', dir.path])
    const pids = await until('it runs', () => whole(descendants(holder.pid!)))
    holder.kill('SIGKILL')
    await until('nothing of it runs', () => !pids.some(isAlive))
    await until('its directory is gone', () => !existsSync(dir.path))
  })

  test('says with which code it ended by itself', async () => {
    await using dir = await TempDir.create()
    const log = join(dir.path, 'log')
    await using kept = Kept.start(['sh', '-c', 'echo said; exit 7'], { dir: dir.path, log, apart })
    expect(await kept.exited).toBe(7)
    expect(await readFile(log, 'utf8')).toBe('said\n')
  })

  test('can leave its directory for the next one', async () => {
    await using dir = await TempDir.create()
    await mkdir(join(dir.path, 'data'))
    await Kept.start(['sleep', '1000'], { dir: dir.path, log: '/dev/null', apart }).endButKeepDir()
    expect(existsSync(join(dir.path, 'data'))).toBe(true)
  })
})

test.runIf(process.platform === 'linux')(
  'a daemon with the mark of a kept directory ends with it',
  async () => {
    await using dir = await TempDir.create()
    const kept = Kept.start(['true'], { dir: dir.path, log: '/dev/null', apart: false })
    spawn('sh', ['-c', 'setsid sleep 1000 &'], { env: { ...process.env, TESTBED: dir.path } })
    const daemon = () => withEnvironment('TESTBED', dir.path)
    await until('the daemon runs', () => daemon().length > 0)
    await kept[Symbol.asyncDispose]()
    await until('the daemon is gone', () => daemon().length === 0)
  },
)

// Once both of the command's children run, all their parents do.
const whole = (pids: number[]): number[] | false =>
  pids.filter((pid) => commandOf(pid).startsWith('sleep 100')).length === 2 && pids

const KEEP = fileURLToPath(new URL('keep.sh', import.meta.url))

const HOLDER = `
  const [keep, apart, dir] = process.argv.slice(1)
  const command = ['sh', '-c', 'sleep 1000 & sleep 1001']
  const stdio = ['pipe', 'ignore', 'ignore']
  require('child_process').spawn('sh', [keep, apart, dir, '/dev/null', ...command], { stdio, detached: true })
  setInterval(() => {}, 1000)
`
