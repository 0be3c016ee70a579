/** `rateLimit`: clients that send more than they may, and those that do not. */
import { deflateRawSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { duplex, messages, type RateLimit, type Socket, type WebSocketHandlers } from '../../src/index.js'
import { describeEngines, type EngineName, serve } from '../support/engines.js'
import { binary, closeCode, closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const MiB = 1024 * 1024

/** What happened to a socket, with the milliseconds since its opening where that matters. */
interface Heard {
  readonly what: string
  readonly at: number
}

interface Limited {
  readonly client: RawClient
  readonly socket: Socket
  readonly heard: Queue<Heard>
  /** Milliseconds, on the clock of `heard`. */
  readonly now: () => number
  readonly server: Awaited<ReturnType<typeof serve>>['server']
}

async function limited(
  engine: EngineName,
  rateLimit: RateLimit,
  handlers: WebSocketHandlers<undefined> = {},
  headers: readonly string[] = [],
): Promise<Limited> {
  const heard = new Queue<Heard>()
  const sockets = new Queue<Socket>()
  const start = performance.now()
  const now = () => performance.now() - start
  const hear = (what: string) => heard.push({ what, at: now() })
  const served = await serve<undefined>(engine, {
    message: (_socket, message) => hear(String(message).length > 50 ? `${message.length}` : String(message)),
    ping: (_socket, data) => hear(`ping ${data}`),
    close: (_socket, code, reason) => hear(`close ${code} ${reason}`.trim()),
    ...handlers,
    rateLimit,
    open(socket) {
      sockets.push(socket)
      return handlers.open?.(socket)
    },
  })
  const client = await RawClient.open(served, { headers })
  return { client, socket: await sockets.next('open'), heard, now, server: served.server }
}

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `${index}`)
const whats = (events: readonly Heard[]) => events.map(({ what }) => what)

describeEngines('a rate limit that pauses', (engine) => {
  test('delivers everything, in order, and no more in each window than it may', async () => {
    const { client, heard, now, server } = await limited(engine, { messages: 5, seconds: 0.2, action: 'pause' })
    const sent = now()
    client.write(...numbered(23).map((name) => text(name)))
    const events = await heard.take(23, 'messages')
    expect(whats(events)).toEqual(numbered(23))
    // A window cannot begin sooner than the length of those before it.
    for (const [index, { at }] of events.entries()) {
      expect(at - sent, `message ${index}`).toBeGreaterThanOrEqual(Math.floor(index / 5) * 200)
    }
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 4, rateLimitCloses: 0, messagesReceived: 23 })
  })

  test('makes the client wait: only what the network holds leaves it', async () => {
    const { client, heard } = await limited(engine, { messages: 1, seconds: 3600, action: 'pause' })
    const write = (name: string) => client.write(binary(Buffer.alloc(MiB, name)))
    for (let index = 0; index < 64; index++) write(`${index % 10}`)
    let isFlushed = false
    void client.flushed().then(() => {
      isFlushed = true
    })
    expect((await heard.next('the first message')).what).toBe(`${MiB}`)
    await turns(200)
    expect([isFlushed, heard.size]).toEqual([false, 0])
  })

  test('counts bytes: text as UTF-8, a message of fragments when it is whole; a longer one takes a window of its own', async () => {
    const { client, heard, now, server } = await limited(engine, { bytes: 100, seconds: 0.2, action: 'pause' })
    const sent = now()
    client.write(text('é'.repeat(25))) // 50 bytes
    client.write(text('a'.repeat(20), { fin: false }), frame({ opcode: OPCODE.CONTINUATION, payload: 'a'.repeat(30) }))
    client.write(binary('b'.repeat(250)), text('c'), text('d'.repeat(49)))
    const events = await heard.take(5, 'messages')
    expect(whats(events)).toEqual(['é'.repeat(25), 'a'.repeat(50), '250', 'c', 'd'.repeat(49)])
    const after = events.map(({ at }) => at - sent)
    expect(after[2]).toBeGreaterThanOrEqual(200)
    // 250 bytes take two windows and a half; 50 are left of the third.
    expect(after[3]).toBeGreaterThanOrEqual(600)
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 2 })
  })

  test('measures compressed messages by what they inflate to', async () => {
    const { client, heard } = await limited(engine, { bytes: 1000, seconds: 0.2, action: 'pause' }, { compression: {} }, [
      'Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover',
    ])
    const deflated = deflateRawSync(Buffer.alloc(1000, 'x'), { finishFlush: 2 }).subarray(0, -4)
    client.write(...Array.from({ length: 3 }, () => text(deflated, { reserved: 4 })))
    const events = await heard.take(3, 'messages')
    expect(whats(events)).toEqual(['1000', '1000', '1000'])
    expect((events[2]?.at ?? 0) - (events[0]?.at ?? 0)).toBeGreaterThanOrEqual(400)
  })

  test('does not count Pings, which keep their place among the messages', async () => {
    const { client, heard, server } = await limited(engine, { messages: 1, seconds: 0.3, action: 'pause' })
    const ping = (payload: string) => frame({ opcode: OPCODE.PING, payload })
    client.write(text('one'), ping('1'), ping('2'), ping('3'), text('two'), ping('4'), text('three'))
    const expected = ['one', 'ping 1', 'ping 2', 'ping 3', 'two', 'ping 4', 'three']
    expect(whats(await heard.take(7, 'events'))).toEqual(expected)
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 2 })
  })

  test('adds up with a pause of the user: the longer one counts, and resume does not shorten the limit', async () => {
    const { client, socket, heard } = await limited(engine, { messages: 2, seconds: 0.5, action: 'pause' })
    client.write(...numbered(7).map((name) => text(name)))
    const [first] = await heard.take(2, 'messages')
    const start = first?.at ?? 0
    socket.pause()
    socket.resume()
    const [third] = await heard.take(2, 'messages')
    expect((third?.at ?? 0) - start).toBeGreaterThanOrEqual(500)
    socket.pause()
    await new Promise((resolve) => setTimeout(resolve, 700))
    await turns(20)
    expect(heard.size).toBe(0)
    socket.resume()
    expect(whats(await heard.take(3, 'messages'))).toEqual(['4', '5', '6'])
  })

  test('holds for an adapter too, and for what it gives back only once', async () => {
    const looped = new Queue<string>()
    const left = new Deferred()
    const { client, heard, server } = await limited(
      engine,
      { messages: 5, seconds: 0.3, action: 'pause' },
      {
        async open(socket) {
          for await (const message of messages(socket)) {
            looped.push(String(message))
            if (message === '1') await left.promise
            if (message === '6') break
          }
        },
      },
    )
    client.write(...numbered(15).map((name) => text(name)))
    expect(await looped.take(2, 'messages')).toEqual(['0', '1'])
    // By now the adapter has five messages, of which three wait.
    left.resolve()
    expect(await looped.take(5, 'messages')).toEqual(['2', '3', '4', '5', '6'])
    expect(whats(await heard.take(8, 'messages'))).toEqual(['7', '8', '9', '10', '11', '12', '13', '14'])
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 2 })
  })

  test('holds for a stream', async () => {
    let received = ''
    const done = new Deferred()
    const { client, server } = await limited(
      engine,
      { messages: 4, seconds: 0.2, action: 'pause' },
      {
        async open(socket) {
          // Left before the client is cut, which would be an error of the stream.
          for await (const chunk of duplex(socket)) {
            received += String(chunk)
            if (received.length === 10) break
          }
          done.resolve()
        },
      },
    )
    client.write(...numbered(10).map((name) => text(name)))
    await within(done.promise, 'all of it')
    expect(received).toBe('0123456789')
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 2 })
  })

  test('a client that goes while it waits: what had been read comes before close', async () => {
    const { client, socket, heard } = await limited(engine, { messages: 2, seconds: 3600, action: 'pause' })
    client.write(...numbered(6).map((name) => text(name)))
    expect(whats(await heard.take(2, 'messages'))).toEqual(['0', '1'])
    await turns(20)
    client.reset()
    while (socket.readyState === 1) {
      socket.send('are you there?')
      await turns(2)
    }
    expect(whats(await heard.take(5, 'the rest'))).toEqual(['2', '3', '4', '5', 'close 1006'])
  })

  test.each(['vanish', 'reset'] as const)(
    'a client that goes while it waits (%s) is missed by Pings of a pace',
    async (leave) => {
      const rateLimit = { messages: 2, seconds: 3600, action: 'pause' } as const
      const { client, heard } = await limited(engine, rateLimit, { sendPings: { interval: 1 } })
      client.write(...numbered(4).map((name) => text(name)))
      expect(whats(await heard.take(2, 'messages'))).toEqual(['0', '1'])
      client[leave]()
      expect(whats(await heard.take(3, 'the rest'))).toEqual(['2', '3', 'close 1006'])
    },
  )

  test('a socket that waits can be closed and terminated, and its server too', async () => {
    const rateLimit = { messages: 1, seconds: 3600, action: 'pause' } as const
    const closing = await limited(engine, rateLimit)
    closing.client.write(text('0'), text('1'))
    await closing.heard.next('the message')
    await turns(20)
    closing.socket.close(4000, 'enough')
    expect(closeCode(await closing.client.frame('the Close frame'))).toBe(4000)
    closing.client.write(closeFrame(4000))
    expect((await closing.heard.next('close')).what).toBe('close 4000')

    const terminated = await limited(engine, rateLimit)
    terminated.client.write(text('0'), text('1'))
    await terminated.heard.next('the message')
    await turns(20)
    terminated.socket.terminate()
    expect((await terminated.heard.next('close')).what).toBe('close 1006')

    const stopped = await limited(engine, rateLimit)
    stopped.client.write(text('0'), text('1'))
    await stopped.heard.next('the message')
    await turns(20)
    const closed = stopped.server.close()
    expect(closeCode(await stopped.client.frame('the Close frame'))).toBe(1001)
    stopped.client.write(closeFrame(1001))
    await within(closed, 'the server to close')
    expect((await stopped.heard.next('close')).what).toBe('close 1001')
  })

  test('a handler that closes in the middle hears nothing of what is held', async () => {
    const log: string[] = []
    const done = new Deferred()
    const { client } = await limited(
      engine,
      { messages: 3, seconds: 0.1, action: 'pause' },
      {
        message(socket, message) {
          log.push(String(message))
          if (message === '4') socket.close(4000)
        },
        close: () => done.resolve(),
      },
    )
    client.write(...numbered(20).map((name) => text(name)))
    expect(closeCode(await client.frame('the Close frame'))).toBe(4000)
    client.write(closeFrame(4000))
    await within(done.promise, 'close')
    expect(log).toEqual(['0', '1', '2', '3', '4'])
  })

  test('a client within the limit does not notice it', async () => {
    const { client, heard, server } = await limited(engine, { messages: 100, bytes: MiB, seconds: 3600, action: 'pause' })
    client.write(...numbered(100).map((name) => text(name)), closeFrame(4001))
    expect(whats(await heard.take(101, 'events'))).toEqual([...numbered(100), 'close 4001'])
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 0 })
  })

  test('each client has a limit of its own, and other routes have none', async () => {
    const heard = new Queue<string>()
    const message = (_: unknown, data: string | Buffer) => heard.push(String(data))
    const served = await serve(
      engine,
      { message, rateLimit: { messages: 2, seconds: 3600, action: 'pause' } },
      { path: '/limited', routes: (server) => server.ws('/free', { message }) },
    )
    for (const name of ['a', 'b']) {
      const client = await RawClient.open(served, { path: '/limited' })
      client.write(text(`${name}1`), text(`${name}2`), text(`${name}3`))
      expect(await heard.take(2, 'messages')).toEqual([`${name}1`, `${name}2`])
    }
    const free = await RawClient.open(served, { path: '/free' })
    free.write(...numbered(50).map((name) => text(name)))
    expect(await heard.take(50, 'messages')).toEqual(numbered(50))
  })
})

describeEngines('a rate limit that closes', (engine) => {
  test('closes with 1008 in place of the first message too many, after those before it', async () => {
    const { client, heard, server } = await limited(engine, { messages: 3, seconds: 60, action: 'close' })
    client.write(...numbered(50).map((name) => text(name)))
    const close = await client.frame('the Close frame')
    expect([closeCode(close), close.payload.toString('utf8', 2)]).toEqual([1008, 'rate limit exceeded'])
    client.write(closeFrame(1008))
    expect(whats(await heard.take(4, 'events'))).toEqual(['0', '1', '2', 'close 1008'])
    await client.closed()
    expect(server.metrics()).toMatchObject({ rateLimitPauses: 0, rateLimitCloses: 1 })
  })

  test('counts bytes, and takes no message that is too long', async () => {
    const exact = await limited(engine, { bytes: 100, seconds: 60, action: 'close' })
    exact.client.write(text('x'.repeat(40)), text('y'.repeat(60)), text(''), text('z'))
    expect(closeCode(await exact.client.frame('the Close frame'))).toBe(1008)
    expect(whats(await exact.heard.take(3, 'messages'))).toEqual(['x'.repeat(40), '60', ''])

    const long = await limited(engine, { bytes: 100, seconds: 60, action: 'close' })
    long.client.write(text('x'.repeat(101)))
    expect(closeCode(await long.client.frame('the Close frame'))).toBe(1008)
    expect(long.heard.size).toBe(0)
  })

  test('gives a new window to a client that has waited', async () => {
    const { client, heard } = await limited(engine, { messages: 2, seconds: 0.2, action: 'close' })
    client.write(text('0'), text('1'))
    const [first] = await heard.take(2, 'messages')
    await new Promise((resolve) => setTimeout(resolve, 250))
    client.write(text('2'), text('3'))
    const [, last] = await heard.take(2, 'messages')
    expect((last?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(200)
    client.write(text('4'), text('5'), text('6'))
    expect(closeCode(await client.frame('the Close frame'))).toBe(1008)
  })

  test('does not blame the client for what comes at once because it was not read', async () => {
    const { client, socket, heard } = await limited(engine, { messages: 5, seconds: 0.2, action: 'close' })
    socket.pause()
    const paused = performance.now()
    for (const name of numbered(20)) {
      client.write(text(name))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await client.flushed()
    const windows = (performance.now() - paused) / 200
    expect(windows).toBeGreaterThan(4)
    socket.resume()
    expect(whats(await heard.take(20, 'messages'))).toEqual(numbered(20))
    // For the time of the pause, and for the window that goes on; not for any number.
    client.write(...numbered(5 * Math.ceil(windows) + 20).map((name) => text(name)))
    expect(closeCode(await client.frame('the Close frame'))).toBe(1008)
  })

  test('holds for an adapter, which sees the end', async () => {
    const looped: string[] = []
    const done = new Deferred()
    const { client } = await limited(
      engine,
      { messages: 3, seconds: 60, action: 'close' },
      {
        async open(socket) {
          for await (const message of messages(socket)) looped.push(String(message))
          done.resolve()
        },
      },
    )
    client.write(...numbered(10).map((name) => text(name)))
    expect(closeCode(await client.frame('the Close frame'))).toBe(1008)
    client.write(closeFrame(1008))
    await within(done.promise, 'the end of the loop')
    expect(looped).toEqual(['0', '1', '2'])
  })

  test('with what is held while the socket is paused, when the connection ends', async () => {
    const log: string[] = []
    const done = new Deferred()
    const { client, socket, server } = await limited(
      engine,
      { messages: 3, seconds: 60, action: 'close' },
      {
        message(socket, message) {
          if (message === '0') socket.pause()
          log.push(String(message))
        },
        close(_socket, code) {
          log.push(`close ${code}`)
          done.resolve()
        },
      },
    )
    client.write(...numbered(10).map((name) => text(name)))
    while (log.length === 0) await turns(1)
    await turns(20)
    client.reset()
    while (socket.readyState === 1) {
      socket.send('are you there?')
      await turns(2)
    }
    await within(done.promise, 'close')
    expect(log).toEqual(['0', '1', '2', 'close 1006'])
    expect(server.metrics()).toMatchObject({ rateLimitCloses: 1 })
  })
})
