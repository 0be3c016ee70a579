/**
 * Faults of a broker and of a receiver, for each way of `redis` and `nats`: what was lost, what was counted
 * and told, and how much has waited. Fails where docs/scaling.md is contradicted. For Linux, with
 * redis-server, nats-server and setpriv.
 *
 *   npm run faults -- [--promises redis-pubsub,redis-streams,nats-core,nats-jetstream]
 *                     [--faults killed-1,killed-4,stopped,slow,burst,burst-roomy,receiver]
 *                     [--json FILE]
 */
import { writeFileSync } from 'node:fs'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { FAULTS, runFault } from './faults/run.mjs'
import { PROMISES } from './hosts/run.mjs'
import { compileTypeScript } from './install/typescript.mjs'
import { fail } from './test-build.mjs'

const names = /** @type {import('./faults/run.mjs').FaultName[]} */ (Object.keys(FAULTS))
const { values } = parseArgs({
  options: {
    promises: { type: 'string', default: PROMISES.join() },
    faults: { type: 'string', default: names.join() },
    json: { type: 'string' },
    compiled: { type: 'boolean', default: false },
  },
})
const promises = values.promises.split(',').map((name) => PROMISES.find((one) => one === name) ?? fail(`no promise: ${name}`))
const faults = values.faults.split(',').map((name) => names.find((one) => one === name) ?? fail(`no fault: ${name}`))
// Not in the tests, whose dist/ is in use.
if (!values.compiled) compileTypeScript()

/** @param {number} bytes */
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)

/** @type {import('./faults/run.mjs').Row[]} */
const rows = []
console.log(
  '| fault | through | published | lost | counted missing | counted dropped | publisher told | receiver told | waited, MiB | publisher’s memory, MiB more | all there after, s |',
)
console.log(`|${' --- |'.repeat(11)}`)
for (const fault of faults) {
  for (const promise of promises) {
    const row = await runFault(promise, fault)
    rows.push(row)
    const cells = [
      FAULTS[fault].title,
      promise,
      ...[row.published, row.lost, row.missing, row.dropped].map((count) => count.toLocaleString('en')),
      row.publisherTold.join(', ') || '–',
      row.receiverTold.join(', ') || '–',
      mebibytes(row.pendingBytes),
      mebibytes(row.rssGrowth),
      row.seconds.toFixed(1),
    ]
    console.log(`| ${cells.join(' | ')} |`)
    for (const sentence of row.broken) console.log(`NOT AS PROMISED: ${promise}, ${fault}: ${sentence}`)
  }
}
if (values.json) writeFileSync(values.json, JSON.stringify(rows))
process.exitCode = rows.some(({ broken }) => broken.length > 0) ? 1 : 0
