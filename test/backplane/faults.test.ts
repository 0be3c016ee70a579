/** `npm run faults` on one of its faults: what is lost is counted and told, and memory has a bound. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { whyMissing } from '../support/brokers.js'
import { Running } from '../support/child.js'
import { temporaryFolder } from '../support/command.js'

const SCRIPT = fileURLToPath(new URL('../../scripts/faults.mjs', import.meta.url))
const missing = process.platform === 'linux' ? (whyMissing('redis-server') ?? whyMissing('nats-server')) : 'setpriv is of Linux'
const skipped = missing === undefined ? '' : ` (skipped: ${missing})`

/** Of scripts/faults/run.mjs, which is JavaScript. */
interface Row {
  readonly published: number
  readonly lost: number
  readonly missing: number
  readonly dropped: number
  readonly pendingBytes: number
  readonly broken: readonly string[]
}

describe.skipIf(missing !== undefined)(`a burst of 100,000 messages${skipped}`, () => {
  test('loses what is beyond maxPendingBytes, which is counted and told, and nothing else', { timeout: 120_000 }, async () => {
    const file = join(temporaryFolder(), 'rows.json')
    const running = new Running([
      ...[process.execPath, SCRIPT, '--compiled', '--promises', 'redis-pubsub,nats-jetstream'],
      ...['--faults', 'burst', '--json', file],
    ])
    onTestFinished(async () => {
      running.process.kill('SIGTERM')
      await running.result()
    })
    await once(running.process, 'exit')
    const { stdout, stderr } = await running.result()
    expect(stderr).toBe('')
    const rows = JSON.parse(readFileSync(file, 'utf8')) as Row[]
    expect(rows.length, stdout).toBe(2)
    for (const row of rows) {
      expect(row.broken, stdout).toEqual([])
      expect(row.pendingBytes).toBeLessThanOrEqual(2 ** 24)
      expect(row.published).toBeGreaterThan(100_000)
      expect([row.missing, row.dropped]).toEqual([row.lost, row.lost])
      expect(row.lost).toBeGreaterThan(0)
    }
  })
})
