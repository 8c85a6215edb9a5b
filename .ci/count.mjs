/**
 * count.mjs REPORT CODE: prints `N passed, N failed` from vitest's JSON report. A test file that could not
 * even be loaded counts as one failure, and so does a run that ended with CODE before or beside all tests.
 */
import { readFileSync } from 'node:fs'

const [report, code] = process.argv.slice(2)
const text = readFileSync(report, 'utf8')
const { numPassedTests, numFailedTests, testResults } = text
  ? JSON.parse(text)
  : { numPassedTests: 0, numFailedTests: 0, testResults: [] }

const unloadable = testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((each) => each.status === 'failed'),
)
const failed = numFailedTests + unloadable.length
process.stdout.write(`${numPassedTests} passed, ${code === '0' ? failed : Math.max(failed, 1)} failed\n`)
