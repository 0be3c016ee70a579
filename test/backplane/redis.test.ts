/** The engine on Redis, against a real broker and its faults. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type RedisOptions, redis } from '../../src/backplane/redis.js'
import { BackplaneError, OptionError } from '../../src/index.js'
import { connected, join, ONE_ENGINE, waver } from '../support/broker-members.js'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { describeEngines, makeServer } from '../support/engines.js'
import { PATIENCE } from '../support/waiting.js'

const missing = whyMissing('redis-server')

/** Both clients, in the form of an option. */
const CLIENTS: Record<string, (url: string) => RedisOptions> = {
  redis: (url) => ({ client: createClient({ url }) }),
  ioredis: (url) => ({ client: new Redis(url, { lazyConnect: true }) }),
}

async function group(options: (url: string) => RedisOptions, args: readonly string[] = []) {
  const broker = await Broker.start('redis-server', args)
  const [a, b] = await Promise.all([join(ONE_ENGINE, redis(options(broker.url))), join(ONE_ENGINE, redis(options(broker.url)))])
  await connected(a, b)
  await connected(b, a)
  return { broker, a, b }
}

describe.skipIf(missing !== undefined)(`a backplane on Redis${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  describeEngines('joins servers', (engine) => {
    test('each client gets each message once, in order, whatever its bytes', async () => {
      const broker = await Broker.start('redis-server')
      const [a, b] = [await join(engine, redis({ url: broker.url })), await join(engine, redis({ url: broker.url }))]
      await connected(a, b)
      const sent = Array.from({ length: 2000 }, (_, n) => (n % 2 === 0 ? `${n}: é` : Buffer.alloc(n % 100, n)))
      for (const message of sent) a.server.publish('t', message)
      expect(await b.client.messages.take(2000, 'messages')).toEqual(sent)
      expect(await a.client.messages.take(2000, 'messages')).toEqual(sent)
      expect(b.server.backplaneMetrics()).toMatchObject({ missing: 0, foreign: 0, up: true, members: 2 })
      expect(await a.server.subscribersEverywhere('t')).toMatchObject({ count: 2, answered: 2 })
      expect(await a.server.disconnectEverywhere({ topic: 't' }, 4000)).toMatchObject({ count: 2, answered: 2 })
      expect(await b.client.closed()).toMatchObject({ code: 4000 })
    })
  })

  for (const [name, options] of Object.entries(CLIENTS)) {
    for (const delivery of ['at-most-once', 'replayed'] as const) {
      test(`${delivery} through ${name}: a broker that is killed is one down and one gap, and what comes back is in order`, async () => {
        const { broker, a, b } = await group((url) => ({ ...options(url), delivery }))
        const before = b.server.backplaneMetrics()
        await broker.kill()
        const down = await a.errors.next('down')
        expect(down).toMatchObject({ code: 'ERR_BACKPLANE_DOWN', backplane: 'redis', address: `127.0.0.1:${broker.port}` })
        expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
        for (let n = 0; n < 100; n++) a.server.publish('t', `while down ${n}`)
        await broker.start()
        while (!(a.server.backplaneMetrics()?.up && b.server.backplaneMetrics()?.up))
          await new Promise((next) => setTimeout(next, 5))
        a.server.publish('t', 'after')
        const came = []
        for (;;) {
          const message = await b.client.next('what comes after')
          came.push(message)
          if (message === 'after') break
        }
        const whileDown = Array.from({ length: 100 }, (_, n) => `while down ${n}`)
        expect(came).toEqual(delivery === 'replayed' ? [...whileDown, 'after'] : ['after'])
        if (delivery === 'at-most-once')
          expect(await a.errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 100 })
        expect(a.errors.size).toBe(0)
        expect(b.server.backplaneMetrics()?.delivered).toBe((before?.delivered ?? 0) + came.length)
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
    broker.stop()
    a.server.publish('t', 'here')
    expect(await a.client.next()).toBe('here')
    expect((await a.errors.next('down')).message).toContain('has not replied')
    broker.resume()
    expect(await a.errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP' })
    a.server.publish('t', 'after')
    let message: string | Buffer = ''
    while (message !== 'after') message = await b.client.next()
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
    test(`a topic that is given up and wanted again while the broker replies stays subscribed, through ${name}`, async () => {
      const { a, b } = await group((url) => ({ ...options(url), linger: 0 }))
      await waver(b, 't')
      await connected(a, b)
    })

    test(
      `listen through ${name} rejects where there is no broker, a wrong password, or another server`,
      async () => {
        const broker = await Broker.start('redis-server', ['--requirepass', 'right'])
        const other = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(
          0,
          '127.0.0.1',
        )
        onTestFinished(() => void other.close())
        await once(other, 'listening')
        const { port = 0 } = other.address() as { port: number }
        const urls = [
          `redis://127.0.0.1:${await freePort()}`,
          `redis://:wrong-secret@127.0.0.1:${broker.port}`,
          `redis://127.0.0.1:${port}`,
        ]
        for (const url of urls) {
          const server = makeServer(ONE_ENGINE, { server: { backplane: redis({ ...options(url), pingTimeout: 1000 }) } })
          const error: unknown = await server.listen({ host: '127.0.0.1' }).catch((cause: unknown) => cause)
          expect(error).toBeInstanceOf(BackplaneError)
          const { message } = error as BackplaneError
          expect(message).toContain(new URL(url).host)
          expect(message).not.toContain('secret')
        }
      },
      PATIENCE,
    )
  }
})

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
