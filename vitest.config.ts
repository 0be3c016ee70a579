import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/compile.ts',
    // A process per file: the addon's crashes, signals and environments are then one file's, and are seen as
    // its failure.
    pool: 'forks',
    // More than there are cores: most tests wait for timeouts and children for most of their time.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    // More than any wait in a test, which says what it waited for.
    testTimeout: 75_000,
    hookTimeout: 60_000,
  },
})
