/** Runs one work about a backplane: all contenders, round by round. */
import { attempt } from '../attempt.mjs'
import { contenderNamed } from '../contenders.mjs'
import { Members } from './members.mjs'

/**
 * @param {import('../works.mjs').Work} work @param {import('../works.mjs').Backplane} backplane
 * @param {import('../measure.mjs').Settings} settings @param {import('../measure.mjs').Outcome[]} outcomes
 * @param {(line: string) => void} say
 */
export async function measureBackplane(work, backplane, settings, outcomes, say) {
  /** @type {Map<import('../measure.mjs').Outcome, Members>} */
  const running = new Map()
  try {
    for (const outcome of outcomes) {
      await attempt(outcome, say, async () => {
        running.set(outcome, await Members.start(contenderNamed(outcome.contender), backplane))
      })
    }
    // The first round is thrown away, as with the other works.
    for (let round = 0; round <= settings.rounds; round++) {
      for (const outcome of outcomes) {
        const members = running.get(outcome)
        if (!members || outcome.failure) continue
        await attempt(
          outcome,
          say,
          async () => {
            const run = await members.run(settings, work.rate)
            if (round > 0) outcome.rounds.push(toRound(run, work.rate))
          },
          members,
        )
      }
      say(`  round ${round} of ${settings.rounds}`)
    }
  } finally {
    for (const members of running.values()) await members.stop()
  }
}

/**
 * @param {import('./members.mjs').Run} run @param {number} [rate]
 * @returns {import('../measure.mjs').Round}
 */
function toRound({ costs, perSecond, publisherBusy, latencyMicroseconds }, rate) {
  // Together, since a contender may save on one side what it spends on the other.
  const both = costs.publisher + costs.receiver
  return {
    figure: both,
    cpuMicroseconds: both,
    generatorCpuMicroseconds: Number.NaN,
    perSecond,
    serverBusy: publisherBusy,
    generatorBusy: Number.NaN,
    latencyMicroseconds,
    costs,
    ...(rate !== undefined && { rate }),
  }
}
