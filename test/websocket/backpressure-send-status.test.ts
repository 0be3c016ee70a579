/** What `send` answers, and that the answer is what happens: taken, waiting, or not taken. */
import { expect, test } from 'vitest'
import { SendStatus, type Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, type ServeOptions, serve } from '../support/engines.js'
import { closeFrame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB
/** What the header of a frame may add to its payload (RFC 6455, section 5.2). */
const FRAME_HEADER = 10

interface Stuck {
  readonly served: Served
  readonly client: RawClient
  readonly socket: Socket
  readonly drains: Queue<number>
}

/** A connection whose client does not read. */
async function stuckConnection(engine: EngineName, maxBackpressure: number, options: ServeOptions = {}): Promise<Stuck> {
  const sockets = new Queue<Socket>()
  const drains = new Queue<number>()
  const handlers = {
    maxBackpressure,
    open: (socket: Socket) => sockets.push(socket),
    drain: (socket: Socket) => drains.push(socket.bufferedAmount),
  }
  const served = await serve(engine, handlers, options)
  const client = await RawClient.open(served)
  client.pause()
  return { served, client, socket: await sockets.next('open'), drains }
}

/**
 * Sends numbered messages until one is not taken, letting the loop turn now and then; the answers in order.
 */
async function fill(socket: Socket, size: number): Promise<number[]> {
  const answers: number[] = []
  for (;;) {
    const message = Buffer.alloc(size)
    message.writeUInt32LE(answers.length)
    answers.push(socket.send(message))
    if (answers.at(-1) === SendStatus.DROPPED) return answers
    if (answers.length % 16 === 0) await turns(1)
  }
}

/** Reads the messages of `fill`, and gives their numbers. */
async function readNumbers(client: RawClient, count: number, size: number): Promise<number[]> {
  const numbers: number[] = []
  while (numbers.length < count) {
    const { opcode, payload } = await client.frame(`message ${numbers.length} of ${count}`)
    expect([opcode, payload.length]).toEqual([OPCODE.BINARY, size])
    numbers.push(payload.readUInt32LE())
  }
  return numbers
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

for (const tls of [false, true]) {
  const options: ServeOptions = tls ? { server: { tls: true } } : {}
  describeEngines(`backpressure: what send returns, over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    test('answers with the bytes of the payload, and 1 for an empty one', async () => {
      const answers: number[] = []
      const served = await serve(
        engine,
        {
          async open(socket) {
            for (const data of ['hello', 'grüße', '\u{1F600}', Buffer.alloc(1000), '', Buffer.alloc(0), 'x'.repeat(70_000)]) {
              answers.push(socket.send(data))
              await turns(2) // so that each finds an empty queue
            }
            socket.close()
          },
        },
        options,
      )
      const client = await Client.open(served)
      await client.closed()
      expect(answers).toEqual([5, 7, 4, 1000, 1, 1, 70_000])
    })

    test('to a client that does not read: taken, then waiting, then dropped; the queue stays within its limit', async () => {
      const { socket } = await stuckConnection(engine, MiB, options)
      const answers = await fill(socket, 64 * KiB)
      expect(answers[0]).toBe(64 * KiB)
      expect(answers.at(-2)).toBe(SendStatus.BACKPRESSURE)
      expect(answers.at(-1)).toBe(SendStatus.DROPPED)
      expect(answers.filter((answer) => answer !== 64 * KiB && answer !== SendStatus.BACKPRESSURE).length).toBe(1)
      expect(socket.bufferedAmount).toBeGreaterThan(MiB - 64 * KiB - FRAME_HEADER)
      expect(socket.bufferedAmount).toBeLessThanOrEqual(MiB)
    })

    test('does not take empty messages without end for a client that does not read', async () => {
      const { socket } = await stuckConnection(engine, 64 * KiB, options)
      await fill(socket, 16 * KiB)
      let taken = 0
      while (socket.send('') !== SendStatus.DROPPED && taken < 200_000) taken++
      expect(taken).toBeLessThan(200_000)
    })

    test('what was taken arrives, whole and in order; what was dropped does not', async () => {
      const { socket, client } = await stuckConnection(engine, MiB, options)
      const answers = await fill(socket, 50_000)
      for (let n = 0; n < 10; n++) expect(socket.send(Buffer.alloc(50_000))).toBe(SendStatus.DROPPED)
      const taken = answers.length - 1
      client.resume()
      expect(await readNumbers(client, taken, 50_000)).toEqual(upTo(taken))
      socket.send('after')
      expect((await client.frame()).payload.toString()).toBe('after')
      await turns()
      expect(socket.bufferedAmount).toBe(0)
    })

    test('a drain follows once the client reads, with room in the queue', async () => {
      const { socket, client, drains } = await stuckConnection(engine, MiB, options)
      const answers = await fill(socket, 64 * KiB)
      await turns()
      // Earlier ones, from before the system's own buffers were full, are not the one that is meant.
      while (drains.size > 0) await drains.next('drain')
      client.resume()
      expect(await drains.next('drain')).toBeLessThan(MiB)
      await readNumbers(client, answers.length - 1, 64 * KiB)
      expect(socket.send('again')).toBe(5)
    })

    test('a drain follows an answer of -1 without any drop, when the queue is empty', async () => {
      const { socket, client, drains } = await stuckConnection(engine, 64 * MiB, options)
      let sent = 0
      for (let answer = 1; answer !== SendStatus.BACKPRESSURE; sent++) {
        answer = socket.send(Buffer.alloc(256 * KiB))
        if (sent % 4 === 0) await turns(1)
      }
      // Whatever the loop may have given to the system by now, one more is put behind it until it waits for
      // the client.
      while (socket.bufferedAmount < 8 * MiB) {
        socket.send(Buffer.alloc(256 * KiB))
        sent++
        await turns(1)
      }
      const before = drains.size
      client.resume()
      for (let n = 0; n < sent; n++) await client.frame()
      let last = -1
      for (let n = 0; n <= before; n++) last = await drains.next('drain')
      expect(last).toBe(0)
    })

    test('a drain follows when the queue is empty for a -1, also behind one for the 0 after it', async () => {
      const { socket, client, drains } = await stuckConnection(engine, 8 * MiB, options)
      const answers = await fill(socket, 64 * KiB)
      expect(answers).toContain(SendStatus.BACKPRESSURE)
      await turns()
      while (drains.size > 0) await drains.next('drain')
      client.resume()
      await readNumbers(client, answers.length - 1, 64 * KiB)
      while ((await drains.next('the drain for the empty queue')) > 0);
    })

    test('answers with the bytes of a message that nothing waits before, though the system takes only a part of it', async () => {
      const { socket } = await stuckConnection(engine, MiB, options)
      expect(socket.send(Buffer.alloc(16 * MiB))).toBe(16 * MiB)
      await turns()
      expect(socket.bufferedAmount).toBeGreaterThan(MiB)
      expect(socket.send(Buffer.alloc(16 * MiB))).toBe(SendStatus.DROPPED)
    })

    test('a writer driven by drain gets 40 MiB through a queue of 1 MiB', async () => {
      const total = 640
      const size = 64 * KiB
      let next = 0
      let most = 0
      const pump = (socket: Socket): void => {
        while (next < total) {
          const message = Buffer.alloc(size)
          message.writeUInt32LE(next)
          const answer = socket.send(message)
          most = Math.max(most, socket.bufferedAmount)
          if (answer !== SendStatus.DROPPED) next++
          if (answer <= 0) return
        }
      }
      const served = await serve(engine, { maxBackpressure: MiB, open: pump, drain: pump }, options)
      const client = await RawClient.open(served)
      expect(await readNumbers(client, total, size)).toEqual(upTo(total))
      expect(most).toBeLessThanOrEqual(MiB)
    })
  })
}

describeEngines('backpressure: the limit of the queue (maxBackpressure)', (engine) => {
  test('ends a loop that sends for as long as it may', async () => {
    const counted = new Queue<{ messages: number; buffered: number }>()
    const served = await serve(engine, {
      maxBackpressure: 4 * MiB,
      open(socket) {
        let messages = 0
        const chunk = 'x'.repeat(10_000)
        while (socket.send(chunk) > 0) messages++
        counted.push({ messages, buffered: socket.bufferedAmount })
        socket.close()
      },
    })
    const client = await Client.open(served)
    const { messages, buffered } = await counted.next('the end of the loop')
    expect(buffered).toBeLessThanOrEqual(4 * MiB)
    expect((await client.closed()).code).toBe(1005)
    expect(client.messages.size).toBeGreaterThanOrEqual(messages)
  })

  test('ends a loop that sends until something is dropped, in one turn', async () => {
    const counted = new Queue<{ taken: number; buffered: number }>()
    const served = await serve(engine, {
      maxBackpressure: 2 * MiB,
      open(socket) {
        let taken = 0
        while (socket.send('y'.repeat(1000)) !== SendStatus.DROPPED) taken++
        counted.push({ taken, buffered: socket.bufferedAmount })
        socket.close()
      },
    })
    const client = await Client.open(served)
    const { taken, buffered } = await counted.next('the end of the loop')
    expect(buffered).toBeLessThanOrEqual(2 * MiB * (1 + FRAME_HEADER / 1000))
    expect((await client.closed()).code).toBe(1005)
    expect(client.messages.size).toBe(taken)
  })

  test('does not hold for a message where nothing waits, sent or published, whatever its length', async () => {
    const answers = new Queue<number>()
    const drops: number[] = []
    const served = await serve(engine, {
      maxBackpressure: 10,
      open: (socket) => void socket.subscribe('news'),
      dropped: (_socket, message) => void drops.push(message.length),
      message: (socket, length) => {
        answers.push(socket.send(Buffer.alloc(Number(length))))
      },
    })
    const client = await Client.open(served)
    for (const length of [11, 5000, 20_000, 100_000]) {
      for (let n = 0; n < 3; n++) {
        client.send(`${length}`)
        expect(await answers.next('an answer')).not.toBe(SendStatus.DROPPED)
        expect((await client.next()).length).toBe(length)
        served.server.publish('news', 'x'.repeat(length))
        expect((await client.next()).length).toBe(length)
      }
    }
    expect(drops).toEqual([])
  })

  test('lets one message through that is longer, and then none until it has gone', async () => {
    const { socket, client, drains } = await stuckConnection(engine, 1000)
    const size = 16 * MiB
    expect(socket.send(Buffer.alloc(size))).not.toBe(SendStatus.DROPPED)
    await turns(2)
    expect(socket.bufferedAmount).toBeGreaterThan(1000)
    expect([socket.send(Buffer.alloc(size)), socket.send('x'), socket.send(''), socket.ping()]).toEqual([0, 0, 0, 0])
    client.resume()
    expect((await client.frame()).payload.length).toBe(size)
    await drains.next('drain')
    expect(socket.send(Buffer.alloc(2000))).not.toBe(SendStatus.DROPPED)
    expect((await client.frame()).payload.length).toBe(2000)
  })

  test('counts no message that has left, also in the same turn and within cork', async () => {
    const answers = new Queue<number[]>()
    const served = await serve(engine, {
      maxBackpressure: 64 * KiB,
      message(socket, how) {
        const send = () => [socket.send('first'), socket.send(Buffer.alloc(100_000)), socket.send('last')]
        answers.push(how === 'cork' ? socket.cork(send) : send())
      },
    })
    const client = await Client.open(served)
    for (const how of ['plain', 'cork']) {
      client.send(how)
      expect(await answers.next('the answers')).not.toContain(SendStatus.DROPPED)
      expect((await client.messages.take(3, 'all messages')).map((message) => message.length)).toEqual([5, 100_000, 4])
    }
  })

  test('lets one longer message wait behind a stream, and then counts it', async () => {
    const sockets = new Queue<Socket>()
    const served = await serve(engine, { maxBackpressure: 10_000, open: (socket) => sockets.push(socket) })
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    const source = new Deferred()
    const done = socket.sendStream(
      (async function* () {
        yield 'begun '
        await source.promise
        yield 'done'
      })(),
    )
    await turns(2)
    expect(socket.send(Buffer.alloc(20_000))).not.toBe(SendStatus.DROPPED)
    expect(socket.bufferedAmount).toBeGreaterThanOrEqual(20_000)
    expect(socket.send('no room')).toBe(SendStatus.DROPPED)
    source.resolve()
    await done
    expect((await client.messages.take(2, 'both messages')).map((message) => message.length)).toEqual([10, 20_000])
  })

  test('counts what is sent in the same turn: the answer and the effect agree', async () => {
    const answers: number[] = []
    const served = await serve(engine, {
      maxBackpressure: 100_000,
      open(socket) {
        for (let n = 0; n < 20_000; n++) answers.push(socket.send(`${n}`.padEnd(100)))
        socket.close()
      },
    })
    const client = await Client.open(served)
    expect((await client.closed()).code).toBe(1005)
    const taken = answers.flatMap((answer, n) => (answer === SendStatus.DROPPED ? [] : [`${n}`.padEnd(100)]))
    expect(await client.messages.take(client.messages.size, 'messages')).toEqual(taken)
  })

  test('drops a publish for the client that is stuck, and for no other', async () => {
    const sockets = new Queue<Socket>()
    const served = await serve(engine, {
      maxBackpressure: MiB,
      open(socket) {
        socket.subscribe('news')
        sockets.push(socket)
      },
    })
    const stuck = await RawClient.open(served)
    stuck.pause()
    const socket = await sockets.next('open')
    const healthy = await Client.open(served)
    const answers = await fill(socket, 64 * KiB)
    expect(served.server.publish('news', Buffer.alloc(128 * KiB))).toBe(true)
    expect((await healthy.next('the news')).length).toBe(128 * KiB)
    stuck.resume()
    await readNumbers(stuck, answers.length - 1, 64 * KiB)
    socket.send('next')
    expect((await stuck.frame()).payload.toString()).toBe('next')
  })

  test('is each connection’s own', async () => {
    const { served, socket } = await stuckConnection(engine, MiB)
    await fill(socket, 64 * KiB)
    const others = await Client.openMany(served, 3)
    served.server.publish('nobody', 'x')
    for (const other of others) {
      other.socket.ping('still there?')
      expect((await other.pongs.next('a pong')).toString()).toBe('still there?')
    }
  })

  test('is freed when the connection ends', async () => {
    const ended = new Deferred<[code: number, buffered: number, answer: number]>()
    const sockets = new Queue<Socket>()
    const served = await serve(engine, {
      maxBackpressure: 8 * MiB,
      open: (socket) => sockets.push(socket),
      close: (socket, code) => ended.resolve([code, socket.bufferedAmount, socket.send('x')]),
    })
    const client = await RawClient.open(served)
    client.pause()
    const socket = await sockets.next('open')
    await fill(socket, 64 * KiB)
    client.vanish()
    expect(await within(ended.promise, 'close')).toEqual([1006, 0, SendStatus.DROPPED])
  })
})

describeEngines('a socket that is not open', (engine) => {
  test('takes nothing, and says so', async () => {
    const sockets = new Queue<Socket>()
    const ended = new Deferred()
    const served = await serve(engine, { open: (socket) => sockets.push(socket), close: () => ended.resolve() })
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    socket.close(1000)
    expect(socket.readyState).toBe(2)
    expect([socket.send('x'), socket.send(Buffer.alloc(0)), socket.ping()]).toEqual([0, 0, 0])
    await within(ended.promise, 'close')
    expect(socket.readyState).toBe(3)
    expect([socket.send('x'), socket.send(''), socket.ping('p')]).toEqual([0, 0, 0])
    expect(socket.bufferedAmount).toBe(0)
    await client.closed()
    expect(client.messages.size).toBe(0)
  })

  test('takes nothing when its client has closed, even while earlier messages wait for that', async () => {
    const sockets = new Queue<Socket>()
    const messages = new Queue<string | Buffer>()
    const served = await serve(engine, {
      open: (socket) => sockets.push(socket),
      message: (_socket, message) => messages.push(message),
    })
    const client = await RawClient.open(served)
    client.pause()
    const socket = await sockets.next('open')
    while (socket.bufferedAmount < 4 * MiB) {
      socket.send(Buffer.alloc(64 * KiB))
      await turns(1)
    }
    client.write(text('the last'), closeFrame(1000))
    await messages.next('the message before the Close frame')
    await turns(2)
    expect([socket.send('x'), socket.send(Buffer.alloc(64 * KiB)), socket.ping()]).toEqual([0, 0, 0])
    expect(served.server.publish('news', 'x')).toBe(false)
  })

  test('still has in its queue what was sent before it began to close', async () => {
    const { socket, client } = await stuckConnection(engine, 16 * MiB)
    while (socket.bufferedAmount < 4 * MiB) {
      socket.send(Buffer.alloc(64 * KiB))
      await turns(1)
    }
    const before = socket.bufferedAmount
    socket.close()
    expect(socket.bufferedAmount).toBeGreaterThanOrEqual(before)
    await turns(2)
    expect(socket.bufferedAmount).toBeGreaterThan(MiB)
    client.resume()
  })
})
