/** Results as one SVG picture: for each work, each contender's ratio to the first. */
import { contenderNamed } from './contenders.mjs'
import { workNamed } from './works.mjs'

const WIDTH = 860
const NAME_WIDTH = 210
const BAR_HEIGHT = 16
const ROW = BAR_HEIGHT + 6
const TITLE_HEIGHT = 34
/** Bars longer than this ratio are cut, and say their value. */
const MOST = 5

/** @param {import('./report.mjs').Results} results */
export function toSvg(results) {
  /** @type {string[]} */
  const parts = []
  let y = 40
  for (const { id, outcomes } of results.works) {
    const work = workNamed(id)
    const names = outcomes.map(
      (outcome) => contenderNamed(outcome.contender).title + (work.entries ? (outcome.tls ? ', wss' : ', ws') : ''),
    )
    /**
     * @param {string} title
     * @param {(outcome: import('./measure.mjs').Outcome) => import('./statistics.mjs').Spread | undefined}
     *   pick
     */
    const addGroup = (title, pick) => {
      const bars = outcomes.flatMap((outcome, i) => {
        const ratio = pick(outcome)
        return ratio ? [{ name: names[i] ?? '', own: outcome.contender === 'native', ratio }] : []
      })
      if (bars.length > 0) y = drawGroup(parts, y, title, bars)
    }
    addGroup(work.title + (work.figure === 'p99' ? ': 99th percentile of the latency' : ''), ({ ratio }) => ratio)
    addGroup(`${work.title}: server CPU`, ({ cpuRatio }) => cpuRatio)
  }
  const first = NAME_WIDTH + x(1)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 10}" font-family="sans-serif" font-size="12" fill="#0f172a">`,
    `<rect width="${WIDTH}" height="${y + 10}" fill="#ffffff"/>`,
    text(16, 22, 'Cost relative to the first line of each group; less is better. The line through a bar spans the quartiles.'),
    `<path d="M${first} 40V${y}" stroke="#94a3b8" stroke-dasharray="3 3"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

/**
 * @param {string[]} parts @param {number} top @param {string} title
 * @param {readonly { name: string, own: boolean, ratio: import('./statistics.mjs').Spread }[]} bars
 * @returns {number} where the next group starts
 */
function drawGroup(parts, top, title, bars) {
  parts.push(text(16, top + 18, title, 'font-weight="bold"'))
  let y = top + TITLE_HEIGHT - 6
  for (const { name, own, ratio } of bars) {
    const { median, q1, q3 } = ratio
    const color = own ? '#c2410c' : '#64748b'
    parts.push(text(NAME_WIDTH - 8, y + 12, name, 'text-anchor="end"'))
    parts.push(`<rect x="${NAME_WIDTH}" y="${y}" width="${x(median)}" height="${BAR_HEIGHT}" fill="${color}"/>`)
    if (q3 > q1 && q1 < MOST) {
      const middle = y + BAR_HEIGHT / 2
      parts.push(`<path d="M${NAME_WIDTH + x(q1)} ${middle}H${NAME_WIDTH + x(q3)}" stroke="#0f172a" stroke-width="2"/>`)
    }
    parts.push(text(NAME_WIDTH + Math.max(x(median), x(q3)) + 6, y + 12, median.toFixed(2)))
    y += ROW
  }
  return y + 10
}

/** @param {number} ratio */
function x(ratio) {
  return Math.round((Math.min(ratio, MOST) / MOST) * (WIDTH - NAME_WIDTH - 60))
}

/** @param {number} left @param {number} baseline @param {string} content @param {string} [attributes] */
function text(left, baseline, content, attributes = '') {
  const escaped = content.replace(/&/g, '&amp;').replace(/</g, '&lt;')
  return `<text x="${left}" y="${baseline}" ${attributes}>${escaped}</text>`
}
