/** The engine on NATS, against a real broker and its faults. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { describe, expect, onTestFinished, test } from 'vitest'
import { streamNameOf } from '../../src/backplane/nats/jetstream.js'
import { Subjects } from '../../src/backplane/nats/subjects.js'
import { type NatsOptions, nats } from '../../src/backplane/nats.js'
import { OptionError } from '../../src/index.js'
import {
  allUp,
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
  receivedUntil,
  waver,
} from '../support/broker-members.js'
import { Broker, freePort, whyMissing } from '../support/brokers.js'
import { describeEngines } from '../support/engines.js'
import { Relay } from '../support/relay.js'
import { Queue, within } from '../support/waiting.js'

const missing = whyMissing('nats-server')

async function group(options: NatsOptions = {}, args: readonly string[] = ['-js']) {
  const broker = await Broker.start('nats-server', args)
  const { a, b } = await joinTwo(ONE_ENGINE, () => nats({ servers: broker.url, ...options }))
  return { broker, a, b }
}

describe.skipIf(missing !== undefined)(`a backplane on NATS${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  describeEngines('joins servers', (engine) => {
    test('each client gets each message once, in order, whatever its bytes', async () => {
      const broker = await Broker.start('nats-server')
      const [a, b] = [await join(engine, nats({ servers: broker.url })), await join(engine, nats({ servers: broker.url }))]
      await connected(a, b)
      await expectExchange(a, b)
    })
  })

  for (const delivery of ['at-most-once', 'replayed'] as const) {
    test(`${delivery}: a broker that is killed is one down and one gap, and what comes back is in order`, async () => {
      const { broker, a, b } = await group({ delivery })
      await expectKilled(broker, a, b, delivery === 'replayed')
    })
  }

  test('a topic that is given up and wanted again while the broker replies stays subscribed', async () => {
    const { a, b } = await group({ linger: 0 })
    await waver(b, 't')
    await connected(a, b)
  })

  test('a broker that is stopped is down when it has not replied for so long, and clients here do not wait', async () => {
    const { broker, a, b } = await group({ pingTimeout: 1000 })
    await expectStopped(broker, a, b)
  })

  test('a payload beyond the limit of the broker is told with topic and size, and the rest goes on', async () => {
    const { a, b } = await group()
    a.server.publish('t', 'x'.repeat(1024 * 1024))
    a.server.publish('t', 'small')
    expect(await b.client.next()).toBe('small')
    const { message } = await a.errors.next('the error')
    expect(message).toContain('1048576')
    expect(message).toContain('"t"')
    expect(b.server.backplaneMetrics()?.missing).toBe(0)
  })

  test('replayed: a message that waited for a broker that does not take it is told and dropped, and the rest goes on', async () => {
    const broker = await Broker.start('nats-server', ['-js'])
    await broker.kill()
    const a = await join(ONE_ENGINE, nats({ servers: broker.url, delivery: 'replayed', required: false }))
    expect((await a.errors.next('the first error')).message).toContain('failed to start')
    a.server.publish('t', 'x'.repeat(2 * 1024 * 1024))
    a.server.publish('t', 'small')
    await broker.start()
    const { message } = await a.errors.next('the error')
    expect(message).toMatch(/"t".*1048576.*2097/)
    await allUp(a)
    a.server.publish('t', 'last')
    while (a.server.backplaneMetrics()?.pendingBytes !== 0) await new Promise((next) => setTimeout(next, 5))
    expect(a.server.backplaneMetrics()).toMatchObject({ up: true, dropped: 1 })
    expect(a.errors.size).toBe(0)
  })

  test('foreign messages on its subjects are dropped, counted and told once', async () => {
    const { broker, a } = await group()
    const admin = await connect({ servers: broker.url })
    onTestFinished(() => admin.close())
    for (let n = 0; n < 50; n++) admin.publish('nws.c.tt', 'hello')
    await admin.flush()
    expect((await a.errors.next('the error')).message).toContain('foreign')
    expect(a.errors.size).toBe(0)
    expect(a.client.messages.size).toBe(0)
  })

  for (const delivery of ['at-most-once', 'replayed'] as const) {
    test(`${delivery}: a topic of 65,535 bytes, and with any characters, is a topic as any other`, async () => {
      const broker = await Broker.start('nats-server', ['-js'])
      for (const topic of ['x'.repeat(65_535), ' * > . é\r\n\0']) {
        const make = () => join(ONE_ENGINE, nats({ servers: broker.url, delivery }), topic)
        const [a, b] = [await make(), await make()]
        await connected(a, b, topic)
        expect(() => a.server.publish('x'.repeat(100_000), 'x')).toThrow(OptionError)
      }
    })
  }

  for (const [one, other] of [
    ['a.b', 'a_b'],
    ['a', 'a.s'],
  ] as const) {
    test(`replayed: groups with the prefixes ${one} and ${other} do not hear of each other`, async () => {
      const broker = await Broker.start('nats-server', ['-js'])
      const make = (prefix: string) => join(ONE_ENGINE, nats({ servers: broker.url, delivery: 'replayed', prefix }))
      const [a, b] = [await make(one), await make(one)]
      const [c, d] = [await make(other), await make(other)]
      await connected(a, b)
      await connected(c, d)
      a.server.publish('t', `to ${one}`)
      c.server.publish('t', `to ${other}`)
      expect(await b.client.next()).toBe(`to ${one}`)
      expect(await d.client.next()).toBe(`to ${other}`)
      expect([b.client.messages.size, d.client.messages.size]).toEqual([0, 0])
    })
  }

  test('replayed: what the stream refuses is told and dropped, and the rest is stored once', async () => {
    const { broker, a, b } = await group({ delivery: 'replayed' })
    const admin = await connect({ servers: broker.url })
    onTestFinished(() => admin.close())
    const { streams } = await jetstreamManager(admin)
    await streams.update('nws', { max_msg_size: 1000 })
    const before = (await streams.info('nws')).state.last_seq
    a.server.publish('t', 'small')
    a.server.publish('u', 'x'.repeat(2000))
    expect(await b.client.next()).toBe('small')
    const { message } = await a.errors.next('the error')
    expect(message).toContain('"u"')
    expect(message).toContain('message size exceeds maximum')
    a.server.publish('t', 'after')
    expect(await b.client.next()).toBe('after')
    expect((await streams.info('nws')).state.last_seq).toBe(before + 2)
    expect(a.server.backplaneMetrics()).toMatchObject({ up: true, dropped: 1, pendingBytes: 0 })
    expect(b.server.backplaneMetrics()).toMatchObject({ missing: 0 })
  })

  test('replayed: a stream that is deleted is down, and is made anew', async () => {
    const { broker, a, b } = await group({ delivery: 'replayed' })
    const admin = await connect({ servers: broker.url })
    onTestFinished(() => admin.close())
    await (await jetstreamManager(admin)).streams.delete('nws')
    a.server.publish('t', 'kept')
    expect(await a.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    expect(await b.client.next()).toBe('kept')
    expect(await b.errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP' })
    expect(a.server.backplaneMetrics()).toMatchObject({ dropped: 0 })
  })

  test('replayed: a server that was cut off gets what there is, and tells a gap where messages are gone', async () => {
    const broker = await Broker.start('nats-server', ['-js'])
    const relay = await Relay.to(broker.port)
    const member = (port: number) => join(ONE_ENGINE, nats({ servers: `nats://127.0.0.1:${port}`, delivery: 'replayed' }))
    const [a, b] = [await member(broker.port), await member(relay.port)]
    await connected(a, b)
    const admin = await connect({ servers: broker.url })
    onTestFinished(() => admin.close())
    const { streams } = await jetstreamManager(admin)
    /** What b gets of ten messages that a publishes in turns while it is cut off, and `action` is done. */
    const whileCutOff = async (action: (lastSequence: number) => Promise<unknown>) => {
      relay.cut()
      expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
      for (let n = 0; n < 10; n++) {
        a.server.publish('t', `${n}`)
        await new Promise(setImmediate)
      }
      while (a.server.backplaneMetrics()?.pendingBytes !== 0) await new Promise((next) => setTimeout(next, 5))
      await action((await streams.info('nws')).state.last_seq)
      relay.mend()
      return await receivedUntil(b, '9')
    }
    const all = Array.from({ length: 10 }, (_, n) => `${n}`)
    expect(await whileCutOff(async () => {})).toEqual(all)
    expect(b.server.backplaneMetrics()).toMatchObject({ gaps: 0, missing: 0 })
    expect(await whileCutOff(() => streams.purge('nws', { keep: 3 }))).toEqual(all.slice(-3))
    expect(await b.errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 7 })
    expect(await whileCutOff((last) => streams.deleteMessage('nws', last - 1))).toEqual(all.filter((text) => text !== '8'))
    expect(await b.errors.next('gap')).toMatchObject({ code: 'ERR_BACKPLANE_GAP', count: 1 })
    expect(b.server.backplaneMetrics()).toMatchObject({ gaps: 2, missing: 8 })
  })

  test('replayed: what comes after an outage on a topic with a long name is known, too', async () => {
    const broker = await Broker.start('nats-server', ['-js'])
    const relay = await Relay.to(broker.port)
    const topic = 'é'.repeat(5000)
    const member = (port: number) => join(ONE_ENGINE, nats({ servers: `nats://127.0.0.1:${port}`, delivery: 'replayed' }), topic)
    const [a, b] = [await member(broker.port), await member(relay.port)]
    await connected(a, b, topic)
    relay.cut()
    expect(await b.errors.next('down')).toMatchObject({ code: 'ERR_BACKPLANE_DOWN' })
    const texts = Array.from({ length: 10 }, (_, n) => `${n}`)
    for (const text of texts) {
      a.server.publish(topic, text)
      await new Promise(setImmediate)
    }
    relay.mend()
    expect(await receivedUntil(b, '9')).toEqual(texts)
    expect(b.server.backplaneMetrics()).toMatchObject({ gaps: 0, missing: 0 })
  })

  test('user and password, or a token, may be in the address', async () => {
    const ways: [string[], string][] = [
      [['--user', 'u', '--pass', 'r@ght'], 'u:r%40ght'],
      [['--auth', 's3cret'], 's3cret'],
    ]
    for (const [args, who] of ways) {
      const broker = await Broker.start('nats-server', args)
      const { host } = new URL(broker.url)
      const servers = [`nats://${who}@${host}`, `${who}@${host}`]
      for (const address of servers) await join(ONE_ENGINE, nats({ servers: address }))
      // What is in `connection` comes first; and an address without it is no obstacle.
      await join(ONE_ENGINE, nats({ servers: [host, `nats://${who}@${host}`] }))
      const wrong = { user: 'u', pass: 'wrong-secret' }
      await listenRefusal(nats({ servers, connection: wrong }), `${host}, ${host}`)
    }
  })

  test('listen rejects where there is no broker, a wrong password, or another server', async () => {
    const broker = await Broker.start('nats-server', ['--user', 'u', '--pass', 'right'])
    const wrong = { user: 'u', pass: 'wrong-secret' }
    for (const servers of [`nats://127.0.0.1:${await freePort()}`, broker.url, `nats://127.0.0.1:${await noBroker()}`]) {
      await listenRefusal(nats({ servers, connection: wrong, pingTimeout: 1000 }), new URL(servers).host)
    }
  })
})

/** What a broker says before a client says anything, and that it knows JetStream. */
const INFO = `INFO ${JSON.stringify({ server_id: 'x', version: '2.9.10', proto: 1, max_payload: 1_048_576, headers: true, jetstream: true })}\r\n`

/** A broker that falls silent after these lines, of which each but the first answers a PING of the client. */
async function silentBroker(replies: readonly string[]) {
  const opened = new Queue<Socket>()
  const server = createServer((socket) => {
    const left = [...replies]
    socket.on('error', () => {})
    if (left.length > 0) socket.write(left.shift() ?? '')
    socket.on('data', (data) => {
      const reply = data.includes('PING') ? left.shift() : undefined
      if (reply === undefined) opened.push(socket)
      else socket.write(reply)
    })
    if (replies.length === 0) opened.push(socket)
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return { url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`, opened }
}

for (const [when, delivery, replies] of [
  ['before it has said anything', 'at-most-once', []],
  ['after its first line', 'at-most-once', [INFO]],
  ['when it is asked for JetStream', 'replayed', [INFO, 'PONG\r\n']],
] as const) {
  test(`close ends the attempt to connect to a broker that falls silent ${when}, and its socket`, async () => {
    const { url, opened } = await silentBroker(replies)
    const backplane = nats({ servers: url, pingTimeout: 60_000, delivery })
    const host = { id: '0'.repeat(16), deliver() {}, onStatus() {}, onDropped() {}, onProblem() {}, topics: () => [''] }
    const starting = (async () => await backplane.start(host))()
    const socket = await opened.next('the connection')
    const ended = new Promise((resolve) => socket.resume().once('close', resolve))
    const begun = performance.now()
    await within((async () => await backplane.close())(), 'the engine to close')
    await within(starting, 'the start to end')
    await within(ended, 'the socket to close')
    expect(performance.now() - begun).toBeLessThan(1000)
  })
}

test('each prefix has a stream of its own, and knows no subject of another', () => {
  const names = ['a.b', 'a_b', 'a-b', 'a.b.c', 'a.b_c', 'a_b.c'].map(streamNameOf)
  expect(new Set(names).size).toBe(names.length)
  for (const name of names) expect(name).toMatch(/^[^\s.*>/\\]+$/)
  const subject = new Subjects('a.b.s.').of('t')
  expect(new Subjects('a_b.s.').topicOf(subject)).toBeUndefined()
})

test('each topic has a subject of its own, and comes back from it', () => {
  const subjects = new Subjects('p.')
  const topics = ['', 'room:7', 'a.b', 'a b', 'é', '*', '>', 'tx', 'bx', 'x'.repeat(5000), 'y'.repeat(5000), '.', '$JS']
  const all = topics.map((topic) => subjects.of(topic))
  expect(new Set(all).size).toBe(topics.length)
  for (const [index, topic] of topics.entries()) {
    const subject = all[index] ?? ''
    expect(subject).toMatch(/^p\.[^\s.*>]+$/)
    expect(subject.length).toBeLessThan(1100)
    subjects.remember(topic, subject)
    expect(subjects.topicOf(subject)).toBe(topic)
  }
})

test('an option that is refused is not in the error where it may have a password in it', () => {
  const url = 'nats://user:secret@localhost'
  for (const options of [url, { servers: { url } }, { servers: [{ url }] }, { connection: url }, { connection: [url] }]) {
    try {
      nats(options as NatsOptions)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError)
      expectNoSecret(error)
    }
  }
})

test('options of a backplane on NATS are checked', () => {
  const wrong: [object, string][] = [
    [{ servers: 7 }, 'servers'],
    [{ servers: [] }, 'servers'],
    [{ servers: ['nats://'] }, 'servers'],
    [{ servers: ['nats://user:%ZZ@one'] }, 'servers'],
    [{ connection: 'x' }, 'connection'],
    [{ prefix: 'a.*' }, 'prefix'],
    [{ prefix: '' }, 'prefix'],
    [{ delivery: 'once' }, 'delivery'],
    [{ required: 1 }, 'required'],
    [{ url: 'x' }, 'url'],
  ]
  for (const [options, option] of wrong) {
    expect(() => nats(options as NatsOptions)).toThrow(expect.objectContaining({ name: 'OptionError', option }))
  }
  expect(nats({ servers: ['nats://user:secret@one:4222', 'two:4223'] }).address).toBe('one:4222, two:4223')
})
