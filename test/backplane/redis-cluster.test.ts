/** Sharded Pub/Sub in a real Redis cluster, and its faults. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RedisOptions, redis } from '../../src/backplane/redis.js'
import { allUp, type BrokerMember, connected, join, joinTwo, listenRefusal, ONE_ENGINE } from '../support/broker-members.js'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { localhostCertificate, makeCertificate } from '../support/certificates.js'
import { describeEngines } from '../support/engines.js'
import { type ClusterNode, startCluster, until } from '../support/redis-cluster.js'

const missing = whyMissing('redis-server')

/** Both clients, in the form of an option. */
const CLIENTS: Record<string, () => RedisOptions> = {
  redis: () => ({ client: createClient() }),
  ioredis: () => ({ client: new Redis({ lazyConnect: true }) }),
}

let groups = 0
const newPrefix = () => `group ${++groups}:`

const urlsOf = (nodes: readonly ClusterNode[]) => nodes.map(({ broker }) => broker.url)

async function pair(nodes: readonly ClusterNode[], options: RedisOptions = {}, topic = 't') {
  const prefix = newPrefix()
  const make = () => redis({ cluster: urlsOf(nodes), prefix, ...options })
  const { a, b } = await joinTwo(ONE_ENGINE, make, topic)
  return { a, b, prefix }
}

/** One error of each, told to both; then messages come again. */
async function expectOneOutage(a: BrokerMember, b: BrokerMember): Promise<void> {
  for (const { errors } of [a, b]) expect(await errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
  a.server.publish('t', 'while down')
  await allUp(a, b)
  a.server.publish('t', 'after')
  expect(await b.client.next('what comes after')).toBe('after')
  for (const { errors } of [a, b]) expect(await errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP' })
  expect([a.errors.size, b.errors.size]).toEqual([0, 0])
  for (const { server } of [a, b]) expect(server.backplaneMetrics()).toMatchObject({ gaps: 1, reconnects: 1 })
}

describe.skipIf(missing !== undefined)(
  `a backplane on a Redis cluster${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    /** For tests that leave it whole. */
    let nodes: readonly ClusterNode[] = []
    const ends: (() => void | Promise<void>)[] = []
    beforeAll(async () => {
      nodes = await startCluster(3, 0, (end) => ends.push(end))
    })
    afterAll(async () => {
      for (const end of ends) await end()
    })

    describeEngines('joins servers', (engine) => {
      test('each client gets each message once, in order, whichever node has the topic', async () => {
        const prefix = newPrefix()
        // One node is enough to find the others.
        const make = () => join(engine, redis({ cluster: urlsOf(nodes.slice(0, 1)), prefix }))
        const [a, b] = [await make(), await make()]
        const topics = Array.from({ length: 50 }, (_, n) => `topic ${n}: é`)
        for (const topic of topics) b.socket.subscribe(topic)
        await connected(a, b)
        for (let n = 0; n < 40; n++) for (const topic of topics) a.server.publish(topic, `${topic} ${n}`)
        const came = await b.client.messages.take(2000, 'messages')
        for (const topic of topics) {
          const ofTopic = came.filter((message) => String(message).startsWith(`${topic} `))
          expect(ofTopic).toEqual(Array.from({ length: 40 }, (_, n) => `${topic} ${n}`))
        }
        expect(b.server.backplaneMetrics()).toMatchObject({ missing: 0, foreign: 0, up: true, members: 2 })
        expect(await a.server.subscribersEverywhere('t')).toMatchObject({ count: 2, answered: 2 })
        const sent = await Promise.all(nodes.map(({ admin }) => admin.info('commandstats')))
        for (const text of sent) expect(Number(/cmdstat_spublish:calls=(\d+)/.exec(text)?.[1])).toBeGreaterThan(5)
      })
    })

    for (const [name, options] of Object.entries(CLIENTS)) {
      test(`a node that is killed and started again is one down and one gap, through ${name}`, async () => {
        const nodes = await startCluster(3)
        const { a, b } = await pair(nodes, options())
        await nodes[1]?.broker.kill()
        await new Promise((next) => setTimeout(next, 300))
        await nodes[1]?.broker.start()
        await expectOneOutage(a, b)
      })

      test(`a slot that moves to another node is one down and one gap, through ${name}`, async () => {
        const { a, b, prefix } = await pair(nodes, options())
        const slot = Number(await nodes[0]?.admin.call('CLUSTER', 'KEYSLOT', await channelOf(`${prefix}*t`, nodes)))
        const from = nodes[Math.floor((slot * 3) / 16_384)]
        const to = nodes.find((node) => node !== from)
        const id = String(await to?.admin.call('CLUSTER', 'MYID'))
        // The one that gets it first: otherwise none has it for a moment.
        for (const { admin } of [to, from, ...nodes] as ClusterNode[]) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', id)
        await expectOneOutage(a, b)
      })
    }

    test('a node that hangs is replaced by its replica, which is one down and one gap', async () => {
      const nodes = await startCluster(3, 1)
      const { a, b } = await pair(nodes, { pingTimeout: 500 })
      nodes[0]?.broker.stop()
      await expectOneOutage(a, b)
      const [, , , replica] = nodes
      if (replica !== undefined) await until(replica.admin, ['INFO', 'replication'], 'role:master')
      // It has become a replica when it goes on, and is not needed.
      nodes[0]?.broker.resume()
      a.server.publish('t', 'still')
      expect(await b.client.next()).toBe('still')
      expect([a.errors.size, b.errors.size]).toEqual([0, 0])
    })

    test('10,000 topics are subscribed at once, and again after an outage', async () => {
      const { a, b } = await pair(nodes)
      for (let n = 0; n < 10_000; n++) b.socket.subscribe(`${n}`)
      await connected(a, b)
      const admin = nodes[2]?.admin
      await admin?.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
      await expectOneOutage(a, b)
      for (let n = 0; n < 10_000; n += 100) a.server.publish(`${n}`, `${n}`)
      const came = await b.client.messages.take(100, 'messages')
      expect(came.map(Number).sort((one, other) => one - other)).toEqual(Array.from({ length: 100 }, (_, n) => n * 100))
    })

    test('foreign messages on its channels are dropped, counted and told once', async () => {
      const { a, prefix } = await pair(nodes)
      const channel = await channelOf(`${prefix}*t`, nodes)
      for (const { admin } of nodes) for (let n = 0; n < 9; n++) await admin.call('SPUBLISH', channel, 'hello').catch(() => {})
      expect((await a.errors.next('the error')).message).toContain('foreign')
      expect(a.client.messages.size).toBe(0)
    })

    describe('over TLS, with a password', () => {
      let secure: readonly ClusterNode[] = []
      const secureEnds: (() => void | Promise<void>)[] = []
      beforeAll(async () => {
        const folder = mkdtempSync(joinPath(tmpdir(), 'nws-test-cluster-'))
        secureEnds.push(() => rmSync(folder, { recursive: true, force: true }))
        const { key, cert } = localhostCertificate()
        const [keyFile, certFile] = [joinPath(folder, 'key.pem'), joinPath(folder, 'cert.pem')]
        writeFileSync(keyFile, key)
        writeFileSync(certFile, cert)
        const access = { tls: { keyFile, certFile, ca: cert }, password: 'right-secret' }
        secure = await startCluster(3, 0, (end) => secureEnds.push(end), access)
      })
      afterAll(async () => {
        for (const end of secureEnds) await end()
      })

      /** The address is not used, but for TLS, user and password. */
      const SECURE_CLIENTS: Record<string, (access: { password: string; ca?: string; isSecure?: boolean }) => RedisOptions> = {
        redis: ({ password, ca, isSecure = true }) => {
          const socket = isSecure ? ({ tls: true, ...(ca !== undefined && { ca }) } as const) : {}
          return { client: createClient({ password, socket }), pingTimeout: 1000 }
        },
        ioredis: ({ password, ca, isSecure = true }) => {
          const tls = isSecure && { tls: ca === undefined ? {} : { ca } }
          return { client: new Redis({ password, lazyConnect: true, ...tls }), pingTimeout: 1000 }
        },
      }
      for (const [name, options] of Object.entries(SECURE_CLIENTS)) {
        test(`messages come through each node, and again after an outage of one, through ${name}`, async () => {
          const { a, b } = await pair(secure, options({ password: 'right-secret', ca: localhostCertificate().cert }))
          const topics = Array.from({ length: 50 }, (_, n) => `topic ${n}`)
          for (const topic of topics) b.socket.subscribe(topic)
          await connected(a, b, topics.at(-1))
          for (const topic of topics) a.server.publish(topic, topic)
          expect((await b.client.messages.take(50, 'messages')).sort()).toEqual([...topics].sort())
          for (const type of ['normal', 'pubsub']) {
            await secure[1]?.admin.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
          }
          await expectOneOutage(a, b)
        })

        test(`listen rejects where certificate or password are wrong, or there is no TLS, through ${name}`, async () => {
          const { cert: ca } = localhostCertificate()
          const reasonOf = async (access: { password: string; ca?: string; isSecure?: boolean }) => {
            const [url = ''] = urlsOf(secure)
            return (await listenRefusal(redis({ cluster: [url], ...options(access) }), new URL(url).host)).message
          }
          expect(await reasonOf({ password: 'right-secret' })).toMatch(/self-signed|certificate/)
          expect(await reasonOf({ password: 'right-secret', ca: makeCertificate().cert })).toMatch(/self-signed|certificate/)
          expect(await reasonOf({ password: 'wrong-secret', ca })).toContain('WRONGPASS')
          await reasonOf({ password: 'right-secret', isSecure: false })
          // One of the nodes has another password than that which was asked for the others.
          await secure[2]?.admin.config('SET', 'requirepass', 'other-secret')
          try {
            expect(await reasonOf({ password: 'right-secret', ca })).toContain('WRONGPASS')
          } finally {
            await secure[2]?.admin.config('SET', 'requirepass', 'right-secret')
          }
        })
      }
    })

    test('listen rejects where no node replies, a password is wrong, or there is no cluster', async () => {
      const alone = await Broker.start('redis-server')
      const [node] = await startCluster(1)
      await node?.admin.config('SET', 'requirepass', 'right')
      const wrong = [`redis://127.0.0.1:${await freePort()}`, alone.url, node?.broker.url.replace('//', '//:wrong-secret@') ?? '']
      for (const url of wrong) {
        await listenRefusal(redis({ cluster: [url] }), new URL(url).host)
      }
    })
  },
)

/** The shard channel that a member has subscribed to, by a pattern. */
async function channelOf(pattern: string, nodes: readonly ClusterNode[]): Promise<string> {
  const found = await Promise.all(nodes.map(({ admin }) => admin.call('PUBSUB', 'SHARDCHANNELS', pattern)))
  const [channel] = found.flat()
  if (channel === undefined) throw new Error('no node has the channel')
  return String(channel)
}
