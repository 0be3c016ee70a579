import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/compile.ts',
    // A process per file: the addon's crashes, signals and environments are then one file's, and are seen as
    // its failure.
    pool: 'forks',
    maxWorkers: '100%',
    // More than any wait in a test, which says what it waited for.
    testTimeout: 75_000,
    hookTimeout: 60_000,
  },
})
