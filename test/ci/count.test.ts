import { execa } from 'execa'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { TempDir } from '../testbed/temp-dir.js'

const COUNT = fileURLToPath(new URL('../../.ci/count.mjs', import.meta.url))

const passed = { status: 'passed', assertionResults: [{ status: 'passed' }] }
const failed = { status: 'failed', assertionResults: [{ status: 'passed' }, { status: 'failed' }] }
const unloadable = { status: 'failed', assertionResults: [] }

test.each([
  { run: 'where all passed', tests: [4, 0], files: [passed], code: 0, line: '4 passed, 0 failed' },
  { run: 'with a failed test', tests: [4, 1], files: [passed, failed], code: 1, line: '4 passed, 1 failed' },
  {
    run: 'with a file that could not load',
    tests: [4, 0],
    files: [passed, unloadable],
    code: 1,
    line: '4 passed, 1 failed',
  },
  {
    run: 'that ended badly beside its tests',
    tests: [4, 0],
    files: [passed],
    code: 1,
    line: '4 passed, 1 failed',
  },
  { run: 'that never came to the tests', tests: undefined, files: [], code: 2, line: '0 passed, 1 failed' },
])('the closing line of a run $run', async ({ tests, files, code, line }) => {
  await using dir = await TempDir.create()
  const report = join(dir.path, 'report.json')
  const found = tests && { numPassedTests: tests[0], numFailedTests: tests[1], testResults: files }
  await writeFile(report, found ? JSON.stringify(found) : '')
  expect((await execa(process.execPath, [COUNT, report, String(code)])).stdout).toBe(line)
})
