/** Text that comes and goes as bytes: `text: 'buffer'`, and `send(bytes, { binary: false })`. */
import { Buffer } from 'node:buffer'
import { expect, test } from 'vitest'
import { type Backplane, duplex, messages, OptionError, type Socket } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { closeCode, RawClient, text } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

/** Short, and longer than what each engine copies at once. */
const TEXTS = ['', 'plain', 'größer €', 'x'.repeat(3000), 'ö'.repeat(40_000)]

describeEngines("text as bytes (text: 'buffer')", (engine) => {
  const arrivals = async (compression: false | object, settings: object) => {
    const seen = new Queue<{ message: string | Buffer; isBinary: boolean }>()
    const served = await serve(engine, {
      message: (_socket, message, isBinary) => void seen.push({ message, isBinary }),
      text: 'buffer',
      compression,
    })
    return { seen, client: await Client.open(served, '/', settings) }
  }

  for (const [how, compression, settings] of [
    ['as sent', false, {}],
    ['compressed', {}, { perMessageDeflate: { threshold: 0 } }],
  ] as const) {
    test(`comes as a Buffer of its own, and not as binary (${how})`, async () => {
      const { seen, client } = await arrivals(compression, settings)
      for (const word of TEXTS) {
        client.send(word)
        client.send(Buffer.from(word))
      }
      const kept = await seen.take(2 * TEXTS.length, 'the messages')
      expect(kept.map(({ message, isBinary }) => [Buffer.isBuffer(message), message.toString(), isBinary])).toEqual(
        TEXTS.flatMap((word) => [
          [true, word, false],
          [true, word, true],
        ]),
      )
    })
  }

  test('is refused with 1007 when it is not UTF-8, as ever', async () => {
    const served = await serve(engine, { text: 'buffer' })
    const client = await RawClient.open(served)
    client.write(text(Buffer.from([0x61, 0xff])))
    expect(closeCode(await client.frame())).toBe(1007)
  })

  test('reaches adapters, and waits while the socket is paused', async () => {
    const seen = new Queue<unknown>()
    const served = await serve(engine, {
      text: 'buffer',
      async open(socket) {
        for await (const message of messages(socket)) {
          seen.push(message)
          break
        }
        const stream = duplex(socket)
        stream.on('error', () => {})
        stream.on('data', (bytes) => seen.push(bytes))
      },
    })
    const client = await Client.open(served)
    client.send('to the loop')
    expect(await seen.next('an event')).toEqual(Buffer.from('to the loop'))
    client.send('to the stream')
    expect(await seen.next('an event')).toEqual(Buffer.from('to the stream'))
  })
})

describeEngines('bytes sent as text', (engine) => {
  const open = async (settings: object = {}, handlers: object = {}) => {
    const sockets = new Queue<Socket>()
    const served = await serve(engine, { ...handlers, open: (socket) => void sockets.push(socket) })
    const client = await Client.open(served, '/', settings)
    return { served, client, socket: await sockets.next('open') }
  }

  test('arrive as text, short and long, compressed and not, in the order of all messages', async () => {
    for (const settings of [{}, { perMessageDeflate: true }]) {
      const { client, socket } = await open(settings, { compression: {} })
      for (const word of TEXTS) {
        expect(socket.send(Buffer.from(word), { binary: false })).toBe(Buffer.byteLength(word) || 1)
        socket.send(word, { binary: true })
        socket.send(Buffer.from(word), { binary: false, isUtf8: true, compress: true })
        socket.send(word, { compress: false })
      }
      for (const word of TEXTS) {
        expect(await client.next()).toBe(word)
        expect(await client.next()).toEqual(Buffer.from(word))
        expect(await client.next()).toBe(word)
        expect(await client.next()).toBe(word)
      }
    }
  })

  test('may be changed as soon as the call returns', async () => {
    const { client, socket } = await open()
    for (const length of [10, 100_000]) {
      const bytes = Buffer.alloc(length, 'a')
      socket.send(bytes, { binary: false })
      bytes.fill('b')
      expect(await client.next()).toBe('a'.repeat(length))
    }
  })

  test('must be UTF-8, unless the caller says that they are: then the client finds out', async () => {
    const { client, socket } = await open()
    expect(() => socket.send(Buffer.from([0xc3]), { binary: false })).toThrow(OptionError)
    expect(() => socket.publish('a', new Uint8Array([0xed, 0xa0, 0x80]), { binary: false })).toThrow(OptionError)
    socket.send('open')
    expect(await client.next()).toBe('open')
    client.socket.on('error', () => {})
    socket.send(Buffer.from([0xc3]), { binary: false, isUtf8: true })
    expect(await client.closed()).toMatchObject({ code: 1006 })
  })

  test('are published as text, here and to the backplane', async () => {
    const published = new Queue<unknown[]>()
    const backplane: Backplane = {
      start: () => {},
      publish: (...message) => void published.push(message),
      close: () => {},
    }
    const served = await serve(engine, { open: (socket) => void socket.subscribe('news') }, { server: { backplane } })
    const client = await Client.open(served)
    for (const word of TEXTS) {
      expect(served.server.publish('news', Buffer.from(word), { binary: false })).toBe(true)
      expect(await client.next()).toBe(word)
      expect(await published.next('an event')).toEqual(['news', word, false])
    }
    served.server.publish('news', 'bytes', { binary: true })
    expect(await client.next()).toEqual(Buffer.from('bytes'))
    expect(await published.next('an event')).toEqual(['news', new Uint8Array(Buffer.from('bytes')), true])
  })

  test('that are dropped are reported as text', async () => {
    const drops = new Queue<unknown[]>()
    const { client, socket } = await open(
      {},
      { maxBackpressure: 1000, dropped: (_socket: Socket, ...message: unknown[]) => void drops.push(message) },
    )
    client.socket.pause()
    while (socket.send(Buffer.alloc(1024 * 1024, 'x')) !== 0);
    // In the same turn: in a later one the kernel may have taken what was held, and this would be sent.
    socket.send(Buffer.from('näher'), { binary: false })
    expect((await drops.next('an event'))[1]).toBe(true)
    expect(await drops.next('an event')).toEqual(['näher', false])
    socket.subscribe('news')
    // The socket that publishes is left out.
    expect(socket.publish('news', Buffer.from('näher'), { binary: false })).toBe(false)
  })

  test('have options that are checked', async () => {
    const { socket } = await open()
    for (const [options, name] of [
      [{ binary: 0 }, 'binary'],
      [{ compress: 'yes' }, 'compress'],
      [{ isUtf8: 1 }, 'isUtf8'],
      [{ fin: true }, 'fin'],
      [null, 'options'],
      [1, 'compress'],
    ] as const) {
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      expect(() => socket.send('x', options as never)).toThrow(expect.objectContaining({ name: 'OptionError', option: name }))
      expect(() => socket.publish('x', 'x', options as never)).toThrow(expect.objectContaining({ option: name }))
    }
  })
})
