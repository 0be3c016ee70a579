/** The `subscription` handler: when it is called, and that its counts add up. */
import { expect, test } from 'vitest'
import type { Socket, WebSocketHandlers } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, serve } from '../support/engines.js'
import { Deferred, Queue, within } from '../support/waiting.js'

/** A change of one topic: before and after. */
type Change = readonly [topic: string, before: number, subscribers: number]

interface Peer {
  readonly client: Client
  readonly socket: Socket
}

interface Room {
  readonly served: Served
  /** Every change, in order. */
  readonly changes: Change[]
  readonly ended: Queue<Socket>
  join(...topics: string[]): Promise<Peer>
}

/** A server that writes down every change, and compares it with what the server says at that moment. */
async function room(engine: EngineName, handlers: WebSocketHandlers<undefined> = {}): Promise<Room> {
  const opened = new Queue<Socket>()
  const ended = new Queue<Socket>()
  const changes: Change[] = []
  const served = await serve(engine, {
    close: (socket) => ended.push(socket),
    ...handlers,
    open: (socket) => opened.push(socket),
    subscription(socket, topic, subscribers, before) {
      expect(served.server.subscribers(topic)).toBe(subscribers)
      changes.push([topic, before, subscribers])
      return handlers.subscription?.(socket, topic, subscribers, before)
    },
    error(error, socket) {
      // A failed comparison above must fail the test, which awaits the end of its sockets.
      if (handlers.error === undefined) throw error
      handlers.error(error, socket)
    },
  })
  const join = async (...topics: string[]): Promise<Peer> => {
    const client = await Client.open(served)
    const socket = await opened.next('open')
    for (const topic of topics) socket.subscribe(topic)
    return { client, socket }
  }
  return { served, changes, ended, join }
}

describeEngines('the subscription handler', (engine) => {
  test('is called before subscribe and unsubscribe return, with the counts around the change', async () => {
    const seen: unknown[] = []
    const { changes, join } = await room(engine, {
      subscription: (socket, topic, subscribers, before) => {
        seen.push([socket, socket.isSubscribed(topic), subscribers - before])
      },
    })
    const [first, second] = [await join(), await join()]
    first.socket.subscribe('t')
    expect(changes).toEqual([['t', 0, 1]])
    second.socket.subscribe('t')
    first.socket.unsubscribe('t')
    second.socket.unsubscribe('t')
    expect(changes).toEqual([
      ['t', 0, 1],
      ['t', 1, 2],
      ['t', 2, 1],
      ['t', 1, 0],
    ])
    expect(seen).toEqual([
      [first.socket, true, 1],
      [second.socket, true, 1],
      [first.socket, false, -1],
      [second.socket, false, -1],
    ])
  })

  test('is not called when nothing changes', async () => {
    const { changes, join } = await room(engine)
    const { socket } = await join('t')
    socket.subscribe('t')
    socket.unsubscribe('other')
    expect(changes).toEqual([['t', 0, 1]])
    socket.close()
    socket.subscribe('late')
    socket.close()
    expect(changes).toEqual([
      ['t', 0, 1],
      ['t', 1, 0],
    ])
  })

  const leave: Record<string, (peer: Peer) => void> = {
    'close()': ({ socket }) => socket.close(),
    'terminate()': ({ socket }) => socket.terminate(),
    "the client's Close frame": ({ client }) => client.socket.close(),
    'a lost connection': ({ client }) => client.socket.terminate(),
  }
  for (const [name, go] of Object.entries(leave)) {
    test(`is called for each topic that ${name} leaves, once, before close`, async () => {
      const events: string[] = []
      const { changes, ended, join } = await room(engine, {
        subscription: (_, topic, subscribers) => void events.push(`${topic} ${subscribers}`),
        close: (socket) => {
          events.push('close')
          ended.push(socket)
        },
      })
      const [stays, leaves] = [await join('a', 'b'), await join('a', 'c')]
      events.length = 0
      changes.length = 0
      go(leaves)
      expect(await ended.next('close')).toBe(leaves.socket)
      expect([...changes].sort()).toEqual([
        ['a', 2, 1],
        ['c', 1, 0],
      ])
      expect(events.length).toBe(3)
      expect(events.at(-1)).toBe('close')
      expect(stays.socket.topics.length).toBe(2)
    })
  }

  test('counts one by one when many sockets end at the same moment', async () => {
    const { changes, ended, join } = await room(engine)
    const peers: Peer[] = []
    for (let n = 0; n < 30; n++) peers.push(await join('t'))
    changes.length = 0
    for (const { client } of peers) client.socket.terminate()
    await ended.take(30, 'close')
    expect(changes).toEqual(Array.from({ length: 30 }, (_, n) => ['t', 30 - n, 29 - n]))
  })

  test('counts the subscribers of all routes, those without the handler too', async () => {
    const changes: Change[] = []
    const sockets = new Queue<Socket>()
    const ended = new Queue<true>()
    const served = await serve(
      engine,
      { open: (socket) => sockets.push(socket), close: () => ended.push(true) },
      {
        path: '/silent',
        routes: (server) =>
          server.ws('/told', {
            open: (socket) => sockets.push(socket),
            subscription: (_, topic, subscribers, before) => void changes.push([topic, before, subscribers]),
          }),
      },
    )
    const silentClient = await Client.open(served, '/silent')
    const silent = await sockets.next('open')
    await Client.open(served, '/told')
    const told = await sockets.next('open')
    silent.subscribe('t')
    told.subscribe('t')
    silentClient.socket.terminate()
    await ended.next('close')
    told.unsubscribe('t')
    expect(changes).toEqual([
      ['t', 1, 2],
      ['t', 1, 0],
    ])
  })

  test('adds up when it subscribes, unsubscribes, closes and cuts sockets itself', async () => {
    const peers: Peer[] = []
    let acts = false
    const { changes, ended, join } = await room(engine, {
      subscription: (socket, topic, subscribers, before) => {
        if (!acts || subscribers > before) return
        if (topic === 'a') {
          peers[1]?.socket.close(4000)
          peers[2]?.socket.terminate()
          peers[3]?.socket.unsubscribe('b')
          peers[3]?.socket.subscribe('b')
        }
        if (socket.readyState !== 1) expect(socket.subscribe('again')).toBe(false)
      },
    })
    for (let n = 0; n < 4; n++) peers.push(await join('a', 'b'))
    acts = true
    changes.length = 0
    peers[0]?.client.socket.terminate()
    await ended.take(3, 'close')
    for (const topic of ['a', 'b']) {
      const ofTopic = changes.filter(([name]) => name === topic)
      // Each change begins where the one before it ended.
      for (const [index, [, before]] of ofTopic.entries()) expect(before).toBe(ofTopic[index - 1]?.[2] ?? 4)
      expect(ofTopic.at(-1)?.[2]).toBe(1)
    }
  })

  test('may close the server, whose calls of close all give the same promise', async () => {
    const closed = new Deferred<Promise<void>>()
    const { served, changes, join } = await room(engine, {
      subscription: (_, __, subscribers) => {
        if (subscribers === 1) closed.resolve(served.server.close({ code: 4000 }))
      },
    })
    const peers = [await join(), await join()]
    peers[0]?.socket.subscribe('t')
    const first = served.server.close()
    expect(await Promise.all(peers.map(({ client }) => client.closed()))).toEqual([
      { code: 4000, reason: '' },
      { code: 4000, reason: '' },
    ])
    await within(first, 'the server to close')
    expect(served.server.close()).toBe(first)
    await within(closed.promise, 'the handler')
    expect(changes).toEqual([
      ['t', 0, 1],
      ['t', 1, 0],
    ])
  })

  const failures: Record<string, () => Promise<void> | undefined> = {
    throws: () => {
      throw new Error('not today')
    },
    rejects: async () => {
      throw new Error('not today')
    },
  }
  for (const [kind, fail] of Object.entries(failures)) {
    test(`that ${kind} reaches error and closes its socket with 1011; the subscription holds until then`, async () => {
      const errors = new Queue<[unknown, Socket]>()
      const { served, changes, ended, join } = await room(engine, {
        subscription: (_, topic, subscribers, before) => (topic === 't' && subscribers > before ? fail() : undefined),
        error: (error, socket) => errors.push([error, socket]),
      })
      const [witness, { socket, client }] = [await join('else'), await join()]
      expect(socket.subscribe('t')).toBe(true)
      const [error, whose] = await errors.next('error')
      expect(error).toMatchObject({ message: 'not today' })
      expect(whose).toBe(socket)
      expect((await client.closed()).code).toBe(1011)
      expect(await ended.next('close')).toBe(socket)
      expect(changes.slice(1)).toEqual([
        ['t', 0, 1],
        ['t', 1, 0],
      ])
      served.server.publish('else', 'undisturbed')
      expect(await witness.client.next()).toBe('undisturbed')
    })

    test(`that ${kind} at the end of a connection reaches error, for each topic, and close follows`, async () => {
      const errors = new Queue<unknown>()
      const { ended, join } = await room(engine, {
        subscription: (_, __, subscribers, before) => (subscribers < before ? fail() : undefined),
        error: (error) => errors.push(error),
      })
      const { socket, client } = await join('a', 'b')
      client.socket.terminate()
      expect(await ended.next('close')).toBe(socket)
      for (const error of await errors.take(2, 'errors')) expect(error).toMatchObject({ message: 'not today' })
    })
  }
})
