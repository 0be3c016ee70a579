/** What brokers bring that is no message of this package, and what they do not take: each engine goes on. */
import { Buffer } from 'node:buffer'
import { writeFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { jetstream } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { nats } from '../../src/backplane/nats.js'
import { type RedisOptions, redis } from '../../src/backplane/redis.js'
import { type BackplaneEngine, OptionError } from '../../src/index.js'
import { allUp, type BrokerMember, joinTwo, ONE_ENGINE, receivedUntil } from '../support/broker-members.js'
import { Broker, whyMissing } from '../support/brokers.js'
import { temporaryFolder } from '../support/command.js'

const MIB = 1024 * 1024

/** How an engine is used here. */
interface Way {
  readonly program: 'redis-server' | 'nats-server'
  /** The broker takes a mebibyte. */
  start(): Promise<Broker>
  make(url: string): BackplaneEngine
  /** Sends bytes on topic `t`, and, where a message need not be of a topic, one that is of none. */
  foreign(broker: Broker, bytes: readonly Buffer[]): Promise<void>
  /** Of these, those that are sent on no topic. */
  readonly ofNoTopic: number
}

const startRedis = () => Broker.start('redis-server', ['--proto-max-bulk-len', `${MIB}`])
const startNats = () => {
  const file = joinPath(temporaryFolder(), 'nats.conf')
  writeFileSync(file, `max_payload: ${MIB}`)
  return Broker.start('nats-server', ['-js', '-c', file])
}

const WAYS: Record<string, Way> = {
  'Redis Pub/Sub': {
    program: 'redis-server',
    start: startRedis,
    make: (url) => redis({ url }),
    foreign: async ({ url }, bytes) => {
      const admin = new Redis(url)
      for (const each of bytes) await admin.publish('nws:t', each)
      admin.disconnect()
    },
    ofNoTopic: 0,
  },
  'Redis Streams': {
    program: 'redis-server',
    start: startRedis,
    make: (url) => redis({ url, delivery: 'replayed' }),
    foreign: async ({ url }, bytes) => {
      const admin = new Redis(url)
      for (const each of bytes) await admin.xadd('nws:stream', '*', 't', 't', 'd', each)
      await admin.xadd('nws:stream', '*', 'name', 'value')
      await admin.xadd('nws:stream', '*', 'x', 't', 'y', 'hello', 'z', '')
      admin.disconnect()
    },
    ofNoTopic: 2,
  },
  'NATS core': {
    program: 'nats-server',
    start: startNats,
    make: (servers) => nats({ servers }),
    foreign: async ({ url }, bytes) => {
      const admin = await connect({ servers: url })
      for (const each of bytes) admin.publish('nws.c.tt', each)
      await admin.flush()
      await admin.close()
    },
    ofNoTopic: 0,
  },
  JetStream: {
    program: 'nats-server',
    start: startNats,
    make: (servers) => nats({ servers, delivery: 'replayed' }),
    foreign: async ({ url }, bytes) => {
      const admin = await connect({ servers: url })
      for (const each of bytes) await jetstream(admin).publish('nws.s.tt', each)
      await jetstream(admin).publish('nws.s.foreign', 'hello')
      await admin.close()
    },
    ofNoTopic: 1,
  },
}

/** As an envelope of a later version may begin. */
function otherVersion(version: number): Buffer {
  const bytes = Buffer.alloc(100)
  bytes.write('NW')
  bytes[2] = version
  return bytes
}

/** Messages go both ways. */
async function expectToGoOn(a: BrokerMember, b: BrokerMember): Promise<void> {
  for (const { server } of [a, b]) server.publish('t', 'goes on')
  for (const { client } of [a, b]) expect(await client.messages.take(2, 'both messages')).toEqual(['goes on', 'goes on'])
  for (const { server } of [a, b]) expect(server.backplaneMetrics()).toMatchObject({ up: true, missing: 0 })
}

for (const [name, way] of Object.entries(WAYS)) {
  const missing = whyMissing(way.program)
  describe.skipIf(missing !== undefined)(`${name}${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
    const group = async () => {
      const broker = await way.start()
      return { broker, ...(await joinTwo(ONE_ENGINE, () => way.make(broker.url))) }
    }

    test('foreign messages and envelopes of another version are counted, told once each, and left out', async () => {
      const { broker, a, b } = await group()
      const bytes = [Buffer.from('hello'), Buffer.alloc(0), otherVersion(2), Buffer.alloc(10_000, 'NW'), otherVersion(2)]
      await way.foreign(broker, bytes)
      await expectToGoOn(a, b)
      for (const { server, errors } of [a, b]) {
        expect(server.backplaneMetrics()?.foreign).toBe(bytes.length + way.ofNoTopic)
        const told = (await errors.take(2, 'both errors')).map(({ message }) => message)
        expect(told[0]).toContain('foreign messages, the last on the topic "t": no envelopes')
        // Further ones of a kind, within a second, are told by their number.
        expect(told[1]).toContain('envelopes of version 2, where this server has 1')
      }
    })

    test('a message larger than the broker takes is told with topic and size, and the rest goes on', async () => {
      const { a, b } = await group()
      a.server.publish('t', 'before')
      a.server.publish('t', 'x'.repeat(2 * MIB))
      a.server.publish('t', 'after')
      expect(await b.client.messages.take(2, 'the others')).toEqual(['before', 'after'])
      const { message } = await a.errors.next('the error')
      expect(message).toContain('"t"')
      expect(message).toContain(`${2 * MIB}`)
      expect(a.server.backplaneMetrics()).toMatchObject({ up: true, dropped: 1, reconnects: 0 })
      expect(b.server.backplaneMetrics()).toMatchObject({ up: true, missing: 0 })
      expect(a.errors.size).toBe(0)
    })

    test('a message of nearly the size that the broker takes arrives', async () => {
      const { a, b } = await group()
      a.server.publish('t', 'x'.repeat(MIB - 100))
      expect((await b.client.next('the message')).length).toBe(MIB - 100)
    })

    test('a topic of 65,535 bytes is one as any other, and one of 100,000 is refused', async () => {
      const broker = await way.start()
      const topic = 'é'.repeat(32_767)
      const { a, b } = await joinTwo(ONE_ENGINE, () => way.make(broker.url), topic)
      const tooLong = 'x'.repeat(100_000)
      expect(() => a.server.publish(tooLong, 'x')).toThrow(OptionError)
      expect(() => a.socket.publish(tooLong, 'x')).toThrow(OptionError)
      expect(() => a.socket.subscribe(tooLong)).toThrow(OptionError)
      a.server.publish(topic, 'goes on')
      expect(await b.client.next()).toBe('goes on')
    })
  })
}

test.skipIf(whyMissing('redis-server') !== undefined)(
  'a message for which Redis would close the connections of subscribers is told, and they stay',
  async () => {
    const limit = 2 * MIB
    const broker = await Broker.start('redis-server', ['--client-output-buffer-limit', `pubsub ${limit} 0 0`])
    const { a, b } = await joinTwo(ONE_ENGINE, () => redis({ url: broker.url }))
    a.server.publish('t', 'x'.repeat(limit))
    expect((await a.errors.next('the error')).message).toMatch(/2097152 on the topic "t"/)
    a.server.publish('t', 'x'.repeat(limit - 300_000))
    expect((await b.client.next('the largest')).length).toBe(limit - 300_000)
    for (const { server } of [a, b]) expect(server.backplaneMetrics()).toMatchObject({ up: true, reconnects: 0, missing: 0 })
  },
)

/** A user who may not ask for the limit finds out by losing the connection. */
const missing = whyMissing('redis-server')
const CLIENTS: Record<string, (url: string) => RedisOptions> = {
  redis: (url) => ({ client: createClient({ url }) }),
  ioredis: (url) => ({ client: new Redis(url, { lazyConnect: true }) }),
}
for (const [name, options] of Object.entries(CLIENTS)) {
  for (const delivery of ['at-most-once', 'replayed'] as const) {
    const title = `${delivery} through ${name}: a message beyond a limit of Redis that is not known is told, and not sent again`
    test.skipIf(missing !== undefined)(`${title}${missing === undefined ? '' : ` (skipped: ${missing})`}`, async () => {
      const broker = await startRedis()
      const admin = new Redis(broker.url)
      onTestFinished(() => admin.disconnect())
      await admin.call('ACL', 'SETUSER', 'member', 'on', '>right', '~*', '&*', '+@all', '-config')
      const url = broker.url.replace('//', '//member:right@')
      const { a, b } = await joinTwo(ONE_ENGINE, () => redis({ ...options(url), delivery }))
      a.server.publish('u', 'x'.repeat(2 * MIB))
      // Redis closes behind its reply, and has not read all: the reset that follows may overtake the reply.
      // What went out once is then counted with the gap; what is replayed is sent, and refused, again.
      const told: string[] = []
      const isToldWhy = (message: string) =>
        message.includes('invalid bulk length') ||
        (delivery === 'at-most-once' && message.includes('1 of this server were not sent'))
      while (!told.some(isToldWhy) || !told.some((message) => message.includes('is down'))) {
        told.push((await a.errors.next('the error')).message)
      }
      const refusal = told.find((message) => message.includes('invalid bulk length'))
      if (refusal !== undefined) {
        expect(refusal).toContain('"u"')
        expect(Number(/(\d{7}) bytes/.exec(refusal)?.[1])).toBeGreaterThan(2 * MIB)
      }
      await allUp(a)
      a.server.publish('t', 'after')
      expect(await receivedUntil(b, 'after')).toEqual(['after'])
      expect(a.server.backplaneMetrics()).toMatchObject({ dropped: 1, up: true })
      expect(a.server.backplaneMetrics()?.reconnects).toBeGreaterThan(0)
    })
  }
}
