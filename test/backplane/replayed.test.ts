/** Engines that replay: what a server reads, and when. */
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { describe, expect, onTestFinished, test } from 'vitest'
import { nats } from '../../src/backplane/nats.js'
import { redis } from '../../src/backplane/redis.js'
import type { BackplaneEngine } from '../../src/index.js'
import { allUp, connected, join, ONE_ENGINE, receivedUntil } from '../support/broker-members.js'
import { Broker, whyMissing } from '../support/brokers.js'
import { Relay } from '../support/relay.js'
import { turns } from '../support/waiting.js'

const WAYS: Record<string, { program: 'redis-server' | 'nats-server'; args: string[]; make(port: number): BackplaneEngine }> = {
  'Redis Streams': {
    program: 'redis-server',
    args: [],
    make: (port) => redis({ url: `redis://127.0.0.1:${port}`, delivery: 'replayed', linger: 0 }),
  },
  JetStream: {
    program: 'nats-server',
    args: ['-js'],
    make: (port) => nats({ servers: `nats://127.0.0.1:${port}`, delivery: 'replayed', linger: 0 }),
  },
}

for (const [name, { program, args, make }] of Object.entries(WAYS)) {
  const missing = whyMissing(program)
  describe.skipIf(missing !== undefined)(`${name}${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
    /** Two servers that subscribe to "t", of which the second one's way to the broker can be cut. */
    async function pair() {
      const broker = await Broker.start(program, args)
      const relay = await Relay.to(broker.port)
      const [a, b] = [await join(ONE_ENGINE, make(broker.port)), await join(ONE_ENGINE, make(relay.port))]
      await connected(a, b)
      while (a.server.backplaneMetrics()?.members !== 2) await new Promise((next) => setTimeout(next, 5))
      return { a, b, relay }
    }

    test('a server without subscribers reads no messages, also after an outage, and answers questions', async () => {
      const { a, b, relay } = await pair()
      b.socket.unsubscribe('t')
      await turns(10)
      const publish = async () => {
        const before = relay.received
        for (let n = 0; n < 1000; n++) {
          a.server.publish('t', 'x'.repeat(1000))
          if (n % 100 === 0) await turns(1)
        }
        expect(await a.server.subscribersEverywhere('t')).toMatchObject({ count: 1, answered: 2 })
        return relay.received - before
      }
      expect(await publish()).toBeLessThan(50_000)
      relay.cut()
      expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
      a.server.publish('t', 'while cut off')
      relay.mend()
      await allUp(b)
      expect(await publish()).toBeLessThan(50_000)
      b.socket.subscribe('t')
      await connected(a, b)
      expect(b.server.backplaneMetrics()).toMatchObject({ gaps: 0, missing: 0, foreign: 0 })
      expect([a.errors.size, b.errors.size]).toEqual([0, 0])
    })

    test('a server whose last subscriber leaves and comes back gets each message once and in order', async () => {
      const { a, b } = await pair()
      let number = 0
      const timer = setInterval(() => a.server.publish('t', `${number++}`), 1)
      onTestFinished(() => clearInterval(timer))
      for (let n = 0; n < 30; n++) {
        b.socket.unsubscribe('t')
        await turns(n)
        b.socket.subscribe('t')
        while (b.client.messages.size < 5) await new Promise((next) => setTimeout(next, 2))
        const came = (await b.client.messages.take(b.client.messages.size, 'messages')).map(Number)
        expect(came).toEqual([...came].sort((one, other) => one - other))
        expect(new Set(came).size).toBe(came.length)
      }
      clearInterval(timer)
      a.server.publish('t', 'last')
      await receivedUntil(b, 'last')
      expect(b.server.backplaneMetrics()).toMatchObject({ gaps: 0, missing: 0, up: true, reconnects: 0 })
    })

    test.skipIf(name !== 'JetStream')('the broker keeps no place for a server whose last subscriber has left', async () => {
      const { a, b, relay } = await pair()
      for (let n = 0; n < 20; n++) {
        b.socket.unsubscribe('t')
        await turns(10)
        b.socket.subscribe('t')
        await connected(a, b)
      }
      const connection = await connect({ servers: `nats://127.0.0.1:${relay.port}` })
      onTestFinished(() => connection.close())
      const { consumers } = await jetstreamManager(connection)
      const places = async () => (await consumers.list('nws').next()).length
      // Two in which servers read; and for a moment those with which they have asked whether they may.
      while ((await places()) > 2) await new Promise((next) => setTimeout(next, 50))
      b.socket.unsubscribe('t')
      while ((await places()) > 1) await new Promise((next) => setTimeout(next, 50))
      expect(b.errors.size).toBe(0)
    })

    test('what was asked of all while a server was cut off is not done by it later', async () => {
      const { a, b, relay } = await pair()
      relay.cut()
      expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
      await a.server.disconnectEverywhere({ topic: 'u' }, 4000, '', { timeout: 50 })
      b.socket.subscribe('u')
      a.server.publish('t', 'while cut off')
      relay.mend()
      await receivedUntil(b, 'while cut off')
      await connected(a, b, 'u')
      expect(await a.server.disconnectEverywhere({ topic: 'u' }, 4001)).toMatchObject({ count: 1, answered: 2 })
      expect(await b.client.closed()).toMatchObject({ code: 4001 })
    })
  })
}
