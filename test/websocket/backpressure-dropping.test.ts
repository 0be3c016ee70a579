/**
 * What becomes of messages for a client that does not read: `dropped`, `closeOnBackpressureLimit`, and what
 * it may cost.
 */
import { expect, test } from 'vitest'
import { SendStatus, type Socket, type WebSocketHandlers } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, serve } from '../support/engines.js'
import { OPCODE, RawClient } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB
const LIMIT = 256 * KiB

type Dropped = [message: string | Buffer, isBinary: boolean]

interface Stuck {
  readonly served: Served
  readonly client: RawClient
  readonly socket: Socket
  readonly dropped: Queue<Dropped>
  readonly closed: Deferred<number>
}

/** A connection, subscribed to `news`, whose client does not read. */
async function stuckConnection(engine: EngineName, handlers: WebSocketHandlers<undefined> = {}): Promise<Stuck> {
  const sockets = new Queue<Socket>()
  const dropped = new Queue<Dropped>()
  const closed = new Deferred<number>()
  const served = await serve(engine, {
    maxBackpressure: LIMIT,
    open(socket) {
      socket.subscribe('news')
      sockets.push(socket)
    },
    dropped: (_socket, message, isBinary) => dropped.push([message, isBinary]),
    close: (_socket, code) => closed.resolve(code),
    ...handlers,
  })
  const client = await RawClient.open(served)
  client.pause()
  return { served, client, socket: await sockets.next('open'), dropped, closed }
}

/**
 * Sends until not even a byte is taken, and the network takes no more either. Each size was refused
 * `REFUSALS` times in a row then.
 */
async function fill(socket: Socket): Promise<void> {
  for (const size of SIZES) {
    for (let refusals = 0; refusals < REFUSALS; ) {
      const isRefused = socket.send(Buffer.alloc(size)) === SendStatus.DROPPED
      refusals = isRefused ? refusals + 1 : 0
      if (isRefused || size > KiB) await turns(2)
    }
  }
}
const number = (message: string): number => Number(message.split(' ')[1])
const SIZES = [64 * KiB, KiB, 1]
const REFUSALS = 5

describeEngines('backpressure: dropped', (engine) => {
  test('gets each message that send did not take, as it was given, after send has returned', async () => {
    const { socket, dropped } = await stuckConnection(engine)
    await fill(socket)
    await turns(2)
    while (dropped.size > 0) await dropped.next('what filled the queue')
    const bytes = Buffer.alloc(LIMIT, 7)
    const text = 'grüße'.repeat(LIMIT)
    expect([socket.send(bytes), socket.send(text), socket.send(new Uint16Array(bytes.buffer, bytes.byteOffset))]).toEqual([
      0, 0, 0,
    ])
    expect(dropped.size).toBe(0)
    const [first, second, third] = await dropped.take(3, 'what was dropped')
    expect(first?.[1]).toBe(true)
    expect(bytes.equals(first?.[0] as Buffer)).toBe(true)
    expect(second).toEqual([text, false])
    expect(Buffer.isBuffer(third?.[0]) && bytes.equals(third[0])).toBe(true)
  })

  test('gets each published message that was not taken for its socket, short and long, text and binary', async () => {
    const { served, socket, dropped } = await stuckConnection(engine)
    await fill(socket)
    await dropped.take(SIZES.length * REFUSALS, 'what filled the queue')
    expect(dropped.size).toBe(0)
    const other = await Client.open(served)
    const messages = [
      'short text of more than 16 bytes',
      'x'.repeat(100 * KiB),
      Buffer.from('binary, of more than 16 bytes'),
      Buffer.alloc(50 * KiB, 1),
    ]
    for (const message of messages) served.server.publish('news', message)
    expect(dropped.size).toBe(0)
    for (const message of messages) {
      const [received, isBinary] = await dropped.next('a dropped message')
      expect(isBinary).toBe(typeof message !== 'string')
      expect(Buffer.compare(Buffer.from(received as Buffer), Buffer.from(message as Buffer))).toBe(0)
      expect(typeof received).toBe(typeof message)
    }
    for (const message of messages) expect(await other.next('the message for who reads')).toEqual(message)
    expect(dropped.size).toBe(0)
  })

  test('or the client gets each message published to one of many subscribers, never both', async () => {
    const drops = new Map<Socket, string[]>()
    const opened = new Queue<Socket>()
    const served = await serve(engine, {
      maxBackpressure: LIMIT,
      open(socket) {
        drops.set(socket, [])
        socket.subscribe('news')
        opened.push(socket)
      },
      dropped(socket, message) {
        if (typeof message === 'string') drops.get(socket)?.push(message)
      },
    })
    const clients: RawClient[] = []
    for (let index = 0; index < 5; index++) clients.push(await RawClient.open(served))
    const sockets = await opened.take(5, 'open')
    for (const client of clients) client.pause()
    for (const socket of sockets) await fill(socket)
    // More than the 32 that µWebSockets keeps for one subscriber, and short and long ones by turns.
    const messages = Array.from({ length: 100 }, (_, index) =>
      `message ${index} `.padEnd(index % 7 === 0 ? 30_000 : 20 + index, '.'),
    )
    for (const message of messages) served.server.publish('news', message)
    await turns(5)
    for (const [index, socket] of sockets.entries()) {
      const dropped = drops.get(socket) ?? []
      expect(dropped.length).toBeGreaterThan(0)
      clients[index]?.resume()
      await within(socket.drained(), 'the client to read')
      socket.send('the end')
      const received: string[] = []
      for (let text = ''; text !== 'the end'; received.push(text)) {
        const frame = await clients[index]?.frame('a message')
        text = frame?.opcode === OPCODE.TEXT ? String(frame.payload) : ''
      }
      const all = [...dropped, ...received.filter((text) => text.startsWith('message'))]
      expect(all.map(number).sort((a, b) => a - b)).toEqual(messages.map(number))
      expect(dropped.map(number)).toEqual(dropped.map(number).sort((a, b) => a - b))
      expect(all.every((text) => text === messages[number(text)])).toBe(true)
    }
  })

  test('is not called for what is sent to a closed socket', async () => {
    const { socket, dropped, closed } = await stuckConnection(engine)
    socket.terminate()
    expect(socket.send('late')).toBe(0)
    await within(closed.promise, 'the close')
    expect(socket.send('later')).toBe(0)
    await turns(3)
    expect(dropped.size).toBe(0)
  })

  test('that throws ends in the error handler, and its socket is closed', async () => {
    const errors = new Queue<unknown>()
    const fault = new Error('from dropped')
    const { socket } = await stuckConnection(engine, {
      dropped: () => {
        throw fault
      },
      error: (error) => errors.push(error),
    })
    await fill(socket)
    expect(await errors.next('the error')).toBe(fault)
    expect(socket.readyState).toBe(2)
  })
})

describeEngines('backpressure: closeOnBackpressureLimit', (engine) => {
  test.each<[how: string, exceed: (stuck: Stuck) => void]>([
    ['sent', ({ socket }) => void socket.send(Buffer.alloc(2 * LIMIT))],
    ['published', ({ served }) => void served.server.publish('news', Buffer.alloc(2 * LIMIT))],
  ])('cuts a client for which a message that is %s cannot be taken, after dropped', async (_how, exceed) => {
    const order: string[] = []
    const closed = new Deferred<number>()
    const stuck = await stuckConnection(engine, {
      closeOnBackpressureLimit: true,
      dropped: () => void order.push('dropped'),
      close(_socket, code) {
        order.push('close')
        closed.resolve(code)
      },
    })
    // Nothing waited, so this is taken: more than the kernel takes.
    stuck.socket.send(Buffer.alloc(16 * MiB))
    await turns(2)
    expect(order).toEqual([])
    exceed(stuck)
    expect(await within(closed.promise, 'the close')).toBe(1006)
    expect(order).toEqual(['dropped', 'close'])
    stuck.client.resume()
    await stuck.client.closed('the client to be cut')
  })

  test('is off by default: the client stays, and gets what fits', async () => {
    const { socket, client } = await stuckConnection(engine)
    expect(socket.send(Buffer.alloc(16 * MiB))).not.toBe(0)
    await turns(2)
    expect(socket.send('no room')).toBe(0)
    client.resume()
    expect((await client.frame('what was taken')).payload.length).toBe(16 * MiB)
    await within(socket.drained(), 'an empty queue')
    expect(socket.send('fits')).toBe(4)
    expect(String((await client.frame('the message that fits')).payload)).toBe('fits')
  })
})

describeEngines('backpressure: a client that does not read', (engine) => {
  test('costs at most maxBackpressure bytes, however much is sent and published to it', async () => {
    const { served, socket } = await stuckConnection(engine)
    for (let round = 0; round < 200; round++) {
      socket.send(Buffer.alloc(10 * KiB))
      served.server.publish('news', 'x'.repeat(7 * KiB))
      served.server.publish('news', Buffer.alloc(40 * KiB))
      if (round % 10 === 0) await turns(1)
      expect(socket.bufferedAmount).toBeLessThanOrEqual(LIMIT + 10 * 200)
    }
    expect(served.server.metrics().messagesDropped).toBeGreaterThan(0)
    expect(socket.bufferedAmount).toBeGreaterThan(LIMIT - MiB / 10)
  })

  test.each([3 * KiB, 100 * KiB])('costs no more when it is published and then sent to in one turn (%i bytes)', async (size) => {
    const { served, socket } = await stuckConnection(engine)
    // The network is full, and most of the queue is free.
    while (socket.bufferedAmount === 0) {
      socket.send(Buffer.alloc(16 * KiB))
      await turns(2)
    }
    for (let n = 0; n < 30; n++) served.server.publish('news', 'x'.repeat(10 * KiB))
    while (socket.send(Buffer.alloc(size)) !== SendStatus.DROPPED);
    await turns(2)
    expect(socket.bufferedAmount).toBeLessThanOrEqual(LIMIT + 10 * 200)
  })
})

describeEngines('backpressure: a dropped handler that sends or publishes the message again', (engine) => {
  for (const again of ['send', 'publish'] as const) {
    test(`does not keep the event loop from anything else: ${again}`, async () => {
      let calls = 0
      const { served, socket } = await stuckConnection(engine, {
        dropped(self, message) {
          calls += 1
          if (again === 'send') self.send(message)
          else served.server.publish('news', message)
        },
      })
      await fill(socket)
      const message = Buffer.alloc(LIMIT)
      if (again === 'send') socket.send(message)
      else served.server.publish('news', message)
      const other = await Client.open(served)
      other.socket.ping()
      await within(new Promise((resolve) => other.socket.once('pong', resolve)), 'the pong of another client')
      expect(calls).toBeGreaterThan(0)
      socket.terminate()
    })
  }
})
