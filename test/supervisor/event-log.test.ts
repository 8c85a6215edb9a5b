import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LogEntry } from '../../src/control/messages.js'
import { EventLog } from '../../src/supervisor/event-log.js'
import { TempDir } from '../testbed/temp-dir.js'
import { until } from '../testbed/until.js'

test('an event is one line with its time, level, host and message, in the file as in memory', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'state', 'dproxy.log')
  const log = await EventLog.toFile(path)
  const heard: LogEntry[] = []
  const stop = log.subscribe((entry) => heard.push(entry))
  log.info(null, 'starts')
  log.warn('prod', 'a line\nwith a break and \u001b[31m')
  stop()
  log.error('prod', 'fails')
  await log.close()
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  const written = lines.map((line) => LogEntry.strict().parse(JSON.parse(line)))
  expect(written.map(({ level, host, message }) => [level, host, message])).toEqual([
    ['info', null, 'starts'],
    ['warn', 'prod', 'a line\nwith a break and \u001b[31m'],
    ['error', 'prod', 'fails'],
  ])
  expect(log.recent().map(({ message }) => message)).toEqual(written.map(({ message }) => message))
  expect(heard.map(({ message }) => message)).toEqual(written.slice(0, 2).map(({ message }) => message))
  expect(Math.abs(Date.parse(written[0]!.time) - Date.now())).toBeLessThan(5000)
})

test('the log is for its owner alone', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'state', 'dproxy.log')
  const log = await EventLog.toFile(path)
  log.info(null, 'starts')
  await log.close()
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  expect((await stat(join(dir.path, 'state'))).mode & 0o777).toBe(0o700)
})

test('however much happens, the files stay within a few megabytes and memory within a thousand events', async () => {
  await using dir = await TempDir.create()
  const log = await EventLog.toFile(join(dir.path, 'dproxy.log'))
  const message = 'x'.repeat(1000)
  for (let events = 0; events < 20_000; events += 1) {
    log.info('prod', message)
    if (events % 500 === 0) await new Promise(setImmediate)
  }
  log.info('prod', 'the last')
  await log.close()
  const names = await readdir(dir.path)
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(dir.path, name))).size))
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(14 * 1024 * 1024)
  expect(log.recent()).toHaveLength(1000)
  expect(log.recent().at(-1)?.message).toBe('the last')
})

test('a log that cannot be written loses lines and stops nobody', async () => {
  await using dir = await TempDir.create()
  const path = join(dir.path, 'dproxy.log')
  await mkdir(path)
  const log = await EventLog.toFile(path)
  log.info(null, 'lost')
  await until('a moment passes', () => new Promise<true>((resolve) => setImmediate(() => resolve(true))))
  log.info(null, 'lost too')
  expect(log.recent()).toHaveLength(2)
  await log.close()
})
