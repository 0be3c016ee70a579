/**
 * Installs the programs of test/ecosystem, which no user of the package gets, and runs them on the faces of
 * this package. What follows goes to Node's test runner, for example `npm run ecosystem --
 * test/ecosystem/trpc.test.mjs`; with `--install` nothing is run. The report is build/reports/ecosystem.tap.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, openSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { buildDirectory, root } from './install/paths.mjs'

const folder = join(root, 'test', 'ecosystem')
const reports = join(buildDirectory, 'reports')

/**
 * Ends the process where a step fails.
 * @param {string} command
 * @param {string[]} parameters
 * @param {string} cwd
 * @param {'inherit' | number} output a descriptor, for the standard output
 */
function step(command, parameters, cwd, output = 'inherit') {
  const { status } = spawnSync(command, parameters, { cwd, stdio: ['inherit', output, 'inherit'] })
  if (status !== 0) process.exit(status ?? 1)
}

/** Whether npm has installed what the lock file says: npm writes a file of its own when it is done. */
function isInstalled() {
  const [done, lock] = ['node_modules/.package-lock.json', 'package-lock.json'].map((name) =>
    statSync(join(folder, name), { throwIfNoEntry: false }),
  )
  return done !== undefined && lock !== undefined && done.mtimeMs > lock.mtimeMs
}

// Their install scripts build optional parts that no test needs.
if (!isInstalled()) step('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], folder)
if (process.argv.includes('--install')) process.exit(0)
step('npm', ['run', '--silent', 'build:ts'], root)
mkdirSync(reports, { recursive: true })
const given = process.argv.slice(2)
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.test.mjs'))
  .map((name) => join(folder, name))
// Node writes to a file that is its standard output at once. What a reporter has left for a file of its own
// is lost when the runner ends by force, as it must: some of the programs leave timers behind.
const reporters = ['tap', 'spec'].flatMap((name, index) => [
  `--test-reporter=${name}`,
  `--test-reporter-destination=${['stdout', 'stderr'][index]}`,
])
// Two files at once: most of them wait for programs that start.
step(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-force-exit', ...reporters, ...(given.length > 0 ? given : files)],
  root,
  openSync(join(reports, 'ecosystem.tap'), 'w'),
)
