/** What has changed between two results files. */
import { contenderNamed } from './contenders.mjs'
import { workNamed } from './works.mjs'

/**
 * Ratios to the first contender are compared, not times: times drift with the machine. A change is called one when the
 * quartiles do not overlap.
 * @param {import('./report.mjs').Results} before @param {import('./report.mjs').Results} after
 */
export function toComparison(before, after) {
  const rows = [
    ['work', 'contender', 'before', 'after', 'change', ''],
    ['---', '---', '---', '---', '---', '---'],
  ]
  for (const { id, outcomes } of after.works) {
    const earlier = before.works.find((work) => work.id === id)?.outcomes
    for (const outcome of outcomes.slice(1)) {
      const old = earlier?.find((other) => other.contender === outcome.contender && other.tls === outcome.tls)
      // Both must be compared with the same one.
      if (!old?.ratio || !outcome.ratio || earlier?.[0]?.contender !== outcomes[0]?.contender) continue
      const change = (outcome.ratio.median / old.ratio.median - 1) * 100
      const apart = outcome.ratio.q1 > old.ratio.q3 ? 'worse' : outcome.ratio.q3 < old.ratio.q1 ? 'better' : 'within the noise'
      rows.push([
        workNamed(id).title,
        contenderNamed(outcome.contender).title,
        describe(old.ratio),
        describe(outcome.ratio),
        `${change >= 0 ? '+' : ''}${change.toFixed(1)} %`,
        apart,
      ])
    }
  }
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** @param {import('./statistics.mjs').Spread} ratio */
function describe({ median, q1, q3 }) {
  return `${median.toFixed(2)} (${q1.toFixed(2)} to ${q3.toFixed(2)})`
}
