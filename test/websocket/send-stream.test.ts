/** `sendStream`: one message from many chunks. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import {
  ClosedError,
  type Data,
  OptionError,
  SendStatus,
  type SendStreamOptions,
  type Socket,
  type WebSocketHandlers,
} from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, type ServeOptions, serve } from '../support/engines.js'
import { closeCode, closeFrame, frame, OPCODE, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB

interface Opened {
  readonly served: Served
  readonly sockets: Queue<Socket>
}

async function open(
  engine: EngineName,
  handlers: WebSocketHandlers<undefined> = {},
  options: ServeOptions = {},
): Promise<Opened> {
  const sockets = new Queue<Socket>()
  const served = await serve(
    engine,
    {
      ...handlers,
      open(socket) {
        socket.subscribe('news')
        sockets.push(socket)
      },
    },
    options,
  )
  return { served, sockets }
}

async function* from<T>(...chunks: readonly T[]): AsyncGenerator<T> {
  yield* chunks
}

/** Chunks that are asked for one by one. */
class Source implements AsyncIterableIterator<Data> {
  readonly asked = new Queue<Deferred<IteratorResult<Data>>>()
  readonly returned = new Deferred()

  next(): Promise<IteratorResult<Data>> {
    const answer = new Deferred<IteratorResult<Data>>()
    this.asked.push(answer)
    return answer.promise
  }

  async give(value: Data): Promise<void> {
    ;(await this.asked.next('the stream to ask for a chunk')).resolve({ done: false, value })
  }

  async end(): Promise<void> {
    ;(await this.asked.next('the stream to ask for a chunk')).resolve({ done: true, value: undefined })
  }

  async return(): Promise<IteratorResult<Data>> {
    this.returned.resolve()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

const outcome = (promise: Promise<void>, milliseconds?: number): Promise<unknown> =>
  within(
    promise.then(
      () => 'done',
      (error: unknown) => error,
    ),
    'the stream to end',
    milliseconds,
  )

for (const tls of [false, true]) {
  const options: ServeOptions = tls ? { server: { tls: true } } : {}
  describeEngines(`sendStream over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    test.each<[what: string, chunks: Data[], more: SendStreamOptions, message: string | Buffer]>([
      ['strings as text', ['one ', 'two ', 'three'], {}, 'one two three'],
      [
        'bytes as binary',
        [Buffer.from([1, 2]), new Uint16Array([0x0403]), new Uint8Array([5]).buffer],
        {},
        Buffer.from([1, 2, 3, 4, 5]),
      ],
      ['nothing as an empty text', [], {}, ''],
      ['nothing as an empty binary message', [], { binary: true }, Buffer.alloc(0)],
      ['empty chunks as an empty message', ['', '', ''], {}, ''],
      ['strings as binary', ['grü', 'ße'], { binary: true }, Buffer.from('grüße')],
      ['bytes as text', [Buffer.from('grüße').subarray(0, 3), Buffer.from('grüße').subarray(3)], { binary: false }, 'grüße'],
      ['both in one text', ['a', Buffer.from('é'), '\u{1F600}'], {}, 'aé\u{1F600}'],
      ['both in one binary message', [Buffer.from('a'), 'é', Buffer.from('b')], {}, Buffer.from('aéb')],
      [
        'surrogate pairs that are cut',
        ['\ud83d', '\ude00', 'x\ud83d', '\ude01\ud83d', '', '\ude02'],
        {},
        '\u{1F600}x\u{1F601}\u{1F602}',
      ],
      ['halves that stay alone', ['a\ud83d', 'b', '\ude00', '\ud83d'], {}, 'a\ufffdb\ufffd\ufffd'],
      ['a half before bytes', ['a\ud83d', Buffer.from('b')], {}, 'a\ufffdb'],
      ['chunks of every length', Array.from({ length: 300 }, (_, index) => 'é'.repeat(index)), {}, 'é'.repeat((299 * 300) / 2)],
      ['a chunk that is larger than a fragment', ['é'.repeat(MiB), '!'], {}, `${'é'.repeat(MiB)}!`],
    ])('sends %s', async (_what, chunks, more, message) => {
      const { served, sockets } = await open(engine, {}, options)
      const client = await Client.open(served)
      const socket = await sockets.next('open')
      expect(await outcome(socket.sendStream(from(...chunks), more))).toBe('done')
      socket.send('next')
      expect(await client.next()).toEqual(message)
      expect(await client.next()).toBe('next')
    })

    test('sends 64 MiB whole, takes no more than the client reads, and leaves others their turns', async () => {
      const { served, sockets } = await open(engine, {}, options)
      const client = await RawClient.open(served)
      const socket = await sockets.next('open')
      client.pause()
      const [sent, received] = [createHash('sha256'), createHash('sha256')]
      let taken = 0
      let most = 0
      async function* chunks(): AsyncGenerator<Buffer> {
        for (let index = 0; index < 256; index++) {
          const chunk = Buffer.alloc(256 * KiB, index)
          taken += 1
          sent.update(chunk)
          most = Math.max(most, socket.bufferedAmount)
          yield chunk
        }
      }
      // With sanitizers, and beside other tests, it takes 10 seconds and more.
      const done = outcome(socket.sendStream(chunks()), 60_000)
      await turns(200)
      const takenUnread = taken
      expect(takenUnread).toBeLessThan(200)
      await turns(50)
      expect(taken).toBe(takenUnread)
      client.resume()
      let length = 0
      for (let isLast = false, isFirst = true; !isLast; isFirst = false) {
        const { opcode, fin, payload } = await client.frame('a fragment')
        expect(opcode).toBe(isFirst ? OPCODE.BINARY : OPCODE.CONTINUATION)
        received.update(payload)
        length += payload.length
        isLast = fin
      }
      expect(await done).toBe('done')
      expect(length).toBe(64 * MiB)
      expect(received.digest('hex')).toBe(sent.digest('hex'))
      expect(most).toBeLessThanOrEqual(64 * KiB + 10)
    })
  })
}

describeEngines('while a stream is under way', (engine) => {
  test('messages sent and published wait behind it, in order, and count as buffered', async () => {
    const { served, sockets } = await open(engine)
    const client = await Client.open(served)
    const other = await Client.open(served)
    const socket = await sockets.next('open')
    const source = new Source()
    socket.send('before')
    const done = outcome(socket.sendStream(source))
    socket.send('first')
    served.server.publish('news', 'second')
    await source.give('stream ')
    await turns(2)
    socket.send('third'.padEnd(20 * KiB))
    served.server.publish('news', 'fourth'.padEnd(20 * KiB))
    socket.send(Buffer.from('fifth'))
    expect(await other.next()).toBe('second')
    expect(await client.next()).toBe('before')
    await turns(5)
    expect(client.messages.size).toBe(0)
    expect(socket.bufferedAmount).toBe(5 + 6 + 20 * KiB + 20 * KiB + 5)
    await source.give('of ')
    await source.give('three')
    await source.end()
    expect(await done).toBe('done')
    const messages = await client.messages.take(6, 'all messages')
    expect(messages.map((message) => String(message).trim())).toEqual([
      'stream of three',
      'first',
      'second',
      'third',
      'fourth',
      'fifth',
    ])
    await within(socket.drained(), 'an empty queue')
  })

  test('empty messages that wait behind it are limited, too', async () => {
    const { served, sockets } = await open(engine, { maxBackpressure: 100 })
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    const source = new Source()
    const done = socket.sendStream(source)
    await source.give('begun')
    let taken = 0
    for (; socket.send('') !== SendStatus.DROPPED && taken < 1000; taken++) await turns(1)
    expect(taken).toBeLessThanOrEqual(51) // what is kept free for fragments is not theirs
    await source.end()
    await done
    expect(await client.next()).toBe('begun')
    for (let index = 0; index < taken; index++) expect(await client.next()).toBe('')
    while (socket.bufferedAmount > 0) await turns()
  })

  test('another stream takes its turn after it, and what was sent between the two comes between them', async () => {
    const { served, sockets } = await open(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    const [first, second] = [new Source(), new Source()]
    const ends = [outcome(socket.sendStream(first))]
    socket.send('between')
    ends.push(outcome(socket.sendStream(second)), outcome(socket.sendStream(from('third'))))
    socket.send('after')
    expect(second.asked.size).toBe(0)
    await first.give('first')
    await first.end()
    await second.give(Buffer.from('second'))
    await second.end()
    expect(await Promise.all(ends)).toEqual(['done', 'done', 'done'])
    expect(await client.messages.take(5, 'all messages')).toEqual(['first', 'between', Buffer.from('second'), 'third', 'after'])
  })

  test('pings, pongs and Close do not wait', async () => {
    const { served, sockets } = await open(engine)
    const client = await RawClient.open(served)
    const socket = await sockets.next('open')
    const source = new Source()
    const done = outcome(socket.sendStream(source))
    await source.give('half')
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.TEXT, fin: false })
    socket.ping('hello')
    expect(await client.frame('the ping')).toMatchObject({ opcode: OPCODE.PING })
    client.write(frame({ opcode: OPCODE.PING, payload: 'you' }))
    expect(await client.frame('the pong')).toMatchObject({ opcode: OPCODE.PONG })
    socket.send('never sent')
    socket.close(4000)
    expect(closeCode(await client.frame('the Close frame'))).toBe(4000)
    expect(await done).toBeInstanceOf(ClosedError)
    await within(source.returned.promise, 'the source to be told')
    client.write(closeFrame(4000))
    await client.closed()
  })

  test('the queue is limited as ever, the stream goes on, and drain tells of room', async () => {
    const drained = new Deferred()
    const dropped: number[] = []
    const limit = 256 * KiB
    const { served, sockets } = await open(engine, {
      maxBackpressure: limit,
      drain: () => drained.resolve(),
      dropped: (_socket, message) => void dropped.push(message.length),
    })
    const client = await RawClient.open(served)
    const socket = await sockets.next('open')
    client.pause()
    let rounds = 0
    async function* chunks(): AsyncGenerator<Buffer> {
      for (; rounds < 200; rounds++) yield Buffer.alloc(50 * KiB)
    }
    const done = outcome(socket.sendStream(chunks()))
    let refused = 0
    for (let round = 0; round < 100; round++) {
      if (socket.send(Buffer.alloc(9 * KiB)) === SendStatus.DROPPED) refused += 1
      served.server.publish('news', Buffer.alloc(5 * KiB))
      await turns(1)
      expect(socket.bufferedAmount).toBeLessThanOrEqual(limit + KiB)
    }
    expect(refused).toBeGreaterThan(50)
    expect(dropped.filter((length) => length === 9 * KiB).length).toBe(refused)
    client.resume()
    expect(await done).toBe('done')
    await within(drained.promise, 'drain')
    expect(rounds).toBe(200)
    await within(socket.drained(), 'an empty queue')
  })
})

describeEngines('a stream that cannot be completed', (engine) => {
  test.each<[why: string, end: (source: Source, controller: AbortController) => Promise<void>, expected: unknown]>([
    ['its source fails', async (source) => (await source.asked.next('a question')).reject('broken'), 'broken'],
    [
      'its signal aborts',
      async (source, controller) => {
        await source.asked.next('a question')
        controller.abort('enough')
      },
      'enough',
    ],
    ['it is given something else', (source) => source.give(5 as unknown as Data), expect.any(OptionError)],
  ])('ends the connection with 1011 when %s', async (_why, end, expected) => {
    const { served, sockets } = await open(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    const [source, controller] = [new Source(), new AbortController()]
    const done = outcome(socket.sendStream(source, { signal: controller.signal }))
    const behind = outcome(socket.sendStream(from('behind')))
    await source.give('begun')
    await end(source, controller)
    expect(await done).toEqual(expected)
    expect(await behind).toBeInstanceOf(ClosedError)
    expect(await client.closed()).toEqual({ code: 1011, reason: '' })
    expect(client.messages.size).toBe(0)
    if (expected !== 'broken') await within(source.returned.promise, 'the source to be told')
  })

  test('does no harm when nothing of it was sent', async () => {
    const { served, sockets } = await open(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    const sources = [new Source(), new Source(), new Source()] as const
    const controller = new AbortController()
    const ends = [
      outcome(socket.sendStream(sources[0])),
      outcome(socket.sendStream(sources[1], { signal: controller.signal })),
      outcome(socket.sendStream(sources[2])),
      outcome(socket.sendStream(from('in the end'))),
    ]
    socket.send('after')
    controller.abort('while it waited for its turn')
    expect(await ends[1]).toBe('while it waited for its turn')
    await within(sources[1].returned.promise, 'the source to be told')
    const fault = new Error('before it had begun')
    ;(await sources[0].asked.next('a question')).reject(fault)
    expect(await ends[0]).toBe(fault)
    await sources[2].give(null as unknown as Data)
    expect(await ends[2]).toBeInstanceOf(OptionError)
    expect(await ends[3]).toBe('done')
    expect(await client.messages.take(2, 'the messages')).toEqual(['in the end', 'after'])
    expect(socket.readyState).toBe(1)
  })

  test.each([
    ['invalid', Buffer.from([0x61, 0xff])],
    ['cut at the end', Buffer.from('é').subarray(0, 1)],
  ])('for bytes that are no text (%s) is refused', async (_how, bytes) => {
    const { served, sockets } = await open(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    expect(await outcome(socket.sendStream(from<Data>('begun', bytes)))).toMatchObject({ code: 'ERR_OPTION', option: 'data' })
    expect(await client.closed()).toMatchObject({ code: 1011 })
  })

  test('rejects with ERR_CLOSED when the client goes away, and its source is told', async () => {
    const { served, sockets } = await open(engine)
    const client = await RawClient.open(served)
    const socket = await sockets.next('open')
    const source = new Source()
    const done = outcome(socket.sendStream(source))
    const queued = outcome(socket.sendStream(from('queued')))
    await source.give('half')
    await client.frame()
    client.reset()
    expect(await done).toMatchObject({ code: 'ERR_CLOSED' })
    expect(await queued).toMatchObject({ code: 'ERR_CLOSED' })
    await within(source.returned.promise, 'the source to be told')
  })

  test('rejects with ERR_CLOSED when the client closes, even while its source goes on', async () => {
    const { served, sockets } = await open(engine, { message: (socket) => void socket.send('answer') })
    const client = await RawClient.open(served, {}, { allowHalfOpen: true })
    const socket = await sockets.next('open')
    const source = new Source()
    const done = outcome(socket.sendStream(source))
    await source.give('half')
    await client.frame()
    client.write(closeFrame(1000))
    expect(closeCode(await client.frame())).toBe(1000)
    await source.give('more')
    expect(await done).toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('rejects with ERR_CLOSED when the client closes, while earlier messages wait for that', async () => {
    const messages = new Queue<string | Buffer>()
    const { served, sockets } = await open(engine, { message: (_socket, message) => messages.push(message) })
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
    expect(await outcome(socket.sendStream(from('too late')))).toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('rejects at once for a closed socket or an aborted signal, and destroys the stream that it is given', async () => {
    const { served, sockets } = await open(engine)
    await Client.open(served)
    const socket = await sockets.next('open')
    const unused = Readable.from(['x'])
    expect(await outcome(socket.sendStream(unused, { signal: AbortSignal.abort('no') }))).toBe('no')
    expect(unused.destroyed).toBe(true)
    socket.terminate()
    const late = Readable.from(['x'])
    expect(await outcome(socket.sendStream(late))).toMatchObject({ code: 'ERR_CLOSED' })
    expect(late.destroyed).toBe(true)
  })

  test('rejects with ERR_CLOSED, and asks for no chunk, when making the iterator has closed the socket', async () => {
    const { served, sockets } = await open(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('open')
    const source = new Source()
    const closing: AsyncIterable<Data> = {
      [Symbol.asyncIterator]() {
        socket.close()
        return source
      },
    }
    expect(await outcome(socket.sendStream(closing))).toMatchObject({ code: 'ERR_CLOSED' })
    await within(source.returned.promise, 'the source to be told')
    expect(source.asked.size).toBe(0)
    await client.closed()
  })

  test('rejects with OptionError for arguments that it cannot use', async () => {
    const { served, sockets } = await open(engine)
    await Client.open(served)
    const socket = await sockets.next('open')
    const wrong: [option: string, source: unknown, options: object][] = [
      ['source', 'text', {}],
      ['source', null, {}],
      ['source', ['sync'], {}],
      ['binary', from(), { binary: 1 }],
      ['compress', from(), { compress: 'yes' }],
      ['signal', from(), { signal: 5 }],
      ['bytes', from(), { bytes: true }],
    ]
    for (const [option, source, options] of wrong) {
      expect(await outcome(socket.sendStream(source as AsyncIterable<Data>, options))).toMatchObject({
        code: 'ERR_OPTION',
        option,
      })
    }
    expect(socket.readyState).toBe(1)
  })

  test('ends with its server', async () => {
    const { served, sockets } = await open(engine)
    await Client.open(served)
    const socket = await sockets.next('open')
    const source = new Source()
    const done = outcome(socket.sendStream(source))
    await source.give('half')
    const closing = served.server.close({ timeout: 100 })
    expect(await done).toMatchObject({ code: 'ERR_CLOSED' })
    await closing
  })
})

describeEngines('a compressed stream (permessage-deflate)', (engine) => {
  describe.each(['shared', '16KB'] as const)('with a compressor of %s', (compressor) => {
    test.each([true, false, undefined])('arrives whole, among other compressed messages (compress: %s)', async (compress) => {
      const { served, sockets } = await open(engine, { compression: { compressor, threshold: 10 } })
      const client = await Client.open(served, '/', { perMessageDeflate: true })
      expect(client.socket.extensions).not.toBe('')
      const socket = await sockets.next('open')
      const chunks = Array.from({ length: 50 }, (_, index) => `chunk ${index} `.repeat(100 + index * 50))
      for (let round = 0; round < 3; round++) {
        socket.send('before '.repeat(100))
        const done = outcome(socket.sendStream(from('', ...chunks, ''), compress === undefined ? {} : { compress }))
        socket.send('after '.repeat(100))
        expect(await done).toBe('done')
        expect(await client.messages.take(3, 'the messages')).toEqual([
          'before '.repeat(100),
          chunks.join(''),
          'after '.repeat(100),
        ])
      }
      expect(await outcome(socket.sendStream(from('short')))).toBe('done')
      expect(await client.next()).toBe('short')
    })
  })
})
