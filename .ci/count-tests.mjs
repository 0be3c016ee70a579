/**
 * Adds up the reports named on the command line: Vitest's JSON (`.json`) and TAP (`.tap`). Prints a line for
 * each, with the number of tests that have passed on each engine and those that have passed on one of them
 * only, and the sum. Exits 1 when a test failed, or when a report is missing or incomplete.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import process from 'node:process'

/**
 * @typedef {{ passed: number, failed: number, skipped: number, titles: string[] }} Counts titles: of what
 *   passed
 */

const ENGINES = ['native', 'portable']

/** @type {Counts} */
const sum = { passed: 0, failed: 0, skipped: 0, titles: [] }
let complete = true
for (const file of process.argv.slice(2)) {
  try {
    const content = readFileSync(file, 'utf8')
    const counts = file.endsWith('.tap') ? countTap(content) : countVitest(JSON.parse(content))
    const onEach = ENGINES.map((engine) => ({ engine, titles: titlesOn(engine, counts) })).filter(({ titles }) => titles.size > 0)
    const byEngine = onEach.map(({ engine, titles }) => `${engine}: ${titles.size}`).join(', ')
    console.log(`${basename(file)}: ${inWords(counts)}${byEngine && ` (${byEngine})`}`)
    if (onEach.length === ENGINES.length) printDifferences(onEach)
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
function enginesOf(counts) {
  return ENGINES.filter((engine) => titlesOn(engine, counts).size > 0).join(', ')
}

/**
 * What has passed on one engine, without its name.
 * @param {string} engine
 * @param {Counts} counts
 */
function titlesOn(engine, { titles }) {
  const mark = ` [${engine}]`
  return new Set(titles.filter((title) => title.includes(mark)).map((title) => title.replace(mark, '')))
}

/**
 * The engines behave alike but for what docs/engines.md says: a test of one of them alone is such a
 * difference, or a test that was skipped.
 * @param {{ engine: string, titles: Set<string> }[]} onEach
 */
function printDifferences(onEach) {
  for (const { engine, titles } of onEach) {
    const others = onEach.filter((one) => one.engine !== engine)
    for (const title of titles) if (others.some((one) => !one.titles.has(title))) console.log(`  only ${engine}: ${title}`)
  }
}

/** @param {Counts} counts */
function inWords({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

/**
 * A file that fails outside its tests counts as one failure, and so does an error that belongs to no test.
 * @param {{ success: boolean, testResults: { status: string, assertionResults: { status: string, fullName:
 *   string }[] }[] }} report
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
