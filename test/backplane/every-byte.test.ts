/**
 * Many messages of all kinds and lengths through each way of each backplane, flat out: every byte arrives,
 * once and in order. A million for each engine, and fewer for its variants, or as many as MESSAGES says.
 */
import { once } from 'node:events'
import process from 'node:process'
import { describe, expect, test } from 'vitest'
import { ONE_ENGINE } from '../support/broker-members.js'
import { Broker, whyMissing } from '../support/brokers.js'
import { Child } from '../support/child.js'
import { AVAILABLE_ENGINES, type EngineName } from '../support/engines.js'
import { startCluster } from '../support/redis-cluster.js'

const COUNT = Number(process.env.MESSAGES ?? 1_000_000)
/** Where an engine comes another way: it takes a million as well, in as much time again. */
const COUNT_OF_VARIANT = Number(process.env.MESSAGES ?? 50_000)
/** Milliseconds: many times what they take. */
const timeFor = (count: number) => 60_000 + count / 2

/** What the two servers have counted. */
interface Counts {
  readonly published: number
  readonly delivered: number
  readonly dropped: number
  readonly missing: number
  readonly foreign: number
}

async function pass(engine: EngineName, way: string, url: string, count: number) {
  const child = new Child('every-byte.mjs', { args: [engine, way, url, `${count}`] })
  await once(child.process, 'exit')
  const { code, stdout, stderr } = await child.result()
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  // The fixture has compared the messages themselves.
  const result = JSON.parse(stdout) as { seconds: number; publisher: Counts; receiver: Counts }
  expect(result.publisher).toMatchObject({ delivered: 0, dropped: 0, missing: 0, foreign: 0 })
  expect(result.publisher.published).toBeGreaterThan(count)
  expect(result.receiver).toMatchObject({ published: 0, dropped: 0, missing: 0, foreign: 0 })
  expect(result.receiver.delivered).toBeGreaterThan(count)
  if (process.env.MESSAGES !== undefined) console.log(`${engine}, ${way}: ${count} in ${result.seconds} s`)
}

const BROKERS = {
  'redis-server': [
    ['redis-pubsub', COUNT],
    ['redis-streams', COUNT],
    ['threads-redis', COUNT_OF_VARIANT],
  ],
  'nats-server': [
    ['nats-core', COUNT],
    ['nats-jetstream', COUNT],
  ],
} as const

type Way = readonly [way: string, count: number]

for (const [program, ways] of Object.entries(BROKERS) as [keyof typeof BROKERS, readonly Way[]][]) {
  const missing = whyMissing(program)
  const skipped = missing === undefined ? '' : ` (skipped: ${missing})`
  describe.skipIf(missing !== undefined)(`every byte arrives, in order, through${skipped}`, () => {
    test.each(ways)(
      '%s',
      async (way, count) => {
        const broker = await Broker.start(program, program === 'nats-server' ? ['--jetstream'] : [])
        await pass(ONE_ENGINE, way, broker.url, count)
      },
      timeFor(COUNT),
    )
    if (program !== 'redis-server') return
    test(
      'redis-cluster',
      async () => {
        const nodes = await startCluster(3)
        await pass(ONE_ENGINE, 'redis-cluster', nodes.map(({ broker }) => broker.url).join(), COUNT_OF_VARIANT)
      },
      timeFor(COUNT_OF_VARIANT),
    )
  })
}

test.each(AVAILABLE_ENGINES)(
  'every byte arrives, in order, through threads on %s',
  (engine) => pass(engine, 'threads', '-', COUNT),
  timeFor(COUNT),
)
