/** Steps of a measurement that may fail. */
import { setTimeout as delay } from 'node:timers/promises'

/**
 * A contender that fails is out, and says why; the others go on.
 * @param {import('./measure.mjs').Outcome} outcome @param {(line: string) => void} say
 * @param {() => Promise<void>} step @param {{ readonly complaint: string }} [server]
 */
export async function attempt(outcome, say, step, server) {
  try {
    await step()
  } catch (error) {
    await delay(100) // a server that crashes is seen to have ended a moment later
    const reason = error instanceof Error ? error.message : String(error)
    outcome.failure = [reason, server?.complaint].filter(Boolean).join('; server: ')
    say(`  ${outcome.contender} is out: ${outcome.failure}`)
  }
}
