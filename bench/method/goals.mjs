/** What this server aims at, and how far a run has got there. */
import { contenderNamed } from './contenders.mjs'
import { spread } from './statistics.mjs'
import { RATES, workNamed, worksOf } from './works.mjs'

/**
 * @typedef {object} Goal what this server's figure may be at most, as a ratio to a rival's in the same round
 * @property {readonly string[]} works
 * @property {readonly (readonly [rival: string, ratio: number])[]} against
 * @property {number} [allowance] bytes beyond the first rival's, instead of a ratio
 * @property {string} [own] this server's contender, where that is not `native`
 * @property {'p50'} [of] median latency, instead of the work's own figure
 */

/**
 * @typedef {object} BackplaneGoal what this server's medians may be at most
 * @property {readonly string[]} works
 * @property {number} [publisher] µs of processor time for a message
 * @property {number} [added] how much of that the backplane adds
 * @property {number} [receiver] the same
 * @property {number} [bystander] the same
 * @property {number} [p50] milliseconds from `publish` to the client
 */

/** Columns of the table. */
const RIVALS = ['limit-epoll', 'uwebsockets', 'bun', 'ws', 'portable']

/** Those by which faces are compared with what they are faces of. */
const FACES = ['ws-20-text', 'ws-20-binary', 'ws-1k-text']

/** @type {readonly Goal[]} */
const GOALS = [
  { works: atRates('ws'), against: rivals(1.25, 0.95, 1) },
  { works: atRates('wss'), against: rivals(1.25, 1, 1.08) },
  { works: [...atRates('ws'), ...atRates('wss')], of: 'p50', against: rivals(Number.NaN, 1, 1.02).slice(1) },
  { works: ['ws-20-binary', 'ws-20-text'], against: rivals(1.07, 0.88, 0.95) },
  { works: ['wss-20-binary'], against: rivals(1.04, 1.02, 1.04) },
  { works: ['ws-16k-binary'], own: 'native-lending', against: rivals(1.15, 1, 0.65) },
  { works: ['wss-16k-binary'], own: 'native-lending', against: rivals(1.06, 1.05, 1.02) },
  { works: ['ws-1k-json-deflate', 'wss-1k-json-deflate'], against: rivals(1.06, 0.95, 0.95) },
  { works: ['ws-fan-out'], against: rivals(1.03, 0.98, 1) },
  { works: ['wss-fan-out'], against: rivals(0.95, 1.05, 1) },
  { works: ['ws-connect'], against: rivals(1.15, 0.95, 1.05) },
  { works: ['wss-connect'], against: rivals(1.25, 1, 0.95) },
  { works: ['ws-20-binary-latency', 'wss-20-binary-latency'], against: rivals(1.2, 1, 1) },
  { works: ['ws-idle'], against: rivals(Number.NaN, 1.5, 0.6), allowance: 700 },
  { works: ['wss-idle'], against: [['limit-epoll', 0.4]] },
  { works: FACES, own: 'face-ws', against: [['ws', 0.62]] },
  { works: FACES, own: 'face-uws', against: [['uwebsockets', 0.95]] },
  // TLS here for less than plain text there: 1 / 1.8.
  { works: ['wss-against-ws'], against: [['ws', 0.56]] },
]

/** µs for a message: nothing, as far as a run of a second can show. */
const NOTHING = 0.05

/** @type {readonly BackplaneGoal[]} */
const BACKPLANE_GOALS = [
  { works: flatOut('backplane-redis'), publisher: 3, receiver: 1.5, bystander: NOTHING },
  { works: flatOut('backplane-nats'), publisher: 2.6, receiver: 2, bystander: NOTHING },
  // In batches of 100, which is how such runs publish.
  { works: flatOut('threads-publish'), added: 0.6, bystander: NOTHING },
  {
    works: ['backplane-redis', 'backplane-nats', 'threads-publish'].flatMap((group) =>
      worksOf(group).filter((id) => workNamed(id).rate !== undefined),
    ),
    p50: 0.3,
  },
]

/** @param {string} group */
function flatOut(group) {
  return worksOf(group).filter((id) => workNamed(id).rate === undefined)
}

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
    const goals = GOALS.filter((one) => one.works.includes(id))
    return (goals.length > 0 ? goals : [undefined]).flatMap((goal) => rowOf(goal, id, outcomes))
  })
  if (rows.length === 0) return ''
  const head = ['', ...RIVALS.map((id) => `to ${contenderNamed(id).title}`)]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/**
 * A row of the table; none where the run says nothing about it.
 * @param {Goal | undefined} goal @param {string} id
 * @param {import('./report.mjs').Results['works'][number]['outcomes']} outcomes
 * @returns {string[][]}
 */
function rowOf(goal, id, outcomes) {
  const own = outcomes.find(({ contender }) => contender === (goal?.own ?? 'native'))
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
    if ((goal?.of === 'p50' || goal?.works === FACES) && !goal.against.some(([name]) => name === rival)) return ''
    const { median, q1, q3 } = ratio(own, other, goal?.of)
    const text = own.rounds.length > 1 ? `${median.toFixed(2)} (${q1.toFixed(2)} to ${q3.toFixed(2)})` : median.toFixed(2)
    return most === undefined ? text : verdict(text, Number(median.toFixed(2)) <= most, most.toFixed(2))
  })
  const what = [workNamed(id).title, goal?.own && contenderNamed(goal.own).title, goal?.of && 'median latency']
  return [[what.filter(Boolean).join(', '), ...cells]]
}

/**
 * A table of the goals for backplanes; empty where the run has none of them.
 * @param {import('./report.mjs').Results} results
 */
export function toBackplaneGoals({ works }) {
  const rows = works.flatMap(({ id, outcomes }) => {
    const goal = BACKPLANE_GOALS.find((one) => one.works.includes(id))
    const rounds = outcomes.find(({ contender }) => contender === 'native')?.rounds ?? []
    if (!goal || rounds.length === 0) return []
    /**
     * @param {number | undefined} most
     * @param {(round: import('./measure.mjs').Round) => number | undefined} pick
     */
    const cell = (most, pick) => {
      const { median } = spread(rounds.map((round) => pick(round) ?? Number.NaN))
      if (most !== undefined) return verdict(median.toFixed(2), Number(median.toFixed(2)) <= most, most.toFixed(2))
      // What a message costs when the machine sleeps between two of them is no goal.
      return workNamed(id).rate === undefined ? median.toFixed(2) : ''
    }
    return [
      [
        workNamed(id).title,
        cell(goal.publisher, ({ costs }) => costs?.publisher),
        cell(goal.added, ({ costs }) => costs && costs.publisher - (costs.alone ?? Number.NaN)),
        cell(goal.receiver, ({ costs }) => costs?.receiver),
        cell(goal.bystander, ({ costs }) => costs?.bystander),
        goal.p50 === undefined ? '' : cell(goal.p50, ({ latencyMicroseconds }) => (latencyMicroseconds.p50 ?? Number.NaN) / 1000),
      ],
    ]
  })
  if (rows.length === 0) return ''
  const head = [
    '',
    'to publish, CPU µs',
    'of which the backplane adds',
    'to receive, CPU µs',
    'without subscribers, CPU µs',
    'p50, ms',
  ]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** @param {string} text @param {boolean} met @param {string} most */
function verdict(text, met, most) {
  return `${met ? '' : '**'}${text}${met ? '' : '**'}; at most ${most}`
}

/**
 * Round by round. @param {import('./measure.mjs').Outcome} own @param {import('./measure.mjs').Outcome} other
 * @param {'p50'} [of]
 */
function ratio(own, other, of) {
  /** @param {import('./measure.mjs').Round} round */
  const figureOf = ({ figure, latencyMicroseconds }) => (of === 'p50' ? (latencyMicroseconds.p50 ?? Number.NaN) : figure)
  return spread(
    own.rounds.flatMap((round, i) => {
      const reference = other.rounds[i]
      return reference ? [figureOf(round) / figureOf(reference)] : []
    }),
  )
}
