/**
 * Adds up the reports named on the command line: Vitest's JSON (`.json`) and TAP (`.tap`). Prints a line for each, with the
 * engines whose tests have passed in it, and the sum. Exits 1 when a test failed, or when a report is missing or incomplete.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import process from 'node:process'

/** @typedef {{ passed: number, failed: number, skipped: number, titles: string[] }} Counts titles: of what passed */

/** @type {Counts} */
const sum = { passed: 0, failed: 0, skipped: 0, titles: [] }
let complete = true
for (const file of process.argv.slice(2)) {
  try {
    const content = readFileSync(file, 'utf8')
    const counts = file.endsWith('.tap') ? countTap(content) : countVitest(JSON.parse(content))
    const engines = enginesOf(counts)
    console.log(`${basename(file)}: ${inWords(counts)}${engines && ` (${engines})`}`)
    for (const key of /** @type {const} */ (['passed', 'failed', 'skipped'])) sum[key] += counts[key]
    sum.titles.push(...counts.titles)
  } catch (error) {
    complete = false
    console.log(`${basename(file)}: no usable report: ${error instanceof Error ? error.message : error}`)
  }
}
console.log(`Engines tested: ${enginesOf(sum) || 'none'}`)
console.log(inWords(sum))
process.exit(complete && sum.failed === 0 && sum.passed > 0 ? 0 : 1)

/** @param {Counts} counts */
function enginesOf({ titles }) {
  return ['native', 'portable'].filter((engine) => titles.some((title) => title.includes(`[${engine}]`))).join(', ')
}

/** @param {Counts} counts */
function inWords({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

/**
 * A file that fails outside its tests counts as one failure, and so does an error that belongs to no test.
 * @param {{ success: boolean, testResults: { status: string, assertionResults: { status: string, fullName: string }[] }[] }} report
 * @returns {Counts}
 */
function countVitest(report) {
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  const passed = tests.filter(({ status }) => status === 'passed')
  const failedTests = tests.filter(({ status }) => status === 'failed').length
  const isBroken = (/** @type {typeof report.testResults[number]} */ { status, assertionResults }) =>
    status === 'failed' && assertionResults.every((test) => test.status !== 'failed')
  const failed = failedTests + report.testResults.filter(isBroken).length
  return {
    passed: passed.length,
    failed: failed === 0 && !report.success ? 1 : failed,
    skipped: tests.length - passed.length - failedTests,
    titles: passed.map(({ fullName }) => fullName),
  }
}

/**
 * @param {string} report
 * @returns {Counts}
 */
function countTap(report) {
  const results = report.split('\n').filter((line) => /^(not )?ok\b/.test(line))
  const [, planned] = /^1\.\.(\d+)/m.exec(report) ?? []
  if (planned === undefined) throw new Error('it has no plan (1..N), so it may have ended early')
  if (Number(planned) !== results.length) throw new Error(`it plans ${planned} tests and has ${results.length}`)
  const skipped = results.filter((line) => /# skip/i.test(line)).length
  const failed = results.filter((line) => line.startsWith('not ok') && !/# skip/i.test(line)).length
  return { passed: results.length - skipped - failed, failed, skipped, titles: [] }
}
