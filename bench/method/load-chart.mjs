/** One SVG picture for people: what a message costs each server, over the messages that it has a second. */
import { contenderNamed } from './contenders.mjs'
import { RATES, workNamed } from './works.mjs'

const WIDTH = 860
const PANEL_HEIGHT = 300
const LEFT = 60
const RIGHT = 190
const COLOURS = ['#94a3b8', '#c2410c', '#a16207', '#0f766e', '#1d4ed8', '#6d28d9', '#be185d', '#334155']

/**
 * A panel for ws and one for wss; empty where the run has no work at a given rate.
 * @param {import('./report.mjs').Results} results
 */
export function toLoadSvg(results) {
  const panels = ['ws', 'wss'].flatMap((scheme) => {
    const works = RATES.map((rate) => results.works.find(({ id }) => id === `${scheme}-20-at-${rate}`))
    return works.some((work) => work === undefined) ? [] : [{ scheme, works: works.flatMap((work) => work ?? []) }]
  })
  if (panels.length === 0) return ''
  const height = panels.length * PANEL_HEIGHT + 20
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#0f172a">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...panels.flatMap(({ scheme, works }, i) => panel(i * PANEL_HEIGHT + 10, scheme, works)),
    '</svg>',
    '',
  ].join('\n')
}

/** @param {number} top @param {string} scheme @param {import('./report.mjs').Results['works']} works */
function panel(top, scheme, works) {
  const lines = linesOf(works)
  const most = Math.max(...lines.flatMap(({ points }) => points.map(({ cost }) => cost)))
  const bottom = top + PANEL_HEIGHT - 40
  /** @param {number} index */
  const x = (index) => LEFT + (index / (RATES.length - 1)) * (WIDTH - LEFT - RIGHT)
  /** @param {number} cost */
  const y = (cost) => bottom - (cost / most) * (PANEL_HEIGHT - 80)
  const parts = [
    text(LEFT, top + 18, `${scheme}, echo of 20 B: server CPU for a message, µs; less is better`, 'font-weight="bold"'),
  ]
  for (let i = 0; i <= 4; i++) {
    const cost = (most * i) / 4
    parts.push(`<path d="M${LEFT} ${round(y(cost))}H${WIDTH - RIGHT}" stroke="#e2e8f0"/>`)
    parts.push(text(LEFT - 8, round(y(cost)) + 4, cost.toFixed(0), 'text-anchor="end"'))
  }
  for (const [index, rate] of RATES.entries())
    parts.push(text(round(x(index)), bottom + 18, `${rate.toLocaleString('en')}/s`, 'text-anchor="middle"'))
  // Names that would overlap are moved down.
  let last = Number.NEGATIVE_INFINITY
  const byEnd = [...lines].sort((a, b) => (b.points.at(-1)?.cost ?? 0) - (a.points.at(-1)?.cost ?? 0))
  for (const { title, colour, own, points } of byEnd) {
    const path = points.map(({ index, cost }, i) => `${i ? 'L' : 'M'}${round(x(index))} ${round(y(cost))}`).join('')
    parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="${own ? 3 : 1.5}"/>`)
    last = Math.max(last + 14, y(points.at(-1)?.cost ?? 0) + 4)
    parts.push(text(WIDTH - RIGHT + 10, round(last), title, `fill="${colour}"${own ? ' font-weight="bold"' : ''}`))
  }
  return parts
}

/** @param {import('./report.mjs').Results['works']} works */
function linesOf(works) {
  const names = works[0]?.outcomes.map(({ contender }) => contender) ?? []
  return names.flatMap((name, i) => {
    const points = works.flatMap(({ id, outcomes }) => {
      const figure = outcomes.find(({ contender }) => contender === name)?.figure
      return figure ? [{ index: RATES.indexOf(workNamed(id).rate ?? Number.NaN), cost: figure.median }] : []
    })
    const line = { title: contenderNamed(name).title, colour: COLOURS[i % COLOURS.length] ?? '', own: name === 'native', points }
    return points.length > 0 ? [line] : []
  })
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10

/** @param {number} left @param {number} baseline @param {string} content @param {string} [attributes] */
function text(left, baseline, content, attributes = '') {
  const escaped = content.replace(/&/g, '&amp;').replace(/</g, '&lt;')
  return `<text x="${left}" y="${baseline}" ${attributes}>${escaped}</text>`
}
