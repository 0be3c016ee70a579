/**
 * Adds up the reports named on the command line: Vitest's JSON (`.json`) and TAP (`.tap`). Prints a line for
 * each, with the number of tests that have passed on each engine and those that have passed on one of them
 * only; at the end the names of those that failed, and the sum. Exits 1 when a test failed, or when a report
 * is missing or incomplete.
 */
import { readFileSync } from 'node:fs'
import { basename, relative } from 'node:path'
import process from 'node:process'

/**
 * @typedef {{ passed: number, failed: number, skipped: number, titles: string[], failures: string[] }}
 *   Counts titles: of what passed; failures: what failed, with its file
 */

const ENGINES = ['native', 'portable']

/** @type {Counts} */
const sum = { passed: 0, failed: 0, skipped: 0, titles: [], failures: [] }
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
    sum.failures.push(...counts.failures.map((failure) => `${basename(file)}: ${failure}`))
  } catch (error) {
    complete = false
    console.log(`${basename(file)}: no usable report: ${error instanceof Error ? error.message : error}`)
  }
}
for (const failure of sum.failures) console.log(`FAILED: ${failure}`)
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
 * @param {{ success: boolean, testResults: { name: string, status: string, assertionResults: { status:
 *   string, fullName: string }[] }[] }} report
 * @returns {Counts}
 */
function countVitest(report) {
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  const passed = tests.filter(({ status }) => status === 'passed')
  const failures = report.testResults.flatMap(({ name, status, assertionResults }) => {
    const failed = assertionResults
      .filter((test) => test.status === 'failed')
      .map(({ fullName }) => `${relative('', name)}: ${fullName}`)
    return status === 'failed' && failed.length === 0 ? [`${relative('', name)}, outside its tests`] : failed
  })
  const failedTests = tests.filter(({ status }) => status === 'failed').length
  if (failures.length === 0 && !report.success) failures.push('an error that belongs to no test')
  return {
    passed: passed.length,
    failed: failures.length,
    skipped: tests.length - passed.length - failedTests,
    titles: passed.map(({ fullName }) => fullName),
    failures,
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
  const failures = results.filter((line) => line.startsWith('not ok') && !/# skip/i.test(line))
  const failed = failures.length
  return { passed: results.length - skipped - failed, failed, skipped, titles: [], failures }
}
