import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { attempt } from './attempt.mjs'
import { measureBackplane } from './backplane/measure.mjs'
import { contenderNamed, Server, takesPart } from './contenders.mjs'
import { shakeHands, startGenerator } from './generator.mjs'
import { measureMemory } from './memory.mjs'
import { spread } from './statistics.mjs'
import { canCount, MOST_COUNTED, systemCallsPerMessage } from './system-calls.mjs'

/**
 * @typedef {object} Load what the generator prints
 * @property {number} count
 * @property {number} seconds
 * @property {number} perSecond
 * @property {number} generatorCpuSeconds
 * @property {number} [serverCpuSeconds]
 * @property {number} notSent
 * @property {{ p50: number, p99: number }} [latenessMicroseconds]
 * @property {{ sent: number, received: number }} [bytesPerMessage]
 * @property {Record<string, number>} latencyMicroseconds
 */
/**
 * @typedef {object} Round
 * @property {number} figure what contenders are compared by
 * @property {number} cpuMicroseconds of the server, per unit
 * @property {number} generatorCpuMicroseconds per unit
 * @property {number} perSecond
 * @property {number} serverBusy share of the server's core that the server had
 * @property {number} generatorBusy the same for the generator
 * @property {Record<string, number>} latencyMicroseconds
 * @property {number} [rate] messages per second that were due
 * @property {number} [latenessMicroseconds] with a rate: how late the generator itself sent messages, 99th
 *   percentile
 * @property {{ sent: number, received: number }} [bytesPerMessage] with compression: payload bytes of a
 *   message and of its answer
 * @property {import('./backplane/members.mjs').Costs} [costs] with a backplane: what it costs whom
 */
/**
 * @typedef {object} Outcome one contender in one work
 * @property {string} contender
 * @property {boolean} tls
 * @property {Round[]} rounds
 * @property {number[]} ratios round by round: this contender's figure divided by the first one's in the same
 *   round
 * @property {import('./statistics.mjs').Spread} [figure]
 * @property {import('./statistics.mjs').Spread} [ratio]
 * @property {import('./statistics.mjs').Spread} [cpuRatio] the same of server CPU, where the figure is
 *   something else
 * @property {number} [peakMemory] bytes
 * @property {number} [systemCalls] for a unit, where they can be counted
 * @property {string} [failure] why there are no figures, or no more of them
 */
/**
 * @typedef {object} Settings
 * @property {number} rounds
 * @property {number} seconds
 * @property {number} warmUp
 * @property {readonly string[]} contenders
 */

/** How often a server answers as fast as it can before it is measured at a given rate. */
const FULL_LOADS = 3

/**
 * @param {import('./works.mjs').Work} work @param {Settings} settings @param {(line: string) => void} say
 * @returns {Promise<Outcome[]>}
 */
export async function measure(work, settings, say) {
  const entries =
    work.entries ??
    settings.contenders
      .filter((contender) => takesPart(contenderNamed(contender), work))
      .map((contender) => ({ contender, tls: work.tls }))
  const outcomes = entries.map((entry) => /** @type {Outcome} */ ({ ...entry, rounds: [], ratios: [] }))
  if (work.backplane) {
    await measureBackplane(work, work.backplane, settings, outcomes, say)
  } else if (work.figure === 'memory') {
    for (const outcome of outcomes) await attempt(outcome, say, () => measureMemory(work, outcome))
  } else {
    await measureRounds(work, settings, outcomes, say)
  }
  compare(work, outcomes)
  return outcomes
}

/**
 * @param {import('./works.mjs').Work} work
 * @param {Settings} settings
 * @param {Outcome[]} outcomes
 * @param {(line: string) => void} say
 */
async function measureRounds(work, settings, outcomes, say) {
  /** @type {Map<Outcome, Server>} */
  const servers = new Map()
  /** Messages per second that the first contender has done. @type {number[]} */
  const saturations = []
  try {
    for (const outcome of outcomes) {
      await attempt(outcome, say, async () => {
        servers.set(outcome, await Server.start(contenderNamed(outcome.contender), work.serverMode, outcome.tls))
      })
    }
    // Rounds that are thrown away: by their end, what compiles while it runs has been compiled. At a low rate
    // that would take minutes, and the end of their connections undoes some of it once. What a handshake runs
    // would be compiled, by other threads of the server, in the middle of many later rounds.
    if (work.rate !== undefined) {
      for (const outcome of outcomes) await withServer(outcome, (server) => shakeHands(work, server, outcome.tls))
    }
    for (let i = 0; i < (work.rate === undefined ? 1 : FULL_LOADS); i++) {
      for (const outcome of outcomes) {
        await withServer(outcome, async (server) => void (await generate(work, settings, server, outcome)))
      }
    }
    for (let round = 1; round <= settings.rounds; round++) {
      const halfRate = work.figure === 'p99' ? await halfOfSaturation() : undefined
      for (const outcome of outcomes) {
        await withServer(outcome, async (server) => {
          const load = await generate(work, settings, server, outcome, halfRate ?? work.rate)
          outcome.rounds.push(toRound(work, load, halfRate))
          outcome.peakMemory = server.memory('VmHWM')
        })
      }
      say(`  round ${round} of ${settings.rounds}`)
    }
    if (work.rate !== undefined && work.rate <= MOST_COUNTED && canCount())
      for (const outcome of outcomes) await withServer(outcome, (server) => countSystemCalls(work, server, outcome, say))
  } finally {
    for (const server of servers.values()) await server.stop()
  }

  /** @param {Outcome} outcome @param {(server: Server) => Promise<void>} step */
  async function withServer(outcome, step) {
    const server = servers.get(outcome)
    if (server && !outcome.failure) await attempt(outcome, say, () => step(server), server)
  }

  /**
   * The rate for a round. What the first contender that runs can do is measured anew at the start of each,
   * since machines drift; the median of the last three keeps one bad moment from deciding a round.
   */
  async function halfOfSaturation() {
    const first = outcomes.find((outcome) => !outcome.failure)
    if (first) {
      await withServer(first, async (server) => {
        saturations.push((await generate(work, settings, server, first)).perSecond)
      })
    }
    return Math.max(1, Math.round(spread(saturations.slice(-3)).median / 2) || 1)
  }
}

/**
 * In a load of its own, which strace makes slow. Without a figure where strace may not look into the server.
 *
 * @param {import('./works.mjs').Work} work @param {Server} server @param {Outcome} outcome
 * @param {(line: string) => void} say
 */
async function countSystemCalls(work, server, outcome, say) {
  // Long enough for strace, which comes when the connections are open.
  const rate = ['--rate', String(work.rate)]
  const child = startGenerator(work, server, outcome.tls, ['--warm-up', '1', '--seconds', '4', ...rate])
  child.stdout.resume()
  const ended = once(child, 'close')
  try {
    await delay(1000)
    outcome.systemCalls = await systemCallsPerMessage(server.pid, work.rate ?? Number.NaN)
  } catch (error) {
    say(`  system calls of ${outcome.contender} were not counted: ${error instanceof Error ? error.message : error}`)
  }
  await ended
}

/**
 * @param {import('./works.mjs').Work} work
 * @param {Settings} settings
 * @param {Server} server
 * @param {Outcome} outcome
 * @param {number} [rate] messages per second; as many as are answered without it
 * @returns {Promise<Load>}
 */
async function generate(work, settings, server, outcome, rate) {
  const time = ['--warm-up', String(settings.warmUp), '--seconds', String(settings.seconds), '--watch', String(server.pid)]
  const more = [...(contenderNamed(outcome.contender).load ?? []), ...(rate ? ['--rate', String(rate)] : [])]
  const child = startGenerator(work, server, outcome.tls, [...time, ...more])
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (errors += text))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(errors.trim() || `the generator ended with ${code}`)
  return JSON.parse(output)
}

/** @param {import('./works.mjs').Work} work @param {Load} load @param {number} [rate] @returns {Round} */
function toRound(work, load, rate) {
  if (load.count === 0) throw new Error('nothing came back in time')
  const cpuMicroseconds = ((load.serverCpuSeconds ?? Number.NaN) / load.count) * 1e6
  return {
    figure: work.figure === 'p99' ? (load.latencyMicroseconds.p99 ?? Number.NaN) : cpuMicroseconds,
    cpuMicroseconds,
    generatorCpuMicroseconds: (load.generatorCpuSeconds / load.count) * 1e6,
    perSecond: load.perSecond,
    serverBusy: (load.serverCpuSeconds ?? Number.NaN) / load.seconds,
    generatorBusy: load.generatorCpuSeconds / load.seconds,
    latencyMicroseconds: load.latencyMicroseconds,
    ...(rate !== undefined && { rate }),
    ...(load.latenessMicroseconds && { latenessMicroseconds: load.latenessMicroseconds.p99 }),
    ...(load.bytesPerMessage && { bytesPerMessage: load.bytesPerMessage }),
  }
}

/** @param {import('./works.mjs').Work} work @param {Outcome[]} outcomes */
function compare(work, outcomes) {
  const first = outcomes.find((outcome) => outcome.rounds.length > 0)
  for (const outcome of outcomes) {
    if (outcome.rounds.length === 0 || !first) continue
    /** @param {(round: Round) => number} pick */
    const ratios = (pick) =>
      outcome.rounds.flatMap((round, i) => {
        const reference = first.rounds[i]
        return reference ? [pick(round) / pick(reference)] : []
      })
    outcome.figure = spread(outcome.rounds.map((round) => round.figure))
    outcome.ratios = ratios((round) => round.figure)
    if (outcome.ratios.length === 0) continue
    outcome.ratio = spread(outcome.ratios)
    if (work.figure === 'p99') outcome.cpuRatio = spread(ratios((round) => round.cpuMicroseconds))
  }
}
