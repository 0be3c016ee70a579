/** What has changed between two results files. */
import { contenderNamed } from './contenders.mjs'
import { workNamed } from './works.mjs'

/**
 * Ratios to the first contender are compared, not times: times drift with the machine. A change is called one
 * when the quartiles do not overlap.
 * @param {import('./report.mjs').Results} before @param {import('./report.mjs').Results} after
 */
export function toComparison(before, after) {
  const rows = [
    ['work', 'contender', 'before', 'after', 'change', ''],
    ['---', '---', '---', '---', '---', '---'],
  ]
  for (const { id, outcomes } of after.works) {
    const earlier = before.works.find((work) => work.id === id)?.outcomes
    const work = workNamed(id)
    // Both must be compared with the same one.
    const comparable = earlier && first(earlier)?.contender === first(outcomes)?.contender
    for (const outcome of outcomes) {
      if (outcome === first(outcomes)) continue
      const old = comparable ? earlier?.find((one) => one.contender === outcome.contender && one.tls === outcome.tls) : undefined
      const name = contenderNamed(outcome.contender).title
      const p99 = work.figure === 'p99'
      if (outcome.ratio) rows.push([work.title + (p99 ? ': p99' : ''), name, ...change(old?.ratio, outcome.ratio)])
      if (outcome.cpuRatio) rows.push([`${work.title}: CPU`, name, ...change(old?.cpuRatio, outcome.cpuRatio)])
    }
  }
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/**
 * The one with which the others are compared. @param {readonly import('./measure.mjs').Outcome[]} outcomes
 */
function first(outcomes) {
  return outcomes.find((outcome) => outcome.rounds.length > 0)
}

/**
 * @param {import('./statistics.mjs').Spread | undefined} before
 * @param {import('./statistics.mjs').Spread} after
 */
function change(before, after) {
  if (!before) return ['', describe(after), '', 'not in the earlier results']
  const percent = (after.median / before.median - 1) * 100
  const apart = after.q1 > before.q3 ? 'worse' : after.q3 < before.q1 ? 'better' : 'within the noise'
  return [describe(before), describe(after), `${percent >= 0 ? '+' : ''}${percent.toFixed(1)} %`, apart]
}

/** @param {import('./statistics.mjs').Spread} ratio */
function describe({ median, q1, q3 }) {
  return `${median.toFixed(2)} (${q1.toFixed(2)} to ${q3.toFixed(2)})`
}
