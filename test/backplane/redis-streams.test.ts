/** What the engine on a stream of Redis finds out, after an outage, about what it has missed. */
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { resume, type StreamPosition, type StreamState } from '../../src/backplane/redis/stream-place.js'
import { type RedisOptions, redis } from '../../src/backplane/redis.js'
import { allUp, type BrokerMember, connected, join, listenRefusal, ONE_ENGINE, receivedUntil } from '../support/broker-members.js'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { Relay } from '../support/relay.js'

const missing = whyMissing('redis-server')

const MINUTES = 60_000

/** The clock of this process, and so of all servers here, is wrong by so much; that of the broker is not. */
function skewClock(milliseconds: number): void {
  const now = Date.now.bind(Date)
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + milliseconds)
  onTestFinished(() => clock.mockRestore())
}

const BY_URL = (url: string): RedisOptions => ({ url })

/** Clients that give replies in different forms. */
const CLIENTS: Record<string, (url: string) => RedisOptions> = {
  'redis with RESP2': (url) => ({ client: createClient({ url, RESP: 2 }) }),
  'redis with RESP3': (url) => ({ client: createClient({ url, RESP: 3 }) }),
  ioredis: (url) => ({ client: new Redis(url, { lazyConnect: true }) }),
}

/** Servers a and b, of which b can be cut off. The broker trims each entry alone. */
async function cuttable(retention = 60_000, rights: readonly string[] = [], options = BY_URL) {
  // The hellos of members are entries of the stream, and these tests count entries.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const broker = await Broker.start('redis-server', ['--stream-node-max-entries', '1'])
  const admin = new Redis(broker.url)
  onTestFinished(() => admin.disconnect())
  if (rights.length > 0) {
    await admin.call('ACL', 'SETUSER', 'member', 'on', '>right', '~*', '&*', '+@all', ...rights)
  }
  const user = rights.length > 0 ? 'member:right@' : ''
  const relay = await Relay.to(broker.port)
  const member = (port: number) =>
    join(ONE_ENGINE, redis({ ...options(`redis://${user}127.0.0.1:${port}`), delivery: 'replayed', retention }))
  const [a, b] = [await member(broker.port), await member(relay.port)]
  await connected(a, b)
  await connected(b, a)
  for (const { server } of [a, b]) {
    while (server.backplaneMetrics()?.members !== 2) await new Promise((next) => setTimeout(next, 2))
  }
  // Behind them: no reply to a greeting is under way any more.
  await connected(a, b)
  await connected(b, a)
  const cut = async () => {
    relay.cut()
    expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
  }
  const mend = async () => {
    relay.mend()
    await allUp(b)
  }
  return { admin, a, b, cut, mend }
}

/** The id of an entry at an end of the stream. */
async function edge(admin: Redis, which: 'oldest' | 'newest'): Promise<string> {
  const [entry] =
    which === 'oldest'
      ? await admin.xrange('nws:stream', '-', '+', 'COUNT', 1)
      : await admin.xrevrange('nws:stream', '+', '-', 'COUNT', 1)
  return entry?.[0] ?? ''
}

/** Resolves when the broker has all that `member` has published. */
async function stored({ server }: BrokerMember): Promise<void> {
  while (server.backplaneMetrics()?.pendingBytes !== 0) await new Promise((next) => setTimeout(next, 2))
}

async function publish(member: BrokerMember, count: number): Promise<string[]> {
  const texts = Array.from({ length: count }, (_, n) => `message ${n}`)
  for (const text of texts) {
    member.server.publish('t', text)
    await new Promise(setImmediate)
  }
  await stored(member)
  return texts
}

/** Nothing is told but what the test has taken, until a message has gone from one to the other. */
async function expectNoGap(from: BrokerMember, to: BrokerMember, before: readonly string[] = []): Promise<void> {
  from.server.publish('t', 'last')
  expect(await receivedUntil(to, 'last')).toEqual([...before, 'last'])
  expect(to.server.backplaneMetrics()).toMatchObject({ gaps: 0, missing: 0 })
  expect(to.errors.size).toBe(0)
}

/** One gap is noticed, with so many messages of which it is known; that it is told, other tests have seen. */
async function expectGap({ server }: BrokerMember, messages: number): Promise<void> {
  while ((server.backplaneMetrics()?.missing ?? 0) < messages) await new Promise((next) => setTimeout(next, 5))
  expect(server.backplaneMetrics()).toMatchObject({ gaps: 1, missing: messages })
}

describe.skipIf(missing !== undefined)(`a stream of Redis${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  for (const minutes of [-10, 10]) {
    const which = `${Math.abs(minutes)} minutes ${minutes > 0 ? 'ahead' : 'behind'}`

    test(`servers whose clocks are ${which} keep what one of them has not read`, async () => {
      skewClock(minutes * MINUTES)
      const { a, b, cut, mend } = await cuttable()
      await cut()
      const texts = await publish(a, 100)
      await mend()
      await expectNoGap(a, b, texts)
    })

    test(`servers whose clocks are ${which} keep it no longer than retention, and tell the gap`, async () => {
      skewClock(minutes * MINUTES)
      const { admin, a, b, cut, mend } = await cuttable(1000)
      await cut()
      const texts = await publish(a, 10)
      const newest = await edge(admin, 'newest')
      // Until what has come since the cut is gone.
      for (;;) {
        await publish(a, 1)
        if ((await edge(admin, 'oldest')) > newest) break
        await new Promise((next) => setTimeout(next, 50))
      }
      await mend()
      await publish(a, 1)
      while ((b.server.backplaneMetrics()?.missing ?? 0) < texts.length) await new Promise((next) => setTimeout(next, 5))
      expect(b.server.backplaneMetrics()?.gaps).toBe(1)
    })

    test(`an outage in which the clock goes ${which} is no gap`, async () => {
      const { a, b, cut, mend } = await cuttable()
      await cut()
      skewClock(minutes * MINUTES)
      const texts = await publish(a, 10)
      await mend()
      await expectNoGap(a, b, texts)
    })
  }

  /** What a user may not ask, the server does without: by what is there of the stream. */
  for (const [kind, rights] of [
    ['by its counts', []],
    ['without its counts', ['-xinfo', '-time', '-config']],
  ] as const) {
    test(`an outage of a server that misses nothing is no gap, ${kind}`, async () => {
      const { a, b, cut, mend } = await cuttable(1000, rights)
      await cut()
      await new Promise((next) => setTimeout(next, 1200))
      await mend()
      await expectNoGap(a, b)
    })

    test(`entries that were removed before they were read are a gap, ${kind}`, async () => {
      const { admin, a, b, cut, mend } = await cuttable(60_000, rights)
      await cut()
      await publish(a, 10)
      await admin.call('XTRIM', 'nws:stream', 'MAXLEN', '3')
      await mend()
      expect(await receivedUntil(b, 'message 9')).toEqual(['message 7', 'message 8', 'message 9'])
      await expectGap(b, 7)
    })

    test(`a stream that was deleted is a gap, ${kind}`, async () => {
      const { admin, a, b, cut, mend } = await cuttable(60_000, rights)
      await cut()
      await admin.del('nws:stream')
      await publish(a, 1)
      await mend()
      expect(b.server.backplaneMetrics()?.gaps).toBe(1)
    })
  }

  test('entries that were removed after they were read are no gap', async () => {
    const { admin, a, b, cut, mend } = await cuttable()
    await cut()
    await admin.call('XTRIM', 'nws:stream', 'MAXLEN', '0')
    await mend()
    await expectNoGap(a, b)
  })

  for (const [name, options] of Object.entries(CLIENTS)) {
    test(`read entries that are gone, beside new ones that are there, are no gap where the broker counts them, through ${name}`, async () => {
      const { admin, a, b, cut, mend } = await cuttable(60_000, [], options)
      await cut()
      await admin.call('XTRIM', 'nws:stream', 'MAXLEN', '0')
      const texts = await publish(a, 10)
      await mend()
      await expectNoGap(a, b, texts)
      // One of the new ones was not read.
      await cut()
      await publish(a, 2)
      await admin.call('XTRIM', 'nws:stream', 'MAXLEN', '1')
      await mend()
      await expectGap(b, 1)
    })
  }

  test('what was asked during an outage is done no more, whatever clocks say, and what is asked then is done', async () => {
    const { a, b, cut, mend } = await cuttable()
    b.socket.subscribe('u')
    await connected(a, b, 'u')
    await cut()
    await a.server.disconnectEverywhere({ topic: 'u' }, 4000, '', { timeout: 50 })
    // As if it had been asked in ten minutes.
    skewClock(-10 * MINUTES)
    await mend()
    await expectNoGap(a, b)
    expect(await a.server.disconnectEverywhere({ topic: 'u' }, 4001)).toMatchObject({ count: 1, answered: 2 })
    expect(await b.client.closed()).toMatchObject({ code: 4001 })
  })

  test('an entry that was deleted by its name, before it was read, is a gap', async () => {
    const { admin, a, b, cut, mend } = await cuttable()
    await cut()
    await publish(a, 3)
    const [, second] = await admin.xrevrange('nws:stream', '+', '-', 'COUNT', 2)
    await admin.xdel('nws:stream', second?.[0] ?? '')
    await mend()
    await expectGap(b, 1)
  })

  test('a broker that refuses the session for a while is left with no connections', async () => {
    const { admin, a, b } = await cuttable()
    await admin.call('REPLICAOF', '127.0.0.1', '1')
    for (const { server, errors } of [a, b]) {
      server.publish('t', 'kept')
      await errors.next('down')
    }
    // Several attempts of each.
    await new Promise((next) => setTimeout(next, 1000))
    await admin.call('REPLICAOF', 'NO', 'ONE')
    await allUp(a, b)
    const clients = String(await admin.call('CLIENT', 'LIST', 'TYPE', 'normal'))
      .trim()
      .split('\n')
    expect(clients.length).toBe(2 * 2 + 1)
  })
})

test('what is said of a stream tells whether something is missing', () => {
  const state: StreamState = { newest: '9-0', added: 9, removed: 0, deleted: '0-0', oldest: '1-0' }
  const cases: [StreamPosition, Partial<StreamState>, isThere: boolean, isGap: boolean, after: StreamPosition][] = [
    // The first session reads what comes.
    [{ last: undefined, entries: undefined }, {}, false, false, { last: '9-0', entries: 9 }],
    [{ last: '5-0', entries: 5 }, {}, true, false, { last: '5-0', entries: 5 }],
    [{ last: '5-0', entries: 5 }, { deleted: '7-0' }, true, true, { last: '5-0', entries: 5 }],
    [{ last: '5-0', entries: 5 }, { deleted: '3-0' }, true, false, { last: '5-0', entries: 5 }],
    [{ last: '5-0', entries: 5 }, { removed: 5, oldest: '6-0' }, false, false, { last: '5-0', entries: 5 }],
    [{ last: '5-0', entries: 5 }, { removed: 6, oldest: '7-0' }, false, true, { last: '5-0', entries: 6 }],
    [{ last: '9-0', entries: 9 }, { removed: 9, oldest: undefined }, false, false, { last: '9-0', entries: 9 }],
    // A stream that was made anew has lost nothing, by its own counts.
    [{ last: '5-0', entries: 5 }, { added: 2, oldest: '8-0' }, false, true, { last: '5-0', entries: 0 }],
    [{ last: '12-3', entries: 5 }, { added: 2, oldest: '8-0' }, false, true, { last: '0-0', entries: 0 }],
    // Without the last second, as a broker that had not written it yet.
    [{ last: '5-0', entries: 5 }, { added: 8, oldest: '1-0' }, false, true, { last: '5-0', entries: undefined }],
    // A broker that does not count.
    [
      { last: '9-0', entries: undefined },
      { added: undefined, removed: undefined, oldest: undefined },
      false,
      false,
      { last: '9-0', entries: undefined },
    ],
    [
      { last: '5-0', entries: undefined },
      { added: undefined, removed: undefined, oldest: '6-0' },
      false,
      true,
      { last: '5-0', entries: undefined },
    ],
    [
      { last: '5-0', entries: undefined },
      { added: undefined, removed: undefined },
      true,
      false,
      { last: '5-0', entries: undefined },
    ],
  ]
  for (const [position, said, isThere, isGap, after] of cases) {
    const moved = { ...position }
    expect([resume(moved, { ...state, ...said }, isThere), moved]).toEqual([isGap, after])
  }
})

describe.skipIf(missing !== undefined)('a node of Redis in cluster mode', () => {
  test('is refused at once where both streams are not in one slot, and serves where the prefix says so', async () => {
    const bus = `${await freePort()}`
    const broker = await Broker.start('redis-server', ['--cluster-enabled', 'yes', '--cluster-port', bus])
    const admin = new Redis(broker.url)
    onTestFinished(() => admin.disconnect())
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    while (!String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) {
      await new Promise((next) => setTimeout(next, 50))
    }
    const make = (prefix: string) => redis({ url: broker.url, delivery: 'replayed', prefix })
    expect((await listenRefusal(make('nws:'), `127.0.0.1:${broker.port}`)).message).toContain('CROSSSLOT')
    const [a, b] = [await join(ONE_ENGINE, make('{nws}:')), await join(ONE_ENGINE, make('{nws}:'))]
    await connected(a, b)
  })
})
