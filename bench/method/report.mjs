/** Results as Markdown tables. */
import { contenderNamed } from './contenders.mjs'
import { toBackplaneGoals, toGoals } from './goals.mjs'
import { spread } from './statistics.mjs'
import { workNamed } from './works.mjs'

/** @type {Record<import('./works.mjs').Unit, string>} */
const PLURALS = {
  message: 'messages',
  delivery: 'deliveries',
  publication: 'publications',
  handshake: 'handshakes',
  connection: 'connections',
}

/**
 * @typedef {object} Results the contents of a results file
 * @property {1} format
 * @property {string} finished ISO 8601
 * @property {ReturnType<typeof import('./machine.mjs').describeMachine>} machine
 * @property {Record<string, string>} versions
 * @property {import('./measure.mjs').Settings} settings
 * @property {{ id: string, outcomes: import('./measure.mjs').Outcome[] }[]} works
 */

/** @param {Results} results */
export function toMarkdown(results) {
  const { machine, settings, versions } = results
  const goals = toGoals(results)
  const backplaneGoals = toBackplaneGoals(results)
  return [
    `Measured ${results.finished.slice(0, 10)} on ${machine.cpu}, ${machine.cores} cores, ${machine.kernel}; Node.js ${machine.node} (OpenSSL ${machine.nodeOpenSsl}), ` +
      `${machine.openSsl} for C++ and the addon, ${machine.compiler}. ${settings.rounds} rounds of ${settings.seconds} s each. ${Object.values(
        versions,
      )
        .filter((version, i, all) => all.indexOf(version) === i)
        .join(', ')}.`,
    ...(goals ? [`### This server's goals\n\nThe native engine's figure as a ratio to others'. Bold: not met.\n\n${goals}`] : []),
    ...(backplaneGoals
      ? [`### This server's goals for backplanes\n\nOf the native engine, medians. Bold: not met.\n\n${backplaneGoals}`]
      : []),
    ...results.works.map(({ id, outcomes }) => `### ${workNamed(id).title}\n\n${table(workNamed(id), outcomes)}`),
    ...partakers(results),
  ].join('\n\n')
}

/** Who does not take part everywhere, and why. @param {Results} results */
function partakers({ settings, works }) {
  return settings.contenders.flatMap((id) => {
    const { title, only } = contenderNamed(id)
    return only && works.some(({ outcomes }) => outcomes.some(({ contender }) => contender === id))
      ? [`${title} takes part in ${namesOf(only.works)} alone: ${only.because}.`]
      : []
  })
}

/** Titles of works, or the names of their groups. @param {readonly string[]} works */
function namesOf(works) {
  return [...new Set(works.map(workNamed).map(({ group, title }) => group ?? title))].join('; ')
}

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(outcome: import('./measure.mjs').Outcome) => string} cell
 */
/** @typedef {import('./measure.mjs').Round} Round */

/** @param {import('./works.mjs').Work} work @param {readonly import('./measure.mjs').Outcome[]} outcomes */
function table(work, outcomes) {
  const columns = work.backplane
    ? backplaneColumns(outcomes)
    : work.figure === 'memory'
      ? MEMORY_COLUMNS
      : timeColumns(work, outcomes)
  const rows = outcomes.map((outcome) => {
    const name = contenderNamed(outcome.contender).title + (work.entries ? (outcome.tls ? ', wss' : ', ws') : '')
    if (!outcome.figure) return [name, `failed: ${outcome.failure ?? 'no figures'}`, ...columns.slice(1).map(() => '')]
    return [name, ...columns.map(({ cell }) => cell(outcome))]
  })
  const head = ['', ...columns.map(({ title }) => title)]
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** @type {readonly Column[]} */
const MEMORY_COLUMNS = [
  { title: 'resident bytes per connection', cell: ({ figure }) => Math.round(figure?.median ?? Number.NaN).toLocaleString('en') },
  { title: 'ratio', cell: ({ ratio }) => ratio?.median.toFixed(2) ?? '' },
  { title: 'peak of the process, MiB', cell: ({ peakMemory }) => ((peakMemory ?? Number.NaN) / 2 ** 20).toFixed(0) },
]

/**
 * @param {import('./works.mjs').Work} work @param {readonly import('./measure.mjs').Outcome[]} outcomes
 * @returns {readonly Column[]}
 */
function timeColumns(work, outcomes) {
  const ofFirst = outcomes.flatMap(({ rounds }) => rounds).at(0)
  /** @param {number | undefined} value @returns {number} */
  const or = (value) => value ?? Number.NaN
  /** @type {Column[]} */
  const cpu = [
    { title: `server CPU µs per ${work.unit}`, cell: (outcome) => median(outcome, (round) => round.cpuMicroseconds).toFixed(2) },
    { title: 'ratio (quartiles)', cell: ({ ratio, cpuRatio }) => describe(cpuRatio ?? ratio) },
  ]
  /** @type {Column[]} */
  const latency = [
    { title: 'p99, ms', cell: (outcome) => milliseconds(median(outcome, (round) => round.figure)) },
    { title: 'ratio (quartiles)', cell: ({ ratio }) => describe(ratio) },
    ...cpu,
    { title: 'due per second', cell: (outcome) => count(median(outcome, (round) => or(round.rate))) },
  ]
  /** @type {Column[]} */
  const bytes = [
    {
      title: 'payload bytes, message / answer',
      cell: (outcome) =>
        `${median(outcome, (round) => or(round.bytesPerMessage?.sent))} / ${median(outcome, (round) => or(round.bytesPerMessage?.received)).toFixed(0)}`,
    },
  ]
  /** @type {Column[]} */
  const lateness = [
    {
      title: 'generator late, p99, ms',
      cell: (outcome) => milliseconds(median(outcome, (round) => or(round.latenessMicroseconds))),
    },
  ]
  return [
    ...(work.figure === 'p99' ? latency : cpu),
    { title: `${PLURALS[work.unit]} per second`, cell: (outcome) => count(median(outcome, (round) => round.perSecond)) },
    {
      title: 'p50 / p99 / p99.9 / max, ms',
      cell: (outcome) =>
        ['p50', 'p99', 'p99.9', 'max']
          .map((name) => milliseconds(median(outcome, (round) => or(round.latencyMicroseconds[name]))))
          .join(' / '),
    },
    {
      title: 'server / generator busy',
      cell: (outcome) =>
        `${percent(median(outcome, (round) => round.serverBusy))} / ${percent(median(outcome, (round) => round.generatorBusy))}`,
    },
    ...(outcomes.some(({ systemCalls }) => systemCalls !== undefined)
      ? [
          {
            title: 'system calls',
            cell: (/** @type {import('./measure.mjs').Outcome} */ { systemCalls }) => systemCalls?.toFixed(1) ?? '',
          },
        ]
      : []),
    {
      title: 'generator CPU µs',
      cell: (outcome) => median(outcome, (round) => round.generatorCpuMicroseconds).toFixed(2),
    },
    ...(work.figure === 'p99' ? lateness : []),
    ...(ofFirst?.bytesPerMessage ? bytes : []),
  ]
}

/**
 * CPU in µs for a message, of each who has a part.
 * @param {readonly import('./measure.mjs').Outcome[]} outcomes
 * @returns {readonly Column[]}
 */
function backplaneColumns(outcomes) {
  /** @param {keyof import('./backplane/members.mjs').Costs} name @param {string} title @returns {Column[]} */
  const cost = (name, title) =>
    outcomes.some(({ rounds }) => rounds.some(({ costs }) => costs?.[name] !== undefined))
      ? [{ title, cell: (outcome) => decimals(median(outcome, ({ costs }) => costs?.[name] ?? Number.NaN)) }]
      : []
  return [
    ...cost('publisher', 'publisher CPU µs'),
    ...cost('alone', 'without a backplane, CPU µs'),
    ...cost('receiver', 'receiver CPU µs'),
    ...cost('broker', 'broker CPU µs'),
    ...cost('bystander', 'without subscribers, CPU µs'),
    ...cost('rest', 'other threads, CPU µs'),
    { title: 'publisher and receiver, ratio (quartiles)', cell: ({ ratio }) => describe(ratio) },
    { title: 'messages per second', cell: (outcome) => count(median(outcome, (round) => round.perSecond)) },
    {
      title: 'p50 / p99 / p99.9 / max, ms',
      cell: (outcome) =>
        ['p50', 'p99', 'p99.9', 'max']
          .map((name) => milliseconds(median(outcome, (round) => round.latencyMicroseconds[name] ?? Number.NaN)))
          .join(' / '),
    },
    { title: 'publisher busy', cell: (outcome) => percent(median(outcome, (round) => round.serverBusy)) },
  ]
}

/** @param {import('./measure.mjs').Outcome} outcome @param {(round: Round) => number} pick */
function median({ rounds }, pick) {
  return spread(rounds.map(pick)).median
}

/** @param {import('./statistics.mjs').Spread | undefined} ratio */
function describe(ratio) {
  return ratio ? `${ratio.median.toFixed(2)} (${ratio.q1.toFixed(2)} to ${ratio.q3.toFixed(2)})` : ''
}

/** @param {number} value empty where there is none */
function decimals(value) {
  return Number.isNaN(value) ? '' : value.toFixed(2)
}

/** @param {number} value */
function count(value) {
  return Math.round(value).toLocaleString('en')
}

/** @param {number} microseconds */
function milliseconds(microseconds) {
  return (microseconds / 1000).toFixed(microseconds < 10_000 ? 2 : 1)
}

/** @param {number} share */
function percent(share) {
  return `${Math.round(share * 100)} %`
}
