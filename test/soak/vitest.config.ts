import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: ['test/soak/**/*.test.ts'],
    globalSetup: 'test/testbed/install.ts',
    reporters: ['default', './test/testbed/skipped-reporter.ts'],
    pool: 'forks',
    // What it says while it runs is read while it runs.
    disableConsoleIntercept: true,
  },
})
