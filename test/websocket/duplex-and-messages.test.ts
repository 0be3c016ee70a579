/** The adapters: a socket's messages for `for await`, and a socket as a stream. */
import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { type Duplex, PassThrough, Readable, Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'
import { createWebSocketStream } from 'ws'
import { ClosedError, duplex, messages, OptionError, type Socket, type WebSocketHandlers } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, type Served, type ServeOptions, serve } from '../support/engines.js'
import { closeFrame, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const KiB = 1024
const MiB = 1024 * KiB

interface Attached<A> {
  readonly served: Served
  /** What `attach` made of each socket in `open`. */
  readonly opened: Queue<[adapter: A, socket: Socket]>
  /** What came to the `message` handler. */
  readonly handled: Queue<string>
  readonly closes: Queue<number>
}

async function attached<A>(
  engine: EngineName,
  attach: (socket: Socket) => A,
  handlers: WebSocketHandlers<undefined> = {},
  options: ServeOptions = {},
): Promise<Attached<A>> {
  const [opened, handled, closes] = [new Queue<[A, Socket]>(), new Queue<string>(), new Queue<number>()]
  const served = await serve(
    engine,
    {
      message: (_socket, message) => handled.push(String(message)),
      close: (_socket, code) => closes.push(code),
      ...handlers,
      open: (socket) => opened.push([attach(socket), socket]),
    },
    options,
  )
  return { served, opened, handled, closes }
}

/** A test's end cuts the client, which is an error to a stream that is still open. */
const streamOf = (socket: Socket): Duplex => duplex(socket).on('error', () => {})

/** What a stream fails with; undefined when it ends well. */
const failure = (subject: Duplex): Promise<unknown> =>
  within(
    finished(subject).then(
      () => undefined,
      (error: unknown) => error,
    ),
    'the stream to end',
  )

async function* numbered(count: number, size: number, hash: Hash): AsyncGenerator<Buffer> {
  for (let index = 0; index < count; index++) {
    const chunk = Buffer.alloc(size, index)
    chunk.writeUInt32LE(index)
    hash.update(chunk)
    yield chunk
  }
}

const hashing = (hash: Hash): Writable =>
  new Writable({
    write(chunk, _encoding, callback) {
      hash.update(chunk)
      callback()
    },
  })

describeEngines('messages(socket)', (engine) => {
  test('gives each message in order, text and binary, and ends with the connection, after what came before', async () => {
    const { served, opened, handled, closes } = await attached(engine, messages)
    const client = await Client.open(served)
    const [iterator] = await opened.next('open')
    const sent = ['one', Buffer.from('two'), '', Buffer.alloc(0), 'x'.repeat(100_000), Buffer.alloc(100_000, 7)]
    for (const message of sent) client.send(message)
    client.socket.close(4001)
    const received: (string | Buffer)[] = []
    for await (const message of iterator) received.push(message)
    expect(received).toEqual(sent)
    expect(await closes.next('the close')).toBe(4001)
    expect(handled.size).toBe(0)
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  test.each<[how: string, end: (socket: Socket, client: RawClient) => void]>([
    ['the client resets the connection', (_socket, client) => client.reset()],
    ['the client closes', (_socket, client) => client.write(closeFrame(1011))],
    ['the socket is terminated', (socket) => socket.terminate()],
    ['the client breaks the protocol', (_socket, client) => client.write(text('unmasked', { masked: false }))],
  ])('ends without an error when %s, also for a loop that waits', async (_how, end) => {
    const { served, opened } = await attached(engine, messages)
    const client = await RawClient.open(served)
    const [iterator, socket] = await opened.next('open')
    const waiting = [iterator.next(), iterator.next(), iterator.next()]
    client.write(text('first'))
    expect(await within(waiting[0] as Promise<unknown>, 'the first')).toEqual({ done: false, value: 'first' })
    end(socket, client)
    expect(await within(Promise.all(waiting.slice(1)), 'the end')).toEqual(Array(2).fill({ done: true, value: undefined }))
  })

  test('lets an echo loop answer everything, also what came just before the Close frame', async () => {
    const served = await serve(engine, {
      async open(socket) {
        for await (const message of messages(socket)) socket.send(message)
      },
    })
    const client = await Client.open(served)
    for (let index = 0; index < 500; index++) client.send(`${index}`)
    for (let index = 0; index < 500; index++) expect(await client.next()).toBe(`${index}`)
    client.socket.close()
    await client.closed()
  })

  test('makes a client wait that sends faster than the loop takes', async () => {
    const { served, opened } = await attached(engine, messages)
    const client = await RawClient.open(served)
    const [iterator] = await opened.next('open')
    const count = 64
    for (let index = 0; index < count; index++) client.write(text(`${index} `.padEnd(MiB)))
    let isFlushed = false
    void client.flushed().then(() => {
      isFlushed = true
    })
    await turns(200)
    expect(isFlushed).toBe(false)
    for (let index = 0; index < count; index++) {
      const { value } = await within(iterator.next(), `message ${index}`)
      expect(String(value).slice(0, 3).trim()).toBe(`${index}`)
      expect(value).toHaveLength(MiB)
      if (index % 16 === 0) await turns(3)
    }
    await client.flushed()
  })

  test('takes many short messages in order, by a slow loop', async () => {
    const { served, opened } = await attached(engine, messages)
    const client = await RawClient.open(served)
    const [iterator] = await opened.next('open')
    const count = 2000
    client.write(...Array.from({ length: count }, (_, index) => text(`${index}`)))
    let expected = 0
    for await (const message of iterator) {
      expect(message).toBe(`${expected}`)
      expected += 1
      if (expected % 50 === 0) await turns(1)
      if (expected === count) break
    }
  })

  test('gives the messages back to the handler when the loop is left, first those that it did not take', async () => {
    const { served, opened, handled } = await attached(engine, messages)
    const client = await RawClient.open(served)
    const [iterator] = await opened.next('open')
    const count = 100
    client.write(...Array.from({ length: count }, (_, index) => text(`${index}`)))
    for await (const message of iterator) {
      await turns(10)
      if (message === '9') break
    }
    client.write(text('last'))
    const rest = await handled.take(count - 10 + 1, 'the handler’s messages')
    expect(rest).toEqual([...Array.from({ length: count - 10 }, (_, index) => `${index + 10}`), 'last'])
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  test('may be called again after that, but not while another adapter has the messages', async () => {
    const { served, opened } = await attached(engine, messages)
    const client = await RawClient.open(served)
    const [first, socket] = await opened.next('open')
    for (const attach of [() => messages(socket), () => duplex(socket)]) {
      expect(attach).toThrow(expect.objectContaining({ code: 'ERR_ATTACHED' }))
    }
    await first.return?.()
    const second = messages(socket)
    await first.return?.()
    client.write(text('hello'))
    expect(await within(second.next(), 'the message')).toEqual({ done: false, value: 'hello' })
  })

  test('of a closed socket is over at once; of anything else it throws OptionError', async () => {
    const { served, opened, closes } = await attached(engine, (socket) => socket)
    await RawClient.open(served)
    const [socket] = await opened.next('open')
    socket.terminate()
    await closes.next('the close')
    expect(await messages(socket).next()).toEqual({ done: true, value: undefined })
    for (const attach of [messages, duplex]) expect(() => attach({} as Socket)).toThrow(OptionError)
    expect(() => duplex(socket)).toThrow(ClosedError)
  })
})

for (const tls of [false, true]) {
  const options: ServeOptions = tls ? { server: { tls: true } } : {}
  describeEngines(`duplex(socket) over ${tls ? 'TLS' : 'plain TCP'}`, (engine) => {
    test('passes 64 MiB each way at once by pipeline, with little in memory', async () => {
      let mostWaiting = 0
      const { served, opened } = await attached(engine, streamOf, {}, options)
      const client = await Client.open(served, '/', { skipUTF8Validation: true })
      client.socket.removeAllListeners('message')
      const near = createWebSocketStream(client.socket)
      const [far, socket] = await opened.next('open')
      const [up, down] = [
        { sent: createHash('sha256'), received: createHash('sha256') },
        { sent: createHash('sha256'), received: createHash('sha256') },
      ]
      const [uploaded, downloaded] = [new Deferred(), new Deferred()]
      const count = 1024
      const size = 64 * KiB
      const counting = (hash: Hash, done: Deferred) => {
        let length = 0
        return new Writable({
          write(chunk: Buffer, _encoding, callback) {
            hash.update(chunk)
            length += chunk.length
            mostWaiting = Math.max(mostWaiting, socket.bufferedAmount)
            if (length === count * size) done.resolve()
            // The loop turns between two chunks, as with a file.
            setImmediate(callback)
          },
        })
      }
      // Neither side may close while the other still sends.
      async function* untilDone(source: AsyncGenerator<Buffer>, done: Deferred): AsyncGenerator<Buffer> {
        yield* source
        await done.promise
      }
      const all = Promise.all([
        pipeline(untilDone(numbered(count, size, up.sent), downloaded), near),
        pipeline(untilDone(numbered(count, size, down.sent), uploaded), far),
        pipeline(near, counting(down.received, downloaded)),
        pipeline(far, counting(up.received, uploaded)),
      ])
      await within(all, 'all pipelines', 60_000)
      expect(up.received.digest('hex')).toBe(up.sent.digest('hex'))
      expect(down.received.digest('hex')).toBe(down.sent.digest('hex'))
      expect(mostWaiting).toBeLessThanOrEqual(256 * KiB)
      expect(socket.readyState).toBe(3)
    }, 90_000)
  })
}

describeEngines('duplex(socket)', (engine) => {
  test('sends each chunk as a binary message, and gives text as its UTF-8', async () => {
    const { served, opened } = await attached(engine, streamOf)
    const client = await Client.open(served)
    const [stream] = await opened.next('open')
    stream.write('grüße')
    stream.write(Buffer.alloc(3, 1))
    expect(await client.messages.take(2, 'the messages')).toEqual([Buffer.from('grüße'), Buffer.alloc(3, 1)])
    client.send('é')
    client.send('')
    client.send(Buffer.from('!'))
    let received = ''
    stream.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
    })
    while (received.length < 3) await turns(1)
    expect(Buffer.from(received, 'latin1').toString()).toBe('é!')
  })

  test('cuts chunks that are longer than half of maxBackpressure, and drops nothing', async () => {
    const { served, opened } = await attached(engine, streamOf, {
      maxBackpressure: 64 * KiB,
      dropped: () => {
        throw new Error('a message was dropped')
      },
    })
    const client = await RawClient.open(served)
    const [stream, socket] = await opened.next('open')
    client.pause()
    const bytes = Buffer.from(Array.from({ length: MiB }, (_, index) => index * 7))
    const written = new Promise<void>((resolve, reject) => stream.write(bytes, (error) => (error ? reject(error) : resolve())))
    for (let turn = 0; turn < 50; turn++) {
      await turns(1)
      expect(socket.bufferedAmount).toBeLessThanOrEqual(64 * KiB + 100)
    }
    client.resume()
    const parts: Buffer[] = []
    while (parts.reduce((sum, part) => sum + part.length, 0) < MiB) parts.push((await client.frame('a message')).payload)
    await within(written, 'the write')
    expect(Buffer.concat(parts).equals(bytes)).toBe(true)
  })

  test('makes the client wait while the stream is not read (backpressure)', async () => {
    const { served, opened } = await attached(engine, streamOf)
    const client = await Client.open(served)
    const [stream] = await opened.next('open')
    const hashes = [createHash('sha256'), createHash('sha256')] as const
    for await (const chunk of numbered(256, 64 * KiB, hashes[0])) client.send(chunk)
    await turns(100)
    expect(client.socket.bufferedAmount).toBeGreaterThan(0)
    expect(stream.readableLength).toBeLessThan(MiB)
    client.socket.close(1000)
    await within(pipeline(stream, hashing(hashes[1])), 'the pipeline')
    expect(hashes[1].digest('hex')).toBe(hashes[0].digest('hex'))
  })

  test('end() closes with 1000 when all is sent, and finish comes with the client’s answer', async () => {
    const { served, opened, closes } = await attached(engine, streamOf)
    const client = await Client.open(served)
    const [stream] = await opened.next('open')
    stream.end(Buffer.alloc(MiB))
    await within(once(stream, 'finish'), 'finish')
    expect(Buffer.alloc(MiB).equals((await client.next()) as Buffer)).toBe(true)
    expect(await client.closed()).toEqual({ code: 1000, reason: '' })
    expect(await closes.next('the close')).toBe(1000)
    stream.resume()
    expect(await failure(stream)).toBeUndefined()
  })

  test.each([1000, undefined])('ends when the client closes with %s, after what came before', async (code) => {
    const { served, opened } = await attached(engine, streamOf)
    const client = await Client.open(served)
    const [stream] = await opened.next('open')
    client.send('the last ')
    client.send('words')
    client.socket.close(code)
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(Buffer.concat(chunks).toString()).toBe('the last words')
    expect(await failure(stream)).toBeUndefined()
    expect(stream.destroyed).toBe(true)
  })

  test.each<[how: string, end: (client: RawClient, socket: Socket) => void, code: number]>([
    ['resets the connection', (client) => client.reset(), 1006],
    ['goes away', (client) => client.write(closeFrame(1001)), 1001],
    ['reports an error', (client) => client.write(closeFrame(1011)), 1011],
    ['breaks the protocol', (client) => client.write(text('unmasked', { masked: false })), 1002],
    ['is cut by the server', (_client, socket) => socket.terminate(), 1006],
  ])('fails when the client %s', async (_how, end, code) => {
    const { served, opened } = await attached(engine, streamOf)
    const client = await RawClient.open(served)
    const [stream, socket] = await opened.next('open')
    const failed = failure(stream.resume())
    end(client, socket)
    expect(await failed).toMatchObject({ code: 'ERR_CLOSED', message: `the connection has ended with close code ${code}` })
    expect(stream.destroyed).toBe(true)
  })

  test('fails when something is written that the client has not stayed for', async () => {
    const { served, opened } = await attached(engine, streamOf)
    const client = await RawClient.open(served)
    const [stream] = await opened.next('open')
    client.pause()
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) yield Buffer.alloc(64 * KiB)
    }
    const failed = within(
      pipeline(endless, stream).catch((error: unknown) => error),
      'the pipeline to fail',
    )
    await turns(50)
    client.write(closeFrame(1000))
    client.resume()
    expect(await failed).toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('destroy(error) closes with 1011, destroy() cuts the connection', async () => {
    const { served, opened } = await attached(engine, streamOf)
    const clients = [await Client.open(served), await Client.open(served)] as const
    const streams = (await opened.take(2, 'open')).map(([stream]) => stream)
    const fault = new Error('no more')
    const failed = failure(streams[0] as Duplex)
    streams[0]?.destroy(fault)
    streams[1]?.destroy()
    expect(await failed).toBe(fault)
    expect(await clients[0].closed()).toEqual({ code: 1011, reason: '' })
    expect(await clients[1].closed()).toEqual({ code: 1006, reason: '' })
  })

  test('echoes through a pipeline of its own two halves', async () => {
    const served = await serve(engine, {
      open(socket) {
        const stream = duplex(socket)
        pipeline(stream, new PassThrough(), stream).catch(() => {})
      },
    })
    const client = await Client.open(served)
    for (let index = 0; index < 100; index++) client.send(Buffer.from(`${index}`.padStart(10)))
    const received: Buffer[] = []
    while (received.reduce((sum, part) => sum + part.length, 0) < 1000) received.push((await client.next()) as Buffer)
    expect(Buffer.concat(received).toString()).toBe(Array.from({ length: 100 }, (_, index) => `${index}`.padStart(10)).join(''))
    client.socket.close(1000)
    expect(await client.closed()).toMatchObject({ code: 1000 })
  })

  test('ends with its server', async () => {
    const { served, opened } = await attached(engine, streamOf)
    await Client.open(served)
    const [stream] = await opened.next('open')
    const failed = failure(stream.resume())
    await served.server.close({ code: 1001 })
    expect(await failed).toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('can be the source of another connection’s sendStream', async () => {
    const { served, opened } = await attached(engine, (socket) => socket)
    const [sender, receiver] = [await Client.open(served), await Client.open(served)]
    const [[from], [to]] = (await opened.take(2, 'open')) as [[Socket, Socket], [Socket, Socket]]
    const sent = to.sendStream(duplex(from))
    for (const part of ['one ', 'two ', 'three']) sender.send(part)
    sender.socket.close(1000)
    await within(sent, 'the stream')
    expect(await receiver.next()).toEqual(Buffer.from('one two three'))
    expect(await within(to.sendStream(Readable.from(['a', 'b'])), 'another').then(() => receiver.next())).toBe('ab')
  })
})
