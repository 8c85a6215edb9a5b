import { expect, test } from 'vitest'
import { StageLog } from '../../src/supervisor/link/stage-log.js'

const stagesOf = (log: StageLog) => log.passed.map(({ stage }) => stage)

test('stages are told in order, the one under way apart', () => {
  const log = new StageLog()
  for (const stage of ['resolve', 'connect', 'host key'] as const) log.begin(stage)
  expect(stagesOf(log)).toEqual(['resolve', 'connect'])
  expect(log.current).toBe('host key')
  log.finish()
  expect(stagesOf(log)).toEqual(['resolve', 'connect', 'host key'])
})

test('a stage that is begun once more counts anew, and what came after it too', () => {
  const log = new StageLog()
  for (const stage of ['resolve', 'connect', 'host key', 'connect', 'host key', 'login'] as const)
    log.begin(stage)
  expect(stagesOf(log)).toEqual(['resolve', 'connect', 'host key'])
  expect(log.current).toBe('login')
})
