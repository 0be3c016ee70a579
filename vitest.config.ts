import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * The files that take longest, by the reports of whole runs: one of them that began last would run alone.
 * Vitest knows how long each has taken only where there has been a run before.
 */
const LONGEST = [
  'core/held-memory',
  'core/lifetime',
  'core/worker-threads',
  'package/platform-package',
  'app/clients',
  'package/install',
  'core/half-closing',
  'core/turns',
  'websocket/pausing',
  'backplane/redis-cluster',
  'backplane/hosts',
  'app/cli',
  'websocket/adopt',
  'package/package',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = LONGEST.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
      return place < 0 ? LONGEST.length : place
    }
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other))
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/compile.ts',
    // A process per file: the addon's crashes, signals and environments are then one file's, and are seen as
    // its failure.
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    // More than there are cores: most tests wait for timeouts and children for most of their time.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    // More than any wait in a test, which says what it waited for.
    testTimeout: 75_000,
    hookTimeout: 60_000,
  },
})
