/**
 * Compressed messages (permessage-deflate, RFC 7692): what is agreed on with clients, what is compressed, and
 * that all of it arrives.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import type { PerMessageDeflateOptions } from 'ws'
import {
  type CompressionOptions,
  type CompressorSize,
  OptionError,
  type Socket,
  type WebSocketHandlers,
} from '../../src/index.js'
import { Client } from '../support/client.js'
import { deflaterWithMemory, inflateMessage, inflaterWithMemory, RSV1, textOf } from '../support/deflate.js'
import { describeEngines, type Served, type ServeOptions, serve } from '../support/engines.js'
import { frame, handshake, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB

/** Compresses well. */
const LONG = 'all work and no play makes jack a dull boy. '.repeat(100)
const SIZES: readonly CompressorSize[] = ['3KB', '4KB', '8KB', '16KB', '32KB', '64KB', '128KB', '256KB']

const echo = (compression: CompressionOptions, more: WebSocketHandlers<undefined> = {}): WebSocketHandlers<undefined> => ({
  compression,
  message: (socket, message) => void socket.send(message),
  ...more,
})

/** A connection on which permessage-deflate was offered; what was agreed on is in `agreed`. */
async function offering(
  served: Served,
  offer = 'permessage-deflate',
): Promise<{ client: RawClient; agreed: string | undefined }> {
  const client = await RawClient.connect(served)
  client.write(handshake({ headers: [`Sec-WebSocket-Extensions: ${offer}`] }))
  const answer = await client.response()
  expect(answer.status).toBe(101)
  return { client, agreed: answer.header('sec-websocket-extensions') }
}

/** Without printing them when they differ. */
function isSame(received: string | Buffer, sent: Buffer): boolean {
  return typeof received !== 'string' && received.equals(sent)
}

/** Messages of all sizes to 1 MiB, of which some compress well and others not at all. */
function variousMessages(count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const size = index < 8 ? index : Math.floor(2 ** (Math.random() * 20))
    if (index % 3 === 0) return randomBytes(size)
    const word = randomBytes(randomInt(1, 40)).toString('hex')
    return Buffer.from(word.repeat(Math.ceil(size / word.length)).slice(0, size))
  })
}

describeEngines('permessage-deflate: the agreement', (engine) => {
  test.each<[what: string, options: CompressionOptions, offer: string, agreed: string | undefined]>([
    [
      'nothing is kept by default',
      {},
      'permessage-deflate',
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    ],
    [
      'all is kept with the largest sizes',
      { compressor: '256KB', decompressor: '256KB' },
      'permessage-deflate',
      'permessage-deflate',
    ],
    [
      'a client that can limit its window does',
      { compressor: '256KB', decompressor: '8KB' },
      'permessage-deflate; client_max_window_bits',
      'permessage-deflate; client_max_window_bits=13',
    ],
    [
      'the first usable offer is taken',
      { compressor: '256KB', decompressor: '256KB' },
      'permessage-deflate; level=9, x-other; a=b, permessage-deflate; server_max_window_bits=12',
      'permessage-deflate; server_max_window_bits=12',
    ],
    ['another extension is none', {}, 'x-webkit-deflate-frame', undefined],
    ['an offer with an unknown parameter is declined', {}, 'permessage-deflate; constructor', undefined],
    ['so is one with a window that does not exist', {}, 'permessage-deflate; server_max_window_bits=16', undefined],
  ])('%s', async (_, options, offer, agreed) => {
    const served = await serve(engine, echo(options))
    const answer = await offering(served, offer)
    expect(answer.agreed).toBe(agreed)
    answer.client.write(text('still here'))
    expect(textOf(await answer.client.frame())).toBe('still here')
  })

  test('offers in several header fields count as one list', async () => {
    const served = await serve(engine, echo({ compressor: '256KB', decompressor: '256KB' }))
    const client = await RawClient.connect(served)
    const headers = [
      'Sec-WebSocket-Extensions: x-other',
      'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover',
    ]
    client.write(handshake({ headers }))
    expect((await client.response()).header('sec-websocket-extensions')).toBe('permessage-deflate; server_no_context_takeover')
  })

  test('a header that is not made of extensions is answered with 400', async () => {
    const served = await serve(engine, echo({}))
    const client = await RawClient.connect(served)
    client.write(handshake({ headers: ['Sec-WebSocket-Extensions: permessage-deflate; =10'] }))
    expect((await client.response()).status).toBe(400)
  })

  test('without the option, or with false, nothing is agreed on, and nothing is compressed', async () => {
    for (const options of [{}, { compression: false as const }]) {
      const served = await serve(engine, { ...options, message: (socket, message) => void socket.send(message, true) })
      const { client, agreed } = await offering(served)
      expect(agreed).toBeUndefined()
      client.write(text(LONG))
      expect(await client.frame()).toMatchObject({ reserved: 0, payload: Buffer.from(LONG) })
    }
  })
})

describeEngines('permessage-deflate: the choice of what is compressed', (engine) => {
  /** Whether each message that was sent is compressed. */
  async function compressedOnes(
    options: CompressionOptions,
    send: (socket: Socket) => void,
    count: number,
  ): Promise<readonly boolean[]> {
    const served = await serve(engine, { compression: options, open: send })
    const { client } = await offering(served)
    const found: boolean[] = []
    while (found.length < count) found.push((await client.frame()).reserved === RSV1)
    return found
  }

  test('is that of the threshold, 1024 bytes unless given', async () => {
    const send = (socket: Socket): void => {
      for (const size of [0, 1, 1023, 1024, 5000]) socket.send('a'.repeat(size))
      socket.send('€'.repeat(341)) // 1023 bytes
      socket.send('€'.repeat(342)) // 1026 bytes
      socket.send(Buffer.alloc(1023))
      socket.send(Buffer.alloc(1024))
    }
    expect(await compressedOnes({}, send, 9)).toEqual([false, false, false, true, true, false, true, false, true])
  })

  test('can be put elsewhere, but an empty message is never compressed', async () => {
    const send = (socket: Socket): void => {
      for (const size of [0, 20, 100, 10_000]) socket.send('a'.repeat(size))
    }
    expect(await compressedOnes({ threshold: 0 }, send, 4)).toEqual([false, true, true, true])
    expect(await compressedOnes({ threshold: 100 }, send, 4)).toEqual([false, false, true, true])
    expect(await compressedOnes({ threshold: 2 ** 31 - 1 }, send, 4)).toEqual([false, false, false, false])
  })

  test.each<CompressionOptions>([{}, { compressor: '16KB' }])('is the sender’s where it says so (%j)', async (options) => {
    const send = (socket: Socket): void => {
      socket.send('short '.repeat(10), true)
      socket.send(LONG, false)
      socket.send(Buffer.from('short '.repeat(10)), true)
      socket.send(Buffer.from(LONG), false)
      socket.send(LONG.repeat(20), true)
      socket.send(LONG.repeat(20), false)
      socket.send('', true)
      socket.send('', true)
      socket.send(LONG, undefined)
    }
    expect(await compressedOnes(options, send, 9)).toEqual([true, false, true, false, true, false, false, false, true])
  })

  test.each<CompressionOptions>([{}, { compressor: '16KB' }])(
    'applies to what is published likewise (%j)',
    async (compression) => {
      const opened = new Queue<Socket>()
      const served = await serve(engine, {
        compression,
        open(socket) {
          socket.subscribe('news')
          opened.push(socket)
        },
      })
      const { client } = await offering(served)
      await opened.next('the subscriber')
      const sender = await Client.open(served)
      const other = await opened.next('the publisher')
      const { server } = served
      for (const long of [LONG, LONG.repeat(20)]) {
        server.publish('news', long)
        server.publish('news', long, false)
        other.publish('news', long)
        other.publish('news', long, false)
      }
      server.publish('news', 'short '.repeat(10))
      server.publish('news', Buffer.from('short '.repeat(10)), true)
      other.publish('news', 'short '.repeat(10), true)
      const expected = [true, false, true, false, true, false, true, false, false, true, true]
      const found: boolean[] = []
      while (found.length < expected.length) found.push((await client.frame()).reserved === RSV1)
      expect(found).toEqual(expected)
      sender.socket.terminate()
    },
  )

  test('holds for what is put together by cork', async () => {
    const send = (socket: Socket): void => {
      socket.cork(() => {
        for (const compress of [false, true, undefined]) socket.send(LONG.repeat(2), compress)
        for (const compress of [false, true, undefined]) socket.send(Buffer.from(LONG.repeat(2)), compress)
      })
    }
    expect(await compressedOnes({}, send, 6)).toEqual([false, true, true, false, true, true])
    expect(await compressedOnes({ threshold: 100_000 }, send, 6)).toEqual([false, true, false, false, true, false])
  })

  test('is refused when it is no boolean', async () => {
    const sockets = new Queue<Socket>()
    const served = await serve(engine, { compression: {}, open: (socket) => sockets.push(socket) })
    await Client.open(served)
    const socket = await sockets.next('open')
    const wrong = 1 as unknown as boolean // what TypeScript would not let through, and JavaScript does
    expect(() => socket.send('text', wrong)).toThrow(OptionError)
    expect(() => socket.publish('topic', 'text', wrong)).toThrow(OptionError)
    expect(() => served.server.publish('topic', 'text', wrong)).toThrow(OptionError)
  })
})

const CLIENTS: readonly (PerMessageDeflateOptions & { concurrencyLimit?: number })[] = [
  {},
  { threshold: 0 },
  { threshold: 100_000 },
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true, threshold: 0 },
  { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 },
  ...[8, 9, 10, 11, 12, 13, 14, 15].map((bits) => ({ serverMaxWindowBits: bits, clientMaxWindowBits: bits, threshold: 0 })),
  { serverNoContextTakeover: true, serverMaxWindowBits: 8, threshold: 0 },
  // A value that ws knows, and its types do not.
  { clientMaxWindowBits: false as unknown as number, threshold: 0 },
  { threshold: 0, zlibDeflateOptions: { level: 9, memLevel: 9 } },
  { threshold: 0, zlibDeflateOptions: { level: 0 } },
  { threshold: 0, concurrencyLimit: 1 },
]
const SERVERS: readonly CompressionOptions[] = [
  {},
  { threshold: 0 },
  { compressor: '256KB', decompressor: '256KB', threshold: 0 },
  { compressor: '3KB', decompressor: '3KB', threshold: 0 },
]

for (const tls of [false, true]) {
  const options: ServeOptions = tls ? { server: { tls: true } } : {}
  describeEngines(`permessage-deflate: compressed messages over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    test.each(tls ? SERVERS.slice(1, 3) : SERVERS)(
      'of every kind of ws client come back the same, with %j',
      async (compression) => {
        const served = await serve(engine, echo(compression), options)
        const messages = variousMessages(20)
        for (const perMessageDeflate of tls ? CLIENTS.slice(0, 2) : CLIENTS) {
          const client = await Client.open(served, '/', { perMessageDeflate })
          expect(client.socket.extensions).toBe('permessage-deflate')
          for (const message of messages) client.send(message)
          for (const message of messages)
            expect(isSame(await client.next(), message), JSON.stringify(perMessageDeflate)).toBe(true)
          client.socket.terminate()
        }
      },
    )

    test('and others, in both directions at once, keep their order and their content', async () => {
      const fromServer = variousMessages(60)
      const fromClient = variousMessages(60)
      const received = new Queue<Buffer>()
      const handlers: WebSocketHandlers<undefined> = {
        compression: { compressor: '32KB', decompressor: '32KB' },
        async open(socket) {
          for (const [index, message] of fromServer.entries()) {
            socket.send(message, index % 4 === 0 ? undefined : index % 2 === 0)
            if (index % 7 === 0) await turns(1)
          }
        },
        message: (_, message) => received.push(message as Buffer), // all of them are binary
      }
      const served = await serve(engine, handlers, options)
      const client = await Client.open(served, '/', { perMessageDeflate: { threshold: 0 } })
      for (const [index, message] of fromClient.entries()) client.socket.send(message, { compress: index % 3 !== 0 })
      for (const message of fromServer) expect(isSame(await client.next(), message)).toBe(true)
      for (const message of fromClient) expect((await received.next('a message')).equals(message)).toBe(true)
    })

    test('that were sent before a close still arrive, and then the code', async () => {
      const handlers: WebSocketHandlers<undefined> = {
        compression: { threshold: 0 },
        open(socket) {
          for (let index = 0; index < 50; index++) socket.send(`${index} ${LONG}`, index % 5 !== 0)
          socket.ping('behind')
          socket.send(LONG.repeat(50))
          socket.close(3000, 'done')
          expect(socket.send(LONG)).toBe(0)
        },
      }
      const served = await serve(engine, handlers, options)
      const client = await Client.open(served, '/', { perMessageDeflate: true })
      for (let index = 0; index < 50; index++) expect(await client.next()).toBe(`${index} ${LONG}`)
      expect(await client.next()).toBe(LONG.repeat(50))
      expect(await client.closed()).toEqual({ code: 3000, reason: 'done' })
      expect(client.pings.size).toBe(1)
    })
  })
}

describeEngines('permessage-deflate: compressed messages', (engine) => {
  test.each(SIZES)('of a client are understood with a decompressor of %s, and its own compressor remembers', async (size) => {
    const served = await serve(engine, echo({ compressor: size, decompressor: size, threshold: 0 }))
    const { client, agreed } = await offering(served, 'permessage-deflate; client_max_window_bits')
    const bits = Number(/client_max_window_bits=(\d+)/.exec(agreed ?? '')?.[1] ?? 15)
    expect(agreed).not.toContain('no_context_takeover')
    const deflate = deflaterWithMemory({ windowBits: bits })
    const inflate = inflaterWithMemory({ windowBits: bits })
    const words = randomBytes(100).toString('hex')
    const lengths: number[] = []
    for (let index = 0; index < 5; index++) {
      client.write(frame({ opcode: OPCODE.TEXT, payload: await deflate(words), reserved: RSV1 }))
      const received = await client.frame()
      expect(received.reserved).toBe(RSV1)
      expect((await inflate(received.payload)).toString()).toBe(words)
      lengths.push(received.payload.length)
    }
    expect(Math.max(...lengths.slice(1))).toBeLessThan(Number(lengths[0]) / 2)
  })

  test('need no memory of each other where the compressor is shared, or the client asks for that', async () => {
    for (const [compressor, offer] of [
      ['shared', 'permessage-deflate'],
      ['256KB', 'permessage-deflate; server_no_context_takeover'],
    ] as const) {
      const served = await serve(engine, echo({ compressor, threshold: 0 }))
      const { client } = await offering(served, offer)
      const words = 'once upon a time '.repeat(5)
      for (let index = 0; index < 3; index++) {
        client.write(text(words))
        const received = await client.frame()
        expect(received.reserved).toBe(RSV1)
        expect(inflateMessage(received.payload).toString()).toBe(words)
      }
    }
  })

  test('stay within the window that the client asks for', async () => {
    for (const bits of [8, 9, 12]) {
      for (const compressor of ['shared', '256KB'] as const) {
        const served = await serve(engine, echo({ compressor, threshold: 0 }))
        const { client, agreed } = await offering(served, `permessage-deflate; server_max_window_bits=${bits}`)
        expect(agreed).toContain(`server_max_window_bits=${bits}`)
        const unrepeated = randomBytes(3000).toString('base64')
        client.write(text(unrepeated.repeat(3)))
        // An inflater of just this window fails on references that reach further back.
        expect(inflateMessage((await client.frame()).payload, { windowBits: bits }).toString()).toBe(unrepeated.repeat(3))
      }
    }
  })

  test('published to many, with compressors of all kinds and none, reach all of them in order', async () => {
    const opened = new Queue<Socket>()
    const subscribe = (socket: Socket): void => {
      socket.subscribe('news')
      opened.push(socket)
    }
    const served = await serve(
      engine,
      { compression: { threshold: 0 }, open: subscribe },
      {
        path: '/shared',
        routes: (server) =>
          server
            .ws('/own', { compression: { compressor: '8KB', threshold: 100 }, open: subscribe })
            .ws('/none', { open: subscribe }),
      },
    )
    const clients: Client[] = []
    for (const path of ['/shared', '/own', '/none']) {
      for (const perMessageDeflate of [true, false, { serverMaxWindowBits: 9 }, { serverNoContextTakeover: true }]) {
        clients.push(await Client.open(served, path, { perMessageDeflate }))
      }
    }
    const sockets = await opened.take(clients.length, 'the subscribers')
    const expected: string[] = []
    for (let round = 0; round < 60; round++) {
      const message = `${round} `.repeat(randomInt(1, round % 20 === 0 ? 20_000 : 300))
      const compress = [undefined, true, false][round % 3]
      expected.push(message, `to all ${round}`)
      served.server.publish('news', message, compress)
      for (const socket of sockets) socket.send(`to all ${round}`, compress)
      if (round % 9 === 0) await turns(1)
    }
    for (const client of clients) {
      for (const message of expected) expect(await client.next()).toBe(message)
    }
  })

  test('that cannot be compressed arrive all the same', async () => {
    const served = await serve(engine, echo({ threshold: 0, compressor: '64KB' }))
    const shared = await serve(engine, echo({ threshold: 0 }))
    for (const address of [served, shared]) {
      const client = await Client.open(address, '/', { perMessageDeflate: { threshold: 0 } })
      for (const size of [1, 2, 15, 1000, 70_000, 2 * MiB]) {
        const message = randomBytes(size)
        expect(isSame(await client.ask(message), message)).toBe(true)
      }
    }
  })

  test('count by their content, as they do uncompressed', async () => {
    const answers: number[] = []
    const received = new Deferred<number>()
    const served = await serve(engine, {
      compression: { threshold: 0 },
      async open(socket) {
        answers.push(socket.send('x'.repeat(5000)))
        await turns(20)
        answers.push(socket.send('€'.repeat(3000)))
      },
      message: (_, message) => received.resolve(message.length),
    })
    const client = await Client.open(served, '/', { perMessageDeflate: { threshold: 0 } })
    expect((await client.next()).length + (await client.next()).length).toBe(8000)
    client.send('z'.repeat(2000))
    expect(await received.promise).toBe(2000)
    expect(answers).toEqual([5000, 9000])
    expect(served.server.metrics()).toMatchObject({
      messagesSent: 2,
      bytesSent: 14_000,
      messagesReceived: 1,
      bytesReceived: 2000,
    })
  })

  test('pile up for a client that does not read, to the limit; drain comes, and nothing that was taken is lost', async () => {
    const opened = new Queue<Socket>()
    const drained = new Queue<number>()
    const served = await serve(engine, {
      compression: { threshold: 0 },
      maxBackpressure: 4 * MiB,
      open: (socket) => opened.push(socket),
      drain: (socket) => drained.push(socket.bufferedAmount),
    })
    const { client } = await offering(served)
    const socket = await opened.next('open')
    client.pause()
    const messages: Buffer[] = []
    for (let answer = 1; answer !== 0; ) {
      const message = randomBytes(64 * KiB)
      answer = socket.send(message)
      if (answer !== 0) messages.push(message)
      expect(socket.bufferedAmount).toBeLessThanOrEqual(4 * MiB + 64 * KiB)
      if (messages.length % 8 === 0) await turns(2)
    }
    expect(socket.bufferedAmount).toBeGreaterThan(3 * MiB)
    client.resume()
    for (const message of messages) {
      const { payload, reserved } = await client.frame()
      expect((reserved === RSV1 ? inflateMessage(payload) : payload).equals(message)).toBe(true)
    }
    await drained.next('drain')
    while (socket.bufferedAmount > 0) await turns(1)
  })

  test('under way do not matter to terminate, nor to a client that leaves', async () => {
    const closed = new Queue<number>()
    const served = await serve(engine, {
      compression: { compressor: '256KB', threshold: 0 },
      open(socket) {
        for (let index = 0; index < 20; index++) socket.send(randomBytes(100_000))
      },
      message(socket) {
        for (let index = 0; index < 20; index++) socket.send(randomBytes(100_000))
        socket.terminate()
      },
      close: (_, code) => closed.push(code),
    })
    const cut = await Client.open(served, '/', { perMessageDeflate: true })
    cut.send('cut me')
    expect((await cut.closed()).code).toBe(1006)
    const leaving = await RawClient.open(served, { headers: ['Sec-WebSocket-Extensions: permessage-deflate'] })
    leaving.write(frame({ opcode: OPCODE.TEXT, payload: 'x'.repeat(100), fin: false }))
    leaving.vanish()
    expect(await closed.take(2, 'both ends')).toEqual([1006, 1006])
  })

  test('do not pass the end of the server by: close waits for them', async () => {
    const opened = new Deferred<Socket>()
    const served = await serve(engine, { compression: { threshold: 0 }, open: (socket) => opened.resolve(socket) })
    const client = await Client.open(served, '/', { perMessageDeflate: true })
    const socket = await opened.promise
    for (let index = 0; index < 20; index++) socket.send(`${index} ${LONG}`)
    const closing = served.server.close()
    for (let index = 0; index < 20; index++) expect(await client.next()).toBe(`${index} ${LONG}`)
    expect((await client.closed()).code).toBe(1001)
    await closing
  })

  // Node.js has a WebSocket of its own from version 22 on.
  test.skipIf(globalThis.WebSocket === undefined)('are exchanged with the WebSocket of Node.js', async () => {
    const served = await serve(engine, echo({ threshold: 0 }))
    const own = new globalThis.WebSocket(served.wsUrl())
    const messages = new Queue<unknown>()
    own.addEventListener('message', ({ data }) => messages.push(data))
    await within(new Promise((resolve) => own.addEventListener('open', resolve, { once: true })), 'the handshake')
    expect(own.extensions).toContain('permessage-deflate')
    for (const message of ['', 'short', LONG, LONG.repeat(50)]) {
      own.send(message)
      expect(await messages.next('the echo')).toBe(message)
    }
    const done = new Promise((resolve) => own.addEventListener('close', resolve, { once: true }))
    own.close()
    await within(done, 'the end')
  })
})
