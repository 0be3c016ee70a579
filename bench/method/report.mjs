/** Results as Markdown tables. */
import { ABSENT, contenderNamed } from './contenders.mjs'
import { spread } from './statistics.mjs'
import { workNamed } from './works.mjs'

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
  return [
    `Measured ${results.finished.slice(0, 10)} on ${machine.cpu}, ${machine.cores} cores, ${machine.kernel}; Node.js ${machine.node} (OpenSSL ${machine.nodeOpenSsl}), ` +
      `${machine.openSsl} for C++ and the addon, ${machine.compiler}. ${settings.rounds} rounds of ${settings.seconds} s each. ${Object.values(
        versions,
      )
        .filter((version, i, all) => all.indexOf(version) === i)
        .join(', ')}.`,
    ...results.works.map(({ id, outcomes }) => `### ${workNamed(id).title}\n\n${table(workNamed(id), outcomes)}`),
    ABSENT.map(({ title, reason }) => `Not measured: ${title} (${reason}).`).join('\n'),
  ].join('\n\n')
}

/** @param {import('./works.mjs').Work} work @param {readonly import('./measure.mjs').Outcome[]} outcomes */
function table(work, outcomes) {
  const columns = {
    cpu: [
      `server CPU µs per ${work.unit}`,
      'ratio (quartiles)',
      `${work.unit === 'delivery' ? 'deliverie' : work.unit}s per second`,
      'p50 / p99 / p99.9 / max, ms',
      'server / generator busy',
      `generator CPU µs`,
    ],
    p99: [
      'p99, ms',
      'ratio (quartiles)',
      'messages per second',
      'p50 / p99 / p99.9 / max, ms',
      'server / generator busy',
      'generator CPU µs',
    ],
    memory: ['resident bytes per connection', 'ratio', 'peak of the process, MiB'],
  }[work.figure]
  const rows = outcomes.map((outcome) => {
    const name = contenderNamed(outcome.contender).title + (work.entries ? (outcome.tls ? ', wss' : ', ws') : '')
    if (!outcome.figure) return [name, `failed: ${outcome.failure ?? 'no figures'}`, ...columns.slice(1).map(() => '')]
    return [name, ...cells(work, outcome)]
  })
  return [['', ...columns], columns.map(() => '---').concat('---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** @param {import('./works.mjs').Work} work @param {import('./measure.mjs').Outcome} outcome */
function cells(work, { rounds, figure, ratio, peakMemory }) {
  /** @param {(round: import('./measure.mjs').Round) => number} pick */
  const median = (pick) => spread(rounds.map(pick)).median
  const value = figure?.median ?? Number.NaN
  const ratioText = ratio ? `${ratio.median.toFixed(2)} (${ratio.q1.toFixed(2)} to ${ratio.q3.toFixed(2)})` : ''
  if (work.figure === 'memory') {
    return [
      Math.round(value).toLocaleString('en'),
      ratio?.median.toFixed(2) ?? '',
      ((peakMemory ?? Number.NaN) / 2 ** 20).toFixed(0),
    ]
  }
  const latency = ['p50', 'p99', 'p99.9', 'max'].map((name) =>
    milliseconds(median((round) => round.latencyMicroseconds[name] ?? Number.NaN)),
  )
  return [
    work.figure === 'p99' ? milliseconds(value) : value.toFixed(2),
    ratioText,
    Math.round(median((round) => round.perSecond)).toLocaleString('en'),
    latency.join(' / '),
    `${percent(median((round) => round.serverBusy))} / ${percent(median((round) => round.generatorBusy))}`,
    median((round) => round.generatorCpuMicroseconds).toFixed(2),
  ]
}

/** @param {number} microseconds */
function milliseconds(microseconds) {
  return (microseconds / 1000).toFixed(microseconds < 10_000 ? 2 : 1)
}

/** @param {number} share */
function percent(share) {
  return `${Math.round(share * 100)} %`
}
