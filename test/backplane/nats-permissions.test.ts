/** The engine on NATS as a user who may not do everything. */
import { writeFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type NatsOptions, nats } from '../../src/backplane/nats.js'
import { connected, expectNoSecret, joinTwo, listenRefusal, ONE_ENGINE } from '../support/broker-members.js'
import { Broker, whyMissing } from '../support/brokers.js'
import { temporaryFolder } from '../support/command.js'

const missing = whyMissing('nats-server')

/** Subjects that the user may not publish, and not subscribe. */
interface Denied {
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
}

const configOf = ({ publish = [], subscribe = [] }: Denied) => `authorization { users = [ {
  user: u, password: right-secret
  permissions: { publish: { deny: ${JSON.stringify(publish)} }, subscribe: { deny: ${JSON.stringify(subscribe)} } }
} ] }`

async function startBroker(denied: Denied) {
  const file = joinPath(temporaryFolder(), 'nats.conf')
  writeFileSync(file, configOf(denied))
  const broker = await Broker.start('nats-server', ['-js', '-c', file])
  const options = { servers: broker.url, connection: { user: 'u', pass: 'right-secret' } }
  return { broker, options }
}

async function group(denied: Denied, more: NatsOptions = {}) {
  const { options } = await startBroker(denied)
  return await joinTwo(ONE_ENGINE, () => nats({ ...options, ...more }))
}

describe.skipIf(missing !== undefined)(
  `a user of NATS without every right${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    for (const [delivery, prefix] of [
      ['at-most-once', 'nws.c.t'],
      ['replayed', 'nws.s.t'],
    ] as const) {
      test(`${delivery}: what may not be published is told with its topic and counted, and the rest goes on`, async () => {
        const { a, b } = await group({ publish: [`${prefix}forbidden`, `${prefix}also`] }, { delivery })
        for (let n = 0; n < 3; n++) {
          a.server.publish('t', `${n}`)
          a.server.publish('forbidden', 'x')
          a.server.publish('forbidden', 'y')
          // An envelope of its own.
          await new Promise(setImmediate)
        }
        expect(await b.client.messages.take(3, 'messages')).toEqual(['0', '1', '2'])
        const first = await a.errors.next('the error')
        expect(first).toMatchObject({ name: 'BackplaneError', code: 'ERR_BACKPLANE', count: 2 })
        expect(first.message).toContain('"forbidden"')
        expect(first.message).toContain('Permissions Violation')
        a.server.publish('also', 'x')
        const second = await a.errors.next('those that came within a second')
        expect(second).toMatchObject({ count: 5 })
        expect(second.message).toContain('"also"')
        expect(a.server.backplaneMetrics()).toMatchObject({ up: true, dropped: 7, pendingBytes: 0, reconnects: 0 })
        expect(b.server.backplaneMetrics()).toMatchObject({ missing: 0 })
        expectNoSecret([first, second])
      })

      test(`${delivery}: listen rejects where a server may not publish on its own channel`, async () => {
        const { broker, options } = await startBroker({ publish: [prefix] })
        const { message } = await listenRefusal(nats({ ...options, delivery }), `127.0.0.1:${broker.port}`)
        expect(message).toContain(`Permissions Violation for Publish to "${prefix}"`)
      })
    }

    test('replayed: a user whose replies have subjects of their own needs no right to others', async () => {
      const { options } = await startBroker({ subscribe: ['_INBOX.>'] })
      const connection = { ...options.connection, inboxPrefix: 'replies' }
      const { a, b } = await joinTwo(ONE_ENGINE, () => nats({ ...options, connection, delivery: 'replayed' }))
      a.server.publish('t', 'x')
      expect(await b.client.next()).toBe('x')
      expect([a.errors.size, b.errors.size]).toEqual([0, 0])
    })

    test('topics that may not be subscribed are told with their names, and the rest goes on', async () => {
      const { a, b } = await group({ subscribe: ['nws.c.tforbidden.>', 'nws.c.tforbidden', 'nws.c.talso'] })
      b.socket.subscribe('forbidden')
      b.socket.subscribe('also')
      b.socket.subscribe('allowed')
      await connected(a, b, 'allowed')
      const error = await b.errors.next('the error')
      expect(error).toMatchObject({ name: 'BackplaneError', code: 'ERR_BACKPLANE' })
      expect(error.message).toMatch(/"forbidden", "also".*Permissions Violation/)
      a.server.publish('forbidden', 'x')
      a.server.publish('t', 'still')
      expect(await b.client.next()).toBe('still')
      expect(b.server.backplaneMetrics()).toMatchObject({ up: true, reconnects: 0, gaps: 0 })
      expect([a.errors.size, b.errors.size]).toEqual([0, 0])
    })

    test('listen rejects where a server may not subscribe to its own channel', async () => {
      const { broker, options } = await startBroker({ subscribe: ['nws.c.t'] })
      const { message } = await listenRefusal(nats(options), `127.0.0.1:${broker.port}`)
      expect(message).toContain('Permissions Violation for Subscription to "nws.c.t"')
    })

    for (const denied of [
      { publish: ['$JS.API.>'] },
      { publish: ['$JS.API.STREAM.CREATE.>'] },
      { publish: ['$JS.API.CONSUMER.>'] },
      { subscribe: ['_INBOX.>'] },
    ]) {
      test(`replayed: listen rejects where a server may not use JetStream: ${JSON.stringify(denied)}`, async () => {
        const { broker, options } = await startBroker(denied)
        const { message } = await listenRefusal(nats({ ...options, delivery: 'replayed' }), `127.0.0.1:${broker.port}`)
        expect(message).toContain('Permissions Violation')
      })
    }
  },
)
