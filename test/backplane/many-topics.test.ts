/**
 * Many topics of one server, through each engine on a broker: each gets a message in one turn, which makes
 * as many envelopes; and again when the broker was lost. With TOPICS=100000 in the environment, so many.
 */
import process from 'node:process'
import { describe, expect, onTestFinished, test } from 'vitest'
import { BackplaneLink } from '../../src/backplane/link.js'
import { nats } from '../../src/backplane/nats.js'
import { redis } from '../../src/backplane/redis.js'
import type { BackplaneEngine } from '../../src/index.js'
import { Broker, whyMissing } from '../support/brokers.js'

const COUNT = Number(process.env.TOPICS ?? 5_000)

/** What a turn publishes waits until it has ended: an envelope for each topic. */
const maxPendingBytes = 2 ** 26

const BROKERS: Record<'redis-server' | 'nats-server', Record<string, (url: string) => BackplaneEngine>> = {
  'redis-server': {
    'Redis Pub/Sub': (url) => redis({ url, maxPendingBytes }),
    'Redis Streams': (url) => redis({ url, maxPendingBytes, delivery: 'replayed' }),
  },
  'nats-server': {
    'NATS core': (servers) => nats({ servers, maxPendingBytes }),
    JetStream: (servers) => nats({ servers, maxPendingBytes, delivery: 'replayed' }),
  },
}

const topicOf = (n: number) => `topic ${n}`

/** A server's link, without the server. */
async function linkTo(backplane: BackplaneEngine, topics: number) {
  const came: string[] = []
  const errors: string[] = []
  const link = new BackplaneLink(backplane, {
    publishHere: (_, payload) => came.push(payload.toString()),
    report: (error) => errors.push(error.message),
    answer: () => 0,
  })
  onTestFinished(() => link.close())
  for (let n = 0; n < topics; n++) link.subscribed(topicOf(n))
  await link.start()
  return { link, came, errors }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((next) => setTimeout(next, 5))
}

/** With TOPICS in the environment, it is printed. */
class Stopwatch {
  readonly #name: string
  #begun = performance.now()

  constructor(name: string) {
    this.#name = name
  }

  lap(what: string): void {
    const now = performance.now()
    const memory = Math.round(process.memoryUsage().rss / 1e6)
    if (process.env.TOPICS !== undefined) {
      console.log(`${this.#name}, ${COUNT} topics: ${what} ${Math.round(now - this.#begun)} ms; process ${memory} MB`)
    }
    this.#begun = performance.now()
  }
}

for (const [program, ways] of Object.entries(BROKERS) as [keyof typeof BROKERS, (typeof BROKERS)['nats-server']][]) {
  const missing = whyMissing(program)
  describe.skipIf(missing !== undefined)(`many topics${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
    test.each(Object.entries(ways))('through %s each get their message, before and after an outage', async (name, make) => {
      const broker = await Broker.start(program, program === 'nats-server' ? ['-js'] : [])
      const stopwatch = new Stopwatch(name)
      const a = await linkTo(make(broker.url), 0)
      stopwatch.lap('before, with one server')
      const b = await linkTo(make(broker.url), COUNT)
      stopwatch.lap('subscribed')
      const expected = Array.from({ length: COUNT }, (_, n) => `${n}`.padStart(20, '0'))
      const publish = async () => {
        b.came.length = 0
        for (const [n, payload] of expected.entries()) {
          a.link.publish(topicOf(n), { payload, compress: undefined, isText: true })
        }
        await until(() => b.came.length >= COUNT)
        // In the order in which they were published, though each topic has an order of its own alone.
        expect(b.came.length).toBe(COUNT)
        expect(b.came.findIndex((payload, n) => payload !== expected[n])).toBe(-1)
        await until(() => a.link.metrics.pendingBytes === 0)
      }
      await publish()
      stopwatch.lap('a message each')
      expect([a.errors, b.errors]).toEqual([[], []])
      await broker.kill()
      await until(() => !a.link.isUp && !b.link.isUp)
      await broker.start()
      stopwatch.lap('outage')
      await until(() => a.link.isUp && b.link.isUp)
      stopwatch.lap('subscribed again')
      await publish()
      stopwatch.lap('a message each')
      expect(a.link.metrics).toMatchObject({ dropped: 0, reconnects: 1 })
      expect(b.link.metrics).toMatchObject({ missing: 0, foreign: 0, reconnects: 1 })
    })
  })
}
