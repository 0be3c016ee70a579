/** Topics: who gets what, once, and in which order. */
import { expect, test } from 'vitest'
import type { Socket, WebSocketHandlers } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, type ServeOptions, serve } from '../support/engines.js'
import { RawClient } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

interface Peer {
  readonly client: Client
  readonly socket: Socket
}

/** A server, and a way to connect clients together with their server-side sockets. */
async function room(
  engine: EngineName,
  handlers: WebSocketHandlers<undefined> = {},
  options: ServeOptions = {},
): Promise<{ served: Served; join: (...topics: string[]) => Promise<Peer> }> {
  const opened = new Queue<Socket>()
  const served = await serve(engine, { ...handlers, open: (socket) => opened.push(socket) }, options)
  const join = async (...topics: string[]): Promise<Peer> => {
    const client = await Client.open(served)
    const socket = await opened.next('open')
    for (const topic of topics) socket.subscribe(topic)
    return { client, socket }
  }
  return { served, join }
}

/** Everything that a client gets before a mark that is sent to it last. */
async function received({ client, socket }: Peer): Promise<string[]> {
  socket.send('(end)')
  const messages: string[] = []
  for (let message = await client.next(); message !== '(end)'; message = await client.next()) messages.push(String(message))
  return messages
}

describeEngines('publish by the server', (engine) => {
  test('reaches every subscriber once, and no other socket', async () => {
    const { served, join } = await room(engine)
    const peers = [await join('news'), await join('news', 'sport'), await join('sport'), await join()]
    expect(served.server.publish('news', 'n1')).toBe(true)
    expect(served.server.publish('sport', 's1')).toBe(true)
    expect(await Promise.all(peers.map(received))).toEqual([['n1'], ['n1', 's1'], ['s1'], []])
  })

  test('says false when no socket subscribes', async () => {
    const { served, join } = await room(engine)
    expect(served.server.publish('empty', 'x')).toBe(false)
    const peer = await join('other')
    expect(served.server.publish('empty', 'x')).toBe(false)
    expect(await received(peer)).toEqual([])
  })

  test('sends text as text and bytes as bytes, empty ones too', async () => {
    const { served, join } = await room(engine)
    const { client } = await join('t')
    served.server.publish('t', 'text é')
    served.server.publish('t', Buffer.from([0, 255]))
    served.server.publish('t', '')
    served.server.publish('t', new Uint8Array(0))
    expect(await client.messages.take(4, 'messages')).toEqual(['text é', Buffer.from([0, 255]), '', Buffer.alloc(0)])
  })

  test('reaches 200 subscribers with 100 messages each, in order', async () => {
    const opened = new Queue<Socket>()
    const served = await serve(engine, {
      open(socket) {
        socket.subscribe('all')
        opened.push(socket)
      },
    })
    const clients = await Client.openMany(served, 200)
    await opened.take(200, 'open')
    expect(served.server.subscribers('all')).toBe(200)
    const sent = Array.from({ length: 100 }, (_, n) => `message ${n}`)
    for (const message of sent) served.server.publish('all', message)
    for (const client of clients) expect(await client.messages.take(100, 'the messages')).toEqual(sent)
  })

  test('carries large messages to several subscribers, among small ones', async () => {
    const { served, join } = await room(engine)
    const peers = [await join('t'), await join('t'), await join('t')]
    const large = Buffer.alloc(3 * 1024 * 1024, 'large')
    served.server.publish('t', 'before')
    served.server.publish('t', large)
    served.server.publish('t', 'after')
    for (const { client } of peers) {
      expect(await client.next()).toBe('before')
      expect(large.equals(Buffer.from((await client.next()) as Buffer))).toBe(true) // binary was sent
      expect(await client.next()).toBe('after')
    }
  })

  test('works over TLS', async () => {
    const { served, join } = await room(engine, {}, { server: { tls: true } })
    const peers = [await join('t'), await join('t')]
    served.server.publish('t', 'secret')
    expect(await Promise.all(peers.map(received))).toEqual([['secret'], ['secret']])
  })
})

describeEngines('publish by a socket', (engine) => {
  test('reaches the others, and never the sender', async () => {
    const { join } = await room(engine)
    const [sender, other, stranger] = [await join('t'), await join('t'), await join('else')]
    expect(sender.socket.publish('t', 'hello')).toBe(true)
    expect(await Promise.all([sender, other, stranger].map(received))).toEqual([[], ['hello'], []])
  })

  test('says false when the sender is the only subscriber, and true for a sender that does not subscribe', async () => {
    const { join } = await room(engine)
    const [only, outsider] = [await join('t'), await join()]
    expect(only.socket.publish('t', 'to nobody')).toBe(false)
    expect(outsider.socket.publish('t', 'from outside')).toBe(true)
    expect(outsider.socket.publish('nobody', 'x')).toBe(false)
    expect(await Promise.all([only, outsider].map(received))).toEqual([['from outside'], []])
  })

  test('says false once the socket is closing or closed', async () => {
    const ended = new Deferred()
    const { served, join } = await room(engine, { close: () => ended.resolve() })
    const [listener, leaver] = [await join('t'), await join('t')]
    leaver.socket.close()
    expect(leaver.socket.publish('t', 'while closing')).toBe(false)
    await within(ended.promise, 'close')
    expect(leaver.socket.publish('t', 'closed')).toBe(false)
    served.server.publish('t', 'from the server')
    expect(await received(listener)).toEqual(['from the server'])
  })
})

describeEngines('order', (engine) => {
  test('send and publish take effect as they were called', async () => {
    const { served, join } = await room(engine)
    const [a, b] = [await join('t'), await join('t')]
    a.socket.send('1')
    served.server.publish('t', '2')
    a.socket.send('3')
    b.socket.publish('t', '4')
    served.server.publish('t', '5')
    b.socket.send('6')
    a.socket.publish('t', '7')
    expect(await received(a)).toEqual(['1', '2', '3', '4', '5'])
    expect(await received(b)).toEqual(['2', '5', '6', '7'])
  })

  test('several topics keep the order in which they were published to', async () => {
    const { served, join } = await room(engine)
    const peer = await join('a', 'b', 'c')
    const sent: string[] = []
    for (let n = 0; n < 300; n++) {
      const topic = 'abc'[(n * n) % 3] ?? 'a'
      sent.push(`${topic}${n}`)
      served.server.publish(topic, `${topic}${n}`)
    }
    expect(await received(peer)).toEqual(sent)
  })

  test('a subscription counts from the call on, and its end too', async () => {
    const { served, join } = await room(engine)
    const { client, socket } = await join()
    served.server.publish('t', 'too early')
    socket.subscribe('t')
    served.server.publish('t', 'in time')
    socket.unsubscribe('t')
    served.server.publish('t', 'too late')
    socket.subscribe('t')
    served.server.publish('t', 'again')
    expect(await received({ client, socket })).toEqual(['in time', 'again'])
  })

  test('what was published before a close arrives before it', async () => {
    const { served, join } = await room(engine)
    const { client, socket } = await join('t')
    served.server.publish('t', 'last words')
    socket.close(4000, 'bye')
    served.server.publish('t', 'too late')
    expect(await client.closed()).toEqual({ code: 4000, reason: 'bye' })
    expect(await client.messages.take(client.messages.size, 'messages')).toEqual(['last words'])
  })
})

describeEngines('a subscriber that does not read', (engine) => {
  for (const [kind, length] of [
    ['short', 2000],
    ['long', 50_000],
  ] as const) {
    test(`misses what its queue has no room for, and no other misses anything (${kind} messages)`, async () => {
      const { served, join } = await room(engine, { maxBackpressure: 200_000 })
      const [slow, fast] = [await join('t'), await join('t')]
      slow.client.socket.pause()
      const count = Math.ceil(30_000_000 / length)
      const numbers = Array.from({ length: count }, (_, n) => n)
      for (const n of numbers) {
        served.server.publish('t', `${n} `.padEnd(length, '.'))
        // The fast one reads as fast as it can, and must be given the time.
        if (n % 10 === 0)
          expect(
            Number.parseInt(String(await fast.client.messages.take(n === 0 ? 1 : 10, 'messages').then((got) => got.at(-1))), 10),
          ).toBe(n)
      }
      const { messagesDropped } = served.server.metrics()
      expect(messagesDropped).toBeGreaterThan(0)
      expect(slow.socket.bufferedAmount).toBeLessThanOrEqual(200_000 + count * 14) // frames have heads
      slow.client.socket.resume()
      const got = (await slow.client.messages.take(count - messagesDropped, 'messages')).map((message) =>
        Number.parseInt(String(message), 10),
      )
      expect(got).toEqual([...got].sort((a, b) => a - b))
      expect(new Set(got).size).toBe(got.length)
      // Its queue has room again.
      while (slow.socket.bufferedAmount > 0) await turns()
      served.server.publish('t', 'again')
      expect(await slow.client.next()).toBe('again')
    })
  }

  test('keeps no other subscriber from getting what is published while it is being cut', async () => {
    const { served, join } = await room(engine, { maxBackpressure: 1000 })
    const [slow, fast] = [await join('t'), await join('t')]
    slow.client.socket.pause()
    for (let n = 0; n < 100; n++) served.server.publish('t', `${n}`)
    slow.socket.terminate()
    for (let n = 100; n < 200; n++) served.server.publish('t', `${n}`)
    expect(await fast.client.messages.take(200, 'messages')).toEqual(Array.from({ length: 200 }, (_, n) => `${n}`))
  })
})

describeEngines('a great deal at once', (engine) => {
  // More than the 65,535 that µWebSockets' topic tree keeps for later.
  test('70,000 messages published in one go arrive in order, between what is sent', { timeout: 120_000 }, async () => {
    const { served, join } = await room(engine, { maxBackpressure: 64 * 1024 * 1024 })
    const peers = [await join('t', 'u'), await join('t', 'u')]
    const sent: string[] = []
    for (let n = 0; n < 70_000; n++) {
      served.server.publish(n % 3 === 0 ? 'u' : 't', `${n}`)
      sent.push(`${n}`)
      if (n % 10_000 === 5000) {
        const long = `${n} `.padEnd(20_000, '.')
        served.server.publish('t', long)
        sent.push(long)
        for (const { socket } of peers) socket.send(`sent after ${n}`)
        sent.push(`sent after ${n}`)
      }
    }
    for (const peer of peers) expect(await received(peer)).toEqual(sent)
  })
})

describeEngines('subscriptions', (engine) => {
  test('subscribe and unsubscribe say whether they changed anything', async () => {
    const { served, join } = await room(engine)
    const { socket } = await join()
    expect(socket.unsubscribe('t')).toBe(false)
    expect(socket.isSubscribed('t')).toBe(false)
    expect(socket.subscribe('t')).toBe(true)
    expect(socket.subscribe('t')).toBe(false)
    expect(socket.isSubscribed('t')).toBe(true)
    expect(served.server.subscribers('t')).toBe(1)
    expect(socket.unsubscribe('t')).toBe(true)
    expect(socket.unsubscribe('t')).toBe(false)
    expect(served.server.subscribers('t')).toBe(0)
  })

  test('subscribing twice still gives one copy', async () => {
    const { served, join } = await room(engine)
    const peer = await join('t', 't', 't')
    served.server.publish('t', 'one copy')
    expect(await received(peer)).toEqual(['one copy'])
  })

  test('topics lists them', async () => {
    const { join } = await room(engine)
    const { socket } = await join('b', 'a', 'c', 'a')
    expect([...socket.topics].sort()).toEqual(['a', 'b', 'c'])
    socket.unsubscribe('b')
    expect([...socket.topics].sort()).toEqual(['a', 'c'])
  })

  test('topics are exact strings, of any characters and up to 65,535 bytes', async () => {
    const { served, join } = await room(engine)
    const topics = [
      'a',
      'A',
      'a/b',
      'a/#',
      '+',
      '#',
      'a/+',
      ' ',
      'ä',
      '\u{1F600}',
      'nul\0byte',
      'x'.repeat(65_535),
      '__proto__',
      'constructor',
    ]
    const peer = await join(...topics)
    expect(peer.socket.topics.length).toBe(topics.length)
    for (const topic of topics) expect(served.server.publish(topic, topic.slice(0, 20))).toBe(true)
    for (const other of ['a/b/c', 'b', 'x'.repeat(65_534), 'toString']) expect(served.server.subscribers(other)).toBe(0)
    expect(await received(peer)).toEqual(topics.map((topic) => topic.slice(0, 20)))
  })

  for (const wrong of ['', 'x'.repeat(65_536), 'é'.repeat(40_000), 'a\ud83d', '\ude00b', 7, undefined, null]) {
    const name = typeof wrong === 'string' ? `a topic of ${Buffer.byteLength(wrong)} bytes` : `the topic ${wrong}`
    test(`${name} is an OptionError`, async () => {
      const { join } = await room(engine)
      const { socket } = await join()
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      expect(() => socket.subscribe(wrong as string)).toThrow(expect.objectContaining({ name: 'OptionError', option: 'topic' }))
      expect(socket.topics).toEqual([])
    })
  }

  test('a topic vanishes with its last subscriber, however that one leaves', async () => {
    const ended = new Queue<true>()
    const { served, join } = await room(engine, { close: () => ended.push(true) })
    const leave: ((peer: Peer) => void)[] = [
      ({ socket }) => void socket.unsubscribe('t'),
      ({ socket }) => socket.close(),
      ({ socket }) => socket.terminate(),
      ({ client }) => client.socket.close(),
      ({ client }) => client.socket.terminate(),
    ]
    for (const [index, go] of leave.entries()) {
      const peer = await join('t')
      expect(served.server.subscribers('t')).toBe(1)
      go(peer)
      if (index > 0) await ended.next('close')
      expect(served.server.subscribers('t')).toBe(0)
      expect(served.server.publish('t', 'x')).toBe(false)
    }
  })

  test('a closed socket has no topics, and takes none', async () => {
    const ended = new Deferred<readonly string[]>()
    const { served, join } = await room(engine, { close: (socket) => ended.resolve(socket.topics) })
    const { socket, client } = await join('a', 'b')
    client.socket.close()
    expect(await within(ended.promise, 'close')).toEqual([])
    expect(socket.subscribe('c')).toBe(false)
    expect(socket.unsubscribe('a')).toBe(false)
    expect(socket.isSubscribed('a')).toBe(false)
    expect(socket.topics).toEqual([])
    expect(served.server.subscribers('c')).toBe(0)
  })

  test('in handlers, subscribers may come and go while messages are on their way', async () => {
    const sockets: Socket[] = []
    const { served, join } = await room(engine, {
      message(socket, message) {
        sockets[0]?.unsubscribe('t')
        served.server.publish('t', `${message} to all but the first`)
        sockets[0]?.subscribe('t')
        socket.unsubscribe('t')
        socket.publish('t', `${message} to all but the sender`)
        socket.subscribe('t')
        served.server.publish('t', `${message} to all`)
      },
    })
    const peers = [await join('t'), await join('t'), await join('t')]
    sockets.push(...peers.map(({ socket }) => socket))
    peers[1]?.client.send('m')
    const all = { first: 'm to all but the first', sender: 'm to all but the sender', everyone: 'm to all' }
    expect(await peers[0]?.client.messages.take(2, 'messages')).toEqual([all.sender, all.everyone])
    expect(await peers[1]?.client.messages.take(2, 'messages')).toEqual([all.first, all.everyone])
    expect(await peers[2]?.client.messages.take(3, 'messages')).toEqual([all.first, all.sender, all.everyone])
  })

  test('a subscriber that closes or cuts others while a publish is on its way harms no other', async () => {
    const sockets: Socket[] = []
    const ended = new Queue<number>()
    const { served, join } = await room(engine, {
      message() {
        served.server.publish('t', 'one')
        sockets[0]?.terminate()
        sockets[1]?.close(4001)
        served.server.publish('t', 'two')
      },
      close: (_, code) => ended.push(code),
    })
    const peers = [await join('t'), await join('t'), await join('t')]
    sockets.push(...peers.map(({ socket }) => socket))
    peers[2]?.client.send('go')
    expect(await peers[2]?.client.messages.take(2, 'messages')).toEqual(['one', 'two'])
    expect((await peers[1]?.client.closed())?.code).toBe(4001)
    expect((await peers[0]?.client.closed())?.code).toBe(1006)
    expect((await ended.take(2, 'close')).sort()).toEqual([1006, 4001])
    expect(served.server.subscribers('t')).toBe(1)
  })

  test('a close handler may publish, to those who stay', async () => {
    const server: { publish?: (topic: string, data: string) => boolean } = {}
    const { served, join } = await room(engine, {
      close: (socket) => {
        server.publish?.('t', 'somebody has left')
        expect(socket.publish('t', 'too late')).toBe(false)
      },
    })
    server.publish = served.server.publish.bind(served.server)
    const [leaver, ...others] = [await join('t'), await join('t'), await join('t')]
    leaver.client.socket.terminate()
    for (const { client } of others) expect(await client.next()).toBe('somebody has left')
  })

  test('a publish to a subscriber that has just vanished harms no other', async () => {
    const opened = new Queue<Socket>()
    const served = await serve(engine, {
      open(socket) {
        socket.subscribe('t')
        opened.push(socket)
      },
    })
    const witness = await Client.open(served)
    for (let round = 0; round < 20; round++) {
      const raw = await RawClient.open(served)
      raw.reset()
      served.server.publish('t', `${round}`)
      expect(await witness.next()).toBe(`${round}`)
    }
  })

  test('10,000 topics on one socket are kept apart', async () => {
    const { served, join } = await room(engine)
    const peer = await join(...Array.from({ length: 10_000 }, (_, n) => `topic ${n}`))
    expect(peer.socket.topics.length).toBe(10_000)
    for (const n of [0, 4999, 9999]) served.server.publish(`topic ${n}`, `${n}`)
    expect(await received(peer)).toEqual(['0', '4999', '9999'])
    for (let n = 0; n < 10_000; n += 2) peer.socket.unsubscribe(`topic ${n}`)
    expect(peer.socket.topics.length).toBe(5000)
    expect(served.server.publish('topic 4998', 'x')).toBe(false)
    expect(served.server.publish('topic 4999', 'x')).toBe(true)
  })
})
