/**
 * Installs the programs of test/ecosystem, which no user of the package gets, and runs them on the faces of
 * this package. What follows goes to Node's test runner, for example `npm run ecosystem --
 * test/ecosystem/trpc.test.mjs`. The report is build/reports/ecosystem.tap.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
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
 */
function step(command, parameters, cwd) {
  const { status } = spawnSync(command, parameters, { cwd, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

step('npm', ['run', '--silent', 'build:ts'], root)
// Their install scripts build optional parts that no test needs.
step('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], folder)
mkdirSync(reports, { recursive: true })
const given = process.argv.slice(2)
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.test.mjs'))
  .map((name) => join(folder, name))
const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout']
const kept = ['--test-reporter=tap', `--test-reporter-destination=${join(reports, 'ecosystem.tap')}`]
// Two files at once: most of them wait for programs that start. Some of those leave timers behind.
step(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-force-exit', ...reporters, ...kept, ...(given.length > 0 ? given : files)],
  root,
)
