/** Measures this server against its peers. `node bench.mjs --help` says what can be chosen. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { brokerVersion } from './method/backplane/brokers.mjs'
import { toSvg } from './method/chart.mjs'
import { toComparison } from './method/comparison.mjs'
import { addBaseline, CONTENDERS, contenderNamed, takesPart, versionOf } from './method/contenders.mjs'
import { toLoadSvg } from './method/load-chart.mjs'
import { describeMachine } from './method/machine.mjs'
import { measure } from './method/measure.mjs'
import { resultsDirectory } from './method/places.mjs'
import { prepare } from './method/prepare.mjs'
import { toMarkdown } from './method/report.mjs'
import { GROUPS, WORKS, worksNamed } from './method/works.mjs'

const HELP = `usage: npm run bench -- [option ...]
  --quick             few works, contenders and rounds: an impression in under 90 seconds
  --works A,B         of ${WORKS.map((work) => work.id).join(', ')};
                      ${GROUPS.join(', ')} are all works whose names begin so
  --contenders A,B    of ${CONTENDERS.map((contender) => contender.id).join(', ')}; the first is what the others are compared with
  --rounds N          rounds that count, after one that does not (15; quick: 3)
  --seconds S         length of a round (1; quick: 0.5)
  --out NAME          results/NAME.json, .md and .svg, and of given rates .load.svg (latest)
  --baseline DIR      add another checkout of this project, installed there, as the contender "baseline"; a second
                      and third --baseline are "baseline-2" and "baseline-3"
  --compare FILE      show what has changed since another run's JSON file
`

/** Seconds of each round that are not measured. */
const WARM_UP = 0.2

async function main() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      works: { type: 'string' },
      contenders: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      out: { type: 'string', default: 'latest' },
      baseline: { type: 'string', multiple: true, default: [] },
      compare: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return void console.log(HELP)
  const { quick } = values
  values.baseline.forEach(addBaseline)
  const works = values.works?.split(',').flatMap(worksNamed) ?? WORKS.filter((work) => !quick || work.quick)
  const contenders =
    values.contenders?.split(',').map((id) => contenderNamed(id).id) ??
    CONTENDERS.filter((contender) => (!quick || contender.quick) && works.some((work) => takesPart(contender, work))).map(
      (contender) => contender.id,
    )
  const settings = {
    rounds: positive('--rounds', values.rounds ?? (quick ? '3' : '15')),
    seconds: positive('--seconds', values.seconds ?? (quick ? '0.5' : '1')),
    warmUp: WARM_UP,
    contenders,
  }
  const before = values.compare === undefined ? undefined : JSON.parse(readFileSync(values.compare, 'utf8'))

  prepare(works)
  /** @type {import('./method/report.mjs').Results} */
  const results = {
    format: 1,
    finished: '',
    machine: describeMachine(),
    versions: { ...Object.fromEntries(contenders.map((id) => [id, versionOf(contenderNamed(id))])), ...brokerVersions(works) },
    settings,
    works: [],
  }
  mkdirSync(resultsDirectory, { recursive: true })
  const file = (/** @type {string} */ ending) => join(resultsDirectory, `${values.out}.${ending}`)
  for (const work of works) {
    console.error(work.title)
    results.works.push({ id: work.id, outcomes: await measure(work, settings, (line) => console.error(line)) })
    results.finished = new Date().toISOString()
    // After each work: an interrupted run keeps what it has.
    writeFileSync(file('json'), `${JSON.stringify(results, null, 1)}\n`)
    writeFileSync(file('md'), `${toMarkdown(results)}\n`)
    writeFileSync(file('svg'), toSvg(results))
    const load = toLoadSvg(results)
    if (load) writeFileSync(file('load.svg'), load)
  }
  console.log(toMarkdown(results))
  if (before) console.log(`\n${toComparison(before, results)}`)
  console.error(`\nWritten: ${file('json')}, .md and .svg`)
}

/** Of those that are installed. @param {readonly import('./method/works.mjs').Work[]} works */
function brokerVersions(works) {
  const brokers = new Set(works.flatMap(({ backplane }) => backplane?.broker ?? []))
  return Object.fromEntries(
    [...brokers].flatMap((broker) => ((version) => (version ? [[broker, version]] : []))(brokerVersion(broker))),
  )
}

/** @param {string} name @param {string} text */
function positive(name, text) {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`${name} must be a positive number, got "${text}"`)
  return value
}

try {
  await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
