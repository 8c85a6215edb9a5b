import { defineConfig } from 'vitest/config'

// A run that measures: `npm run recovery`. It is no part of `npm test`.
export default defineConfig({
  test: {
    include: ['test/recovery/**/*.test.ts'],
    globalSetup: 'test/testbed/install.ts',
    reporters: ['default', './test/testbed/skipped-reporter.ts'],
    pool: 'forks',
    // The table is for people, as it is.
    disableConsoleIntercept: true,
  },
})
