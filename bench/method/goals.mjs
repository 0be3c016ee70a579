/** What this server aims at, and how far a run has got there. */
import { contenderNamed } from './contenders.mjs'
import { spread } from './statistics.mjs'
import { RATES, workNamed } from './works.mjs'

/**
 * @typedef {object} Goal what this server's figure may be at most, as a ratio to a rival's in the same round
 * @property {readonly string[]} works
 * @property {readonly (readonly [rival: string, ratio: number])[]} against
 * @property {number} [allowance] bytes beyond the first rival's, instead of a ratio
 */

/** Columns of the table. */
const RIVALS = ['limit-epoll', 'uwebsockets', 'bun', 'ws', 'portable']

/** @type {readonly Goal[]} */
const GOALS = [
  { works: atRates('ws'), against: rivals(1.25, 0.95, 1) },
  { works: atRates('wss'), against: rivals(1.25, 1, 1.08) },
  { works: ['ws-20-binary', 'ws-20-text'], against: rivals(1.07, 0.88, 0.95) },
  { works: ['wss-20-binary'], against: rivals(1.04, 1.02, 1.04) },
  { works: ['ws-16k-binary'], against: rivals(1.15, 1, 0.65) },
  { works: ['wss-16k-binary'], against: rivals(1.06, 1.05, 1.02) },
  { works: ['ws-1k-json-deflate', 'wss-1k-json-deflate'], against: rivals(1.06, 0.95, 0.95) },
  { works: ['ws-fan-out'], against: rivals(1.03, 0.98, 1) },
  { works: ['wss-fan-out'], against: rivals(0.95, 1.05, 1) },
  { works: ['ws-connect'], against: rivals(1.15, 0.95, 1.05) },
  { works: ['wss-connect'], against: rivals(1.25, 1, 0.95) },
  { works: ['ws-20-binary-latency', 'wss-20-binary-latency'], against: rivals(1.2, 1, 1) },
  { works: ['ws-idle'], against: rivals(Number.NaN, 1.5, 0.6), allowance: 700 },
  { works: ['wss-idle'], against: [['limit-epoll', 0.4]] },
  // TLS here for less than plain text there: 1 / 1.8.
  { works: ['wss-against-ws'], against: [['ws', 0.56]] },
]

/** @param {'ws' | 'wss'} scheme */
function atRates(scheme) {
  return RATES.map((rate) => `${scheme}-20-at-${rate}`)
}

/** @param {number} limit @param {number} uwebsockets @param {number} bun @returns {Goal['against']} */
function rivals(limit, uwebsockets, bun) {
  return [
    ['limit-epoll', limit],
    ['uwebsockets', uwebsockets],
    ['bun', bun],
  ]
}

/**
 * A table of the goals that the run says something about; empty without any. Its last column is about the
 * second engine: native is to beat it everywhere.
 * @param {import('./report.mjs').Results} results
 */
export function toGoals({ works }) {
  const rows = works.flatMap(({ id, outcomes }) => {
    const goal = GOALS.find((one) => one.works.includes(id))
    const own = outcomes.find(({ contender }) => contender === 'native')
    /** @param {string} rival */
    const measured = (rival) => outcomes.find(({ contender, rounds }) => contender === rival && rounds.length > 0)
    if (!own?.figure || !(goal?.against.some(([rival]) => measured(rival)) || measured('portable'))) return []
    const cells = RIVALS.map((rival) => {
      const other = measured(rival)
      if (!other?.figure) return ''
      const most = rival === 'portable' ? 1 : goal?.against.find(([name]) => name === rival)?.[1]
      if (goal?.allowance !== undefined && rival === 'limit-epoll') {
        const more = own.figure ? own.figure.median - other.figure.median : Number.NaN
        return verdict(`${Math.round(more)} B more`, more <= goal.allowance, `${goal.allowance}`)
      }
      const { median, q1, q3 } = ratio(own, other)
      const text = own.rounds.length > 1 ? `${median.toFixed(2)} (${q1.toFixed(2)} to ${q3.toFixed(2)})` : median.toFixed(2)
      return most === undefined ? text : verdict(text, Number(median.toFixed(2)) <= most, most.toFixed(2))
    })
    return [[workNamed(id).title, ...cells]]
  })
  if (rows.length === 0) return ''
  const head = ['', ...RIVALS.map((id) => `to ${contenderNamed(id).title}`)]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** @param {string} text @param {boolean} met @param {string} most */
function verdict(text, met, most) {
  return `${met ? '' : '**'}${text}${met ? '' : '**'}; at most ${most}`
}

/**
 * Round by round. @param {import('./measure.mjs').Outcome} own @param {import('./measure.mjs').Outcome} other
 */
function ratio(own, other) {
  return spread(
    own.rounds.flatMap(({ figure }, i) => {
      const reference = other.rounds[i]
      return reference ? [figure / reference.figure] : []
    }),
  )
}
