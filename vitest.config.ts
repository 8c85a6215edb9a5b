import { defineConfig } from 'vitest/config'

// Where .ci/run reads how many tests passed.
const report = process.env.DPROXY_TEST_REPORT
const json: [string, object] = ['json', { outputFile: report }]

export default defineConfig({
  test: {
    globalSetup: 'test/testbed/install.ts',
    reporters: ['default', './test/testbed/skipped-reporter.ts', ...(report ? [json] : [])],
    projects: [
      {
        test: {
          name: 'rooms',
          include: ['test/**/*.test.{ts,tsx}'],
          exclude: ['test/e2e/**', 'test/bench/**', 'test/soak/**', 'test/recovery/**'],
          pool: 'forks',
          testTimeout: 20_000,
          hookTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: 'test/testbed/global-setup.ts',
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // After the others: two engines and their clients need the processors for themselves.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
