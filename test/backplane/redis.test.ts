/** The engine on Redis, against a real broker and its faults. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type RedisOptions, redis } from '../../src/backplane/redis.js'
import { OptionError } from '../../src/index.js'
import {
  connected,
  expectExchange,
  expectKilled,
  expectNoSecret,
  expectStopped,
  join,
  joinTwo,
  listenRefusal,
  noBroker,
  ONE_ENGINE,
  waver,
} from '../support/broker-members.js'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { describeEngines } from '../support/engines.js'
import { PATIENCE } from '../support/waiting.js'

const missing = whyMissing('redis-server')

/** Both clients, in the form of an option. */
const CLIENTS: Record<string, (url: string) => RedisOptions> = {
  redis: (url) => ({ client: createClient({ url }) }),
  ioredis: (url) => ({ client: new Redis(url, { lazyConnect: true }) }),
}

async function group(options: (url: string) => RedisOptions, args: readonly string[] = []) {
  const broker = await Broker.start('redis-server', args)
  const { a, b } = await joinTwo(ONE_ENGINE, () => redis(options(broker.url)))
  return { broker, a, b }
}

/** The port of a proxy that forwards what the broker says only after so many milliseconds. */
async function slowReplies(port: number, milliseconds: number): Promise<number> {
  const proxy = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    near.pipe(far)
    far.on('data', (chunk) => void setTimeout(() => near.write(chunk), milliseconds))
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => {})
      one.on('close', () => other.destroy())
    }
  })
  onTestFinished(() => void proxy.close())
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  return (proxy.address() as AddressInfo).port
}

describe.skipIf(missing !== undefined)(`a backplane on Redis${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  describeEngines('joins servers', (engine) => {
    test('each client gets each message once, in order, whatever its bytes', async () => {
      const broker = await Broker.start('redis-server')
      const [a, b] = [await join(engine, redis({ url: broker.url })), await join(engine, redis({ url: broker.url }))]
      await connected(a, b)
      await expectExchange(a, b)
      expect(await a.server.disconnectEverywhere({ topic: 't' }, 4000)).toMatchObject({ count: 2, answered: 2 })
      expect(await b.client.closed()).toMatchObject({ code: 4000 })
    })
  })

  for (const [name, options] of Object.entries(CLIENTS)) {
    for (const delivery of ['at-most-once', 'replayed'] as const) {
      test(`${delivery} through ${name}: a broker that is killed is one down and one gap, and what comes back is in order`, async () => {
        const { broker, a, b } = await group((url) => ({ ...options(url), delivery }))
        await expectKilled(broker, a, b, delivery === 'replayed')
      })
    }
  }

  test('replayed: a server that was cut off gets what was sent meanwhile, once and in order', async () => {
    const { broker, a, b } = await group((url) => ({ url, delivery: 'replayed' }))
    // A proxy could do this for one of them; the broker itself can close connections, too.
    const admin = new Redis(broker.url)
    onTestFinished(() => admin.disconnect())
    const sent = Array.from({ length: 3000 }, (_, n) => `${n}`)
    for (const [n, text] of sent.entries()) {
      a.server.publish('t', text)
      if (n % 500 === 250) {
        await new Promise(setImmediate)
        await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      }
    }
    expect(await b.client.messages.take(3000, 'messages')).toEqual(sent)
    expect(b.server.backplaneMetrics()).toMatchObject({ missing: 0 })
    expect(a.server.backplaneMetrics()).toMatchObject({ dropped: 0 })
    expect(a.server.backplaneMetrics()?.reconnects).toBeGreaterThan(0)
  })

  test('a broker that is stopped is down when it has not replied for so long, and clients here do not wait', async () => {
    const { broker, a, b } = await group((url) => ({ url, pingTimeout: 1000 }))
    await expectStopped(broker, a, b)
  })

  test('foreign messages on its channels are dropped, counted and told once', async () => {
    const { broker, a } = await group((url) => ({ url }))
    const admin = new Redis(broker.url)
    onTestFinished(() => admin.disconnect())
    for (let n = 0; n < 50; n++) await admin.publish('nws:t', 'hello')
    expect((await a.errors.next('the error')).message).toContain('foreign')
    expect(a.errors.size).toBe(0)
    expect(a.client.messages.size).toBe(0)
  })

  test('a topic of 65,535 bytes, and with any characters, is a topic as any other', async () => {
    const broker = await Broker.start('redis-server')
    for (const topic of ['x'.repeat(65_535), ' * > . é\r\n\0']) {
      const [a, b] = [
        await join(ONE_ENGINE, redis({ url: broker.url }), topic),
        await join(ONE_ENGINE, redis({ url: broker.url }), topic),
      ]
      await connected(a, b, topic)
      expect(() => a.server.publish('x'.repeat(100_000), 'x')).toThrow(OptionError)
    }
  })

  test('what Redis refuses is told with its topic, and the rest goes on', async () => {
    const { broker, a, b } = await group((url) => ({ url }))
    const admin = new Redis(broker.url)
    onTestFinished(() => admin.disconnect())
    // Users without a password are what the connections of this test are.
    await admin.call('ACL', 'SETUSER', 'default', 'resetchannels', '&nws:', '&nws:t')
    await connected(a, b)
    a.server.publish('forbidden', 'x')
    a.server.publish('t', 'allowed')
    expect(await b.client.next()).toBe('allowed')
    const { message } = await a.errors.next('the error')
    expect(message).toContain('"forbidden"')
    expect(message).toContain('NOPERM')
  })

  for (const [name, options] of Object.entries(CLIENTS)) {
    test(`topics that may not be subscribed are told with their names, and the rest goes on, through ${name}`, async () => {
      const { broker, a, b } = await group(options)
      const admin = new Redis(broker.url)
      onTestFinished(() => admin.disconnect())
      const allowed = Array.from({ length: 20 }, (_, n) => `allowed ${n}`)
      await admin.call('ACL', 'SETUSER', 'default', 'resetchannels', '&nws:', '&nws:t', '&nws:allowed*')
      // Redis has closed the connections that had rights which the user has no longer, if there were any.
      await connected(a, b)
      for (const topic of ['forbidden', ...allowed, 'also']) b.socket.subscribe(topic)
      for (const topic of allowed) await connected(a, b, topic)
      const { message } = await b.errors.next('the error')
      expect(message).toMatch(/"forbidden".*NOPERM/)
      expect(message).toContain('"also"')
      expect(b.server.backplaneMetrics()).toMatchObject({ up: true, reconnects: 0 })
      expect(b.errors.size).toBe(0)
    })

    test(`listen rejects where a server may not subscribe to its own channel, through ${name}`, async () => {
      const broker = await Broker.start('redis-server')
      const admin = new Redis(broker.url)
      onTestFinished(() => admin.disconnect())
      await admin.call('ACL', 'SETUSER', 'default', 'resetchannels', '&nws:t')
      const { message } = await listenRefusal(redis(options(broker.url)), new URL(broker.url).host)
      expect(message).toContain('NOPERM')
    })

    test(`replayed: what is published while Redis is a replica waits until it is none, through ${name}`, async () => {
      const { broker, a, b } = await group((url) => ({ ...options(url), delivery: 'replayed' }))
      const admin = new Redis(broker.url)
      onTestFinished(() => admin.disconnect())
      await admin.call('REPLICAOF', '127.0.0.1', `${await freePort()}`)
      expect(await a.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
      for (let n = 0; n < 100; n++) a.server.publish('t', `${n}`)
      await admin.call('REPLICAOF', 'NO', 'ONE')
      expect(await b.client.messages.take(100, 'messages')).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`))
      expect(a.server.backplaneMetrics()).toMatchObject({ dropped: 0 })
      expect(a.errors.size).toBe(0)
    })

    test(`a topic that comes and goes while replies are on their way is subscribed in the end, through ${name}`, async () => {
      const broker = await Broker.start('redis-server')
      const slow = await slowReplies(broker.port, 100)
      const a = await join(ONE_ENGINE, redis({ ...options(broker.url), linger: 0 }))
      const b = await join(ONE_ENGINE, redis({ ...options(`redis://127.0.0.1:${slow}`), linger: 0 }))
      await connected(a, b)
      // The third end comes between the replies to the first beginning and to the second end, and the last
      // beginning before the reply to that third end.
      for (const milliseconds of [10, 85]) {
        b.socket.unsubscribe('t')
        await pause(10)
        b.socket.subscribe('t')
        await pause(milliseconds)
      }
      b.socket.unsubscribe('t')
      await pause(25)
      b.socket.subscribe('t')
      // What was on its way when the topic ended.
      await pause(400)
      while (b.client.messages.size > 0) await b.client.next()
      await connected(a, b)
    })

    test(`a topic that is given up and wanted again while the broker replies stays subscribed, through ${name}`, async () => {
      const { a, b } = await group((url) => ({ ...options(url), linger: 0 }))
      await waver(b, 't')
      await connected(a, b)
    })

    test(
      `listen through ${name} rejects where there is no broker, a wrong password, or another server`,
      async () => {
        const broker = await Broker.start('redis-server', ['--requirepass', 'right'])
        const urls = [
          `redis://127.0.0.1:${await freePort()}`,
          `redis://:wrong-secret@127.0.0.1:${broker.port}`,
          `redis://127.0.0.1:${await noBroker()}`,
        ]
        for (const url of urls) {
          await listenRefusal(redis({ ...options(url), pingTimeout: 1000 }), new URL(url).host)
        }
      },
      PATIENCE,
    )
  }
})

test('an option that is refused is not in the error where it may have a password in it', () => {
  const url = 'redis://:secret@localhost'
  const cluster = createCluster({ rootNodes: [{ url }], defaults: { password: 'secret' } })
  const wrong = [url, [url], { client: url }, { client: { url } }, { client: cluster }, { cluster: url }, { url: [url] }]
  for (const options of wrong) {
    try {
      redis(options as RedisOptions)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError)
      expectNoSecret(error)
    }
  }
})

for (const [name, options] of Object.entries(CLIENTS)) {
  test(`close ends the attempt to connect to a broker that does not reply, through ${name}`, async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void silent.close())
    await once(silent, 'listening')
    const ended: Promise<unknown>[] = []
    silent.on('connection', (socket: Socket) => ended.push(once(socket.resume(), 'close')))
    const backplane = redis(options(`redis://127.0.0.1:${(silent.address() as AddressInfo).port}`))
    const host = { id: '0'.repeat(16), deliver() {}, onStatus() {}, onDropped() {}, onProblem() {}, topics: () => [''] }
    const starting = backplane.start(host)
    while (ended.length < 2) await once(silent, 'connection')
    const begun = performance.now()
    await backplane.close()
    await starting
    await Promise.all(ended)
    expect(performance.now() - begun).toBeLessThan(1000)
  })
}

test('options of a backplane on Redis are checked', () => {
  const wrong: [object, string][] = [
    [{ client: {} }, 'client'],
    [{ client: 'redis://' }, 'client'],
    [{ url: 'http://localhost' }, 'url'],
    [{ url: 7 }, 'url'],
    [{ prefix: '' }, 'prefix'],
    [{ client: createCluster({ rootNodes: [] }) }, 'client'],
    [{ client: new Cluster(['redis://localhost'], { lazyConnect: true }) }, 'client'],
    [{ cluster: 'redis://localhost' }, 'cluster'],
    [{ cluster: [] }, 'cluster'],
    [{ cluster: ['http://localhost'] }, 'cluster'],
    [{ cluster: ['redis://localhost'], url: 'redis://localhost' }, 'url'],
    [{ cluster: ['redis://localhost'], delivery: 'replayed' }, 'delivery'],
    [{ cluster: ['redis://localhost'], prefix: 'a{b}' }, 'prefix'],
    [{ delivery: 'once' }, 'delivery'],
    [{ retention: 1 }, 'retention'],
    [{ pingTimeout: 0 }, 'pingTimeout'],
    [{ required: 1 }, 'required'],
    [{ maxPendingBytes: 1 }, 'maxPendingBytes'],
    [{ linger: -1 }, 'linger'],
    [{ uri: 'x' }, 'uri'],
  ]
  for (const [options, option] of wrong) {
    expect(() => redis(options as RedisOptions)).toThrow(expect.objectContaining({ name: 'OptionError', option }))
  }
  expect(redis({ url: 'redis://user:secret@example.com:7000/2' }).address).toBe('example.com:7000')
  const cluster = ['redis://user:secret@one', 'rediss://[::1]:7003']
  expect(redis({ cluster }).address).toBe('one:6379, ::1:7003')
  expect(redis({ client: new Redis(7001, 'example.com', { lazyConnect: true }) }).address).toBe('example.com:7001')
  expect(redis({ client: createClient({ socket: { host: 'example.com', port: 7002 } }) }).address).toBe('example.com:7002')
})
