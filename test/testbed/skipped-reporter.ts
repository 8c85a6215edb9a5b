import type { Reporter, TestModule } from 'vitest/node'
import { SKIPPED } from './skipped.js'

/** Says at the end which tests did not run, and why: the usual report only counts them. */
export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const names = modules.flatMap((module) => [...module.children.allSuites()].map((suite) => suite.name))
    for (const name of names.filter((each) => each.includes(SKIPPED))) process.stdout.write(` ${name}\n`)
  }
}
