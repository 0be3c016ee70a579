/**
 * Three hosts and a broker, in network namespaces: what the promises say of faults, message by message.
 *
 * All promises share the processes and the faults here, which keeps the time to that of the faults. `npm run
 * hosts` has each promise alone, at a higher rate.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { whyMissing } from '../support/brokers.js'
import { Running } from '../support/child.js'
import { temporaryFolder } from '../support/command.js'

const SCRIPT = fileURLToPath(new URL('../../scripts/hosts.mjs', import.meta.url))

/** Of scripts/hosts/network.mjs and scripts/hosts/verdict.mjs, which are JavaScript. */
interface Row {
  readonly fault: 'link' | 'server' | 'killed' | 'stopped'
  readonly promise: string
  readonly published: readonly number[]
  readonly lost: readonly number[]
  readonly missing: readonly number[]
  readonly dropped: readonly number[]
  readonly repeated: number
  readonly reordered: number
  readonly down: readonly number[]
  readonly up: readonly number[]
  readonly gap: readonly number[]
  readonly delay: number
}
const { whyNoHosts } = (await import('../../scripts/hosts/network.mjs' as string)) as { whyNoHosts(): string | undefined }

const missing = whyMissing('redis-server') ?? whyMissing('nats-server') ?? whyNoHosts()
const skipped = missing === undefined ? '' : ` (skipped: ${missing})`
/** Milliseconds: it takes 30 s, and several times that on a machine that is busy. */
const TIME = 180_000
/** Servers that a fault hits, of three. */
const HIT = { link: 1, server: 0, killed: 3, stopped: 3 }

describe.skipIf(missing !== undefined)(`three hosts and a broker${skipped}`, () => {
  const title = 'lose what their promise says, and know of it'
  test(title, { timeout: TIME }, async () => {
    const file = join(temporaryFolder(), 'run.json')
    const running = new Running([
      ...[process.execPath, SCRIPT, '--together', '--compiled', '--rate', '50', '--downtime', '1000'],
      ...['--json', file],
    ])
    // It takes its hosts along, other than when it is killed.
    onTestFinished(async () => {
      running.process.kill('SIGTERM')
      await running.result()
    })
    await once(running.process, 'exit')
    const { stdout, stderr } = await running.result()
    expect(stderr).toBe('')
    const { rows, broken } = JSON.parse(readFileSync(file, 'utf8')) as { rows: Row[]; broken: string[] }
    expect(broken, stdout).toEqual([])
    expect(rows.length).toBe(16)
    for (const row of rows) {
      expect(row).toMatchObject({ repeated: 0, reordered: 0 })
      for (const published of row.published) expect(published).toBeGreaterThan(50)
      expect(row.down.length).toBe(HIT[row.fault])
      expect(row.up.length).toBe(HIT[row.fault])
      // Pings are sent each second, and not answered for two; the rest is this machine's.
      for (const milliseconds of row.down) expect(milliseconds).toBeLessThan(6000)
      const isReplayed = /streams|jetstream/.test(row.promise)
      if (isReplayed) {
        expect(row).toMatchObject({ lost: [0, 0, 0], missing: [0, 0, 0], dropped: [0, 0, 0], gap: [] })
        if (row.fault === 'link' || row.fault === 'stopped') expect(row.delay).toBeGreaterThan(3000)
      } else if (row.fault === 'server') {
        expect(row).toMatchObject({ lost: [0, 0, 0], missing: [0, 0, 0], dropped: [0, 0, 0], gap: [] })
      } else {
        for (const lost of row.lost) expect(lost).toBeGreaterThan(0)
        expect(row.missing).toEqual(row.lost)
        expect(row.gap.length).toBe(3)
      }
    }
  })
})
