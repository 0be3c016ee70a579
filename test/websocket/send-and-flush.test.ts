/** `sendAndFlush`: one message, and the moment at which it has left for the kernel, or never will. */
import process from 'node:process'
import { expect, onTestFinished, test } from 'vitest'
import { ClosedError, DroppedError, OptionError, type Socket, type WebSocketHandlers } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, type ServeOptions, serve } from '../support/engines.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { Queue, turns, within } from '../support/waiting.js'

const MiB = 1024 * 1024
/** More than the kernel takes for a client that does not read. */
const MUCH = 16 * MiB
type EngineName = 'native' | 'portable'

async function serveAnd(engine: EngineName, handlers: WebSocketHandlers<undefined> = {}, options: ServeOptions = {}) {
  const sockets = new Queue<Socket>()
  const served = await serve<undefined>(
    engine,
    { maxBackpressure: 64 * MiB, open: (socket) => sockets.push(socket), ...handlers },
    options,
  )
  return { served, sockets }
}

/** A client that does not read, and its socket. */
async function unread(engine: EngineName, handlers: WebSocketHandlers<undefined> = {}, options: ServeOptions = {}) {
  const { served, sockets } = await serveAnd(engine, handlers, options)
  const client = await RawClient.open(served)
  client.pause()
  return { served, client, socket: await sockets.next('the socket') }
}

/** What has become of each promise, in order. */
function watch(order: Queue<string>, name: string, promise: Promise<void>): void {
  promise.then(
    () => order.push(`${name} left`),
    (error) => order.push(`${name} ${error.code}`),
  )
}

describeEngines('sendAndFlush', (engine) => {
  test.each<[what: string, data: string | Buffer]>([
    ['an empty message', ''],
    ['a short text', 'hello'],
    ['bytes', Buffer.from('hello')],
    ['a long message', Buffer.alloc(MiB)],
    ['a long text', 'é'.repeat(MiB)],
  ])('resolves for %s to a client that reads', async (_what, data) => {
    const { served, sockets } = await serveAnd(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('the socket')
    expect(await within(socket.sendAndFlush(data), 'the message to leave')).toBeUndefined()
    expect(await client.next()).toEqual(data)
  })

  test('resolves in the order of the messages, between others, in handlers and in cork', async () => {
    const order = new Queue<string>()
    const { served, sockets } = await serveAnd(engine, {
      message(socket) {
        socket.send('a')
        watch(order, 'b', socket.sendAndFlush('b'))
        socket.cork(() => {
          socket.send('c')
          watch(order, 'd', socket.sendAndFlush('d'))
          watch(order, 'e', socket.sendAndFlush('e'.repeat(10_000)))
        })
        socket.ping()
        watch(order, 'f', socket.sendAndFlush('f'))
      },
    })
    const client = await Client.open(served)
    await sockets.next('the socket')
    client.send('go')
    expect(await order.take(4, 'messages that have left')).toEqual(['b left', 'd left', 'e left', 'f left'])
    expect((await client.messages.take(6, 'messages')).map((message) => message.slice(0, 1))).toEqual([...'abcdef'])
  })

  test('does not resolve before the client has read enough, nor for what is sent behind', async () => {
    const { socket, client } = await unread(engine)
    const order = new Queue<string>()
    watch(order, 'first', socket.sendAndFlush(Buffer.alloc(MUCH)))
    watch(order, 'second', socket.sendAndFlush('second'))
    socket.send(Buffer.alloc(MUCH))
    watch(order, 'last', socket.sendAndFlush('last'))
    await turns(20)
    expect(order.size).toBe(0)
    expect(socket.bufferedAmount).toBeGreaterThan(MUCH)
    // As much as lets the first two leave, and not the rest: the kernel has room for some MiB more.
    client.resume()
    expect(await order.next('the first')).toBe('first left')
    expect(await order.next('the second')).toBe('second left')
    expect(await order.next('the last')).toBe('last left')
  })

  test('resolves for a message although more and more is sent behind it', async () => {
    const { socket, client } = await unread(engine)
    socket.send(Buffer.alloc(MUCH))
    const marked = socket.sendAndFlush('marked')
    let isLeft = false
    marked.then(() => {
      isLeft = true
    })
    const filler = Buffer.alloc(MiB)
    client.resume()
    // The queue is never empty meanwhile.
    while (!isLeft) {
      while (!isLeft && socket.bufferedAmount < MUCH) socket.send(filler)
      await turns(1)
    }
    // Node may tell of several writes at once, when the last of them is done.
    if (engine === 'native') expect(socket.bufferedAmount).toBeGreaterThan(0)
  })

  test('rejects with ERR_DROPPED where the queue has no room, and the others go on', async () => {
    const dropped = new Queue<string>()
    const { socket, client } = await unread(engine, {
      maxBackpressure: 1000,
      dropped: (_socket, message) => dropped.push(String(message)),
    })
    const first = socket.sendAndFlush(Buffer.alloc(MUCH))
    const second = socket.sendAndFlush('x'.repeat(1001))
    await expect(second).rejects.toBeInstanceOf(DroppedError)
    await expect(second).rejects.toMatchObject({ code: 'ERR_DROPPED' })
    expect(await dropped.next('the dropped message')).toBe('x'.repeat(1001))
    client.resume()
    await within(first, 'the first to leave')
  })

  test('rejects with ERR_CLOSED on a socket that is closing or closed, and for what is cut', async () => {
    const { socket } = await unread(engine)
    const order = new Queue<string>()
    socket.send(Buffer.alloc(MUCH))
    watch(order, 'waiting', socket.sendAndFlush('waiting'))
    await turns(5)
    socket.terminate()
    watch(order, 'late', socket.sendAndFlush('late'))
    expect((await order.take(2, 'rejections')).sort()).toEqual(['late ERR_CLOSED', 'waiting ERR_CLOSED'])
    await turns(5)
    await expect(socket.sendAndFlush('closed')).rejects.toBeInstanceOf(ClosedError)
  })

  test('resolves on a socket that is closing, for what leaves before the Close frame', async () => {
    const { socket, client } = await unread(engine)
    const order = new Queue<string>()
    watch(order, 'first', socket.sendAndFlush(Buffer.alloc(MUCH)))
    watch(order, 'second', socket.sendAndFlush('second'))
    socket.close(1000)
    await turns(5)
    expect(order.size).toBe(0)
    client.resume()
    expect(await order.take(2, 'messages that have left')).toEqual(['first left', 'second left'])
  })

  test('rejects when the client goes away', async () => {
    const { socket, client } = await unread(engine)
    const waiting = socket.sendAndFlush(Buffer.alloc(MUCH))
    await turns(5)
    client.reset()
    await expect(within(waiting, 'the rejection')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })

  test('rejects when the server is closed in the middle', async () => {
    const { served, socket } = await unread(engine)
    const waiting = socket.sendAndFlush(Buffer.alloc(MUCH))
    await turns(5)
    const closed = served.server.close({ timeout: 50 })
    await expect(within(waiting, 'the rejection')).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await closed
  })

  test('waits behind a stream, and resolves when its own message has left', async () => {
    const { served, sockets } = await serveAnd(engine)
    const client = await Client.open(served)
    const socket = await sockets.next('the socket')
    let finish = () => {}
    const gate = new Promise<void>((resolve) => {
      finish = resolve
    })
    const stream = socket.sendStream(
      (async function* () {
        yield 'begins '
        await gate
        yield 'and ends'
      })(),
    )
    const order = new Queue<string>()
    watch(order, 'behind', socket.sendAndFlush('behind'))
    await turns(10)
    expect(order.size).toBe(0)
    finish()
    await stream
    expect(await order.next('the message behind the stream')).toBe('behind left')
    expect(await client.messages.take(2, 'messages')).toEqual(['begins and ends', 'behind'])
  })

  test('resolves for compressed messages', async () => {
    const { served, sockets } = await serveAnd(engine, { compression: { threshold: 0 } })
    const client = await Client.open(served, '/', { perMessageDeflate: true })
    const socket = await sockets.next('the socket')
    await within(Promise.all([socket.sendAndFlush('a'.repeat(MiB)), socket.sendAndFlush('b', true)]), 'both to leave')
    expect(await client.next()).toHaveLength(MiB)
    expect(await client.next()).toBe('b')
  })

  test('resolves over TLS, also where messages wait', async () => {
    const { socket, client } = await unread(engine, {}, { server: { tls: true } })
    const order = new Queue<string>()
    watch(order, 'first', socket.sendAndFlush(Buffer.alloc(MUCH)))
    watch(order, 'second', socket.sendAndFlush('second'))
    await turns(20)
    expect(order.size).toBe(0)
    client.resume()
    expect(await order.take(2, 'messages that have left')).toEqual(['first left', 'second left'])
  })

  test('may send, close and terminate in what awaits it', async () => {
    const ends = new Queue<number>()
    const { served, sockets } = await serveAnd(engine, { close: (_socket, code) => ends.push(code) })
    const client = await Client.open(served)
    const socket = await sockets.next('the socket')
    await socket.sendAndFlush('one')
    await socket.sendAndFlush('two')
    const last = socket.sendAndFlush('three').then(() => socket.close(4000))
    expect(await client.messages.take(3, 'messages')).toEqual(['one', 'two', 'three'])
    await last
    expect((await client.closed()).code).toBe(4000)
    expect(await ends.next('the close event')).toBe(4000)
    await Client.open(served)
    const other = await sockets.next('another socket')
    await other.sendAndFlush('one').then(() => other.terminate())
    expect(await ends.next('the close event')).toBe(1006)
  })

  test('awaited without end, for a client that always reads, does not keep the event loop', async () => {
    const { served, sockets } = await serveAnd(engine)
    const client = await RawClient.open(served)
    client.socket.on('data', () => {})
    const socket = await sockets.next('the socket')
    let sent = 0
    const loop = (async () => {
      for (;;) {
        await socket.sendAndFlush('again')
        sent += 1
      }
    })().catch(() => {})
    for (let n = 0; n < 5; n++) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(sent).toBeGreaterThan(0)
    socket.terminate()
    await within(loop, 'the end of the loop')
  })

  test('leaves no unhandled rejection behind where the caller ignores the promise', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => void unhandled.push(error)
    process.on('unhandledRejection', note)
    onTestFinished(() => void process.off('unhandledRejection', note))
    const { socket } = await unread(engine, { maxBackpressure: 1000 })
    void socket.sendAndFlush(Buffer.alloc(MUCH))
    void socket.sendAndFlush('x'.repeat(1001))
    socket.terminate()
    void socket.sendAndFlush('closed')
    await turns(10)
    expect(unhandled).toEqual([])
  })

  test('throws OptionError at once for what is no message', async () => {
    const { served, sockets } = await serveAnd(engine)
    await Client.open(served)
    const socket = await sockets.next('the socket')
    // @ts-expect-error: a number is no message
    expect(() => socket.sendAndFlush(5)).toThrow(OptionError)
    // @ts-expect-error: there is no such option
    expect(() => socket.sendAndFlush('x', { compres: true })).toThrow(OptionError)
  })

  test('of a connection that is being opened resolves as well', async () => {
    const order = new Queue<string>()
    const { served } = await serveAnd(engine, { open: (socket) => watch(order, 'first', socket.sendAndFlush('first')) })
    const client = await RawClient.connect(served)
    client.write(handshake())
    expect((await client.response()).status).toBe(101)
    expect(await order.next('the message to leave')).toBe('first left')
    expect(String((await client.frame()).payload)).toBe('first')
  })
})
