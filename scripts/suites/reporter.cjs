/** A reporter for mocha of any version: results, as JSON, to the file that SUITE_RESULTS names. */
'use strict'
const { writeFileSync } = require('node:fs')
const process = require('node:process')

const DID_NOT_RUN = 'it did not run'

/**
 * @typedef {{ fullTitle(): string }} Test
 * @typedef {{ on(event: string, listener: (test: Test, error?: Error) => void): unknown,
 *   suite: { eachTest(visit: (test: Test) => void): void } }} Runner
 */

/** @param {Runner} runner */
module.exports = function report(runner) {
  /** @type {Map<string, string | null>} What failed, by title; null where nothing did. */
  const results = new Map()
  runner.suite.eachTest((test) => void results.set(test.fullTitle(), DID_NOT_RUN))
  runner.on('pending', (test) => void results.delete(test.fullTitle()))
  runner.on('pass', (test) => {
    if (results.get(test.fullTitle()) === DID_NOT_RUN) results.set(test.fullTitle(), null)
  })
  runner.on('fail', (test, error) => {
    const [what = ''] = String(error?.message ?? error)
      .trim()
      .split('\n', 1)
    const before = results.get(test.fullTitle())
    if (before === null || before === DID_NOT_RUN) results.set(test.fullTitle(), what)
  })
  process.on('exit', () => {
    if (process.env.SUITE_RESULTS !== undefined) writeFileSync(process.env.SUITE_RESULTS, JSON.stringify([...results]))
  })
}
