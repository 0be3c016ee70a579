/** `WebSocket` of the face of `ws`, at the moments at which programs trip. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Duplex, PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createWebSocketStream as createWsStream, WebSocket as WsClient, WebSocketServer as WsServer } from 'ws'
import {
  createWebSocketStream,
  extension,
  PerMessageDeflate,
  Receiver,
  Sender,
  type ServerOptions,
  subprotocol,
  WebSocket,
  WebSocketServer,
} from '../../../src/faces/ws.js'
import { NotSupportedError } from '../../../src/index.js'
import { localhostCertificate } from '../../support/certificates.js'
import { Client } from '../../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../../support/engines.js'
import { Meter } from '../../support/floods.js'
import { closeCode, closeFrame, frame, OPCODE, RawClient, text } from '../../support/raw-client.js'
import { Queue, turns, within } from '../../support/waiting.js'

interface Face extends Address {
  readonly server: WebSocketServer
  readonly sockets: Queue<WebSocket>
  readonly requests: Queue<IncomingMessage>
}

async function face(engine: EngineName, options: ServerOptions = {}, onConnection?: (socket: WebSocket) => void): Promise<Face> {
  const server = new WebSocketServer({ engine, host: '127.0.0.1', port: 0, ...options })
  const sockets = new Queue<WebSocket>()
  const requests = new Queue<IncomingMessage>()
  server.on('connection', (socket, request) => {
    onConnection?.(socket)
    sockets.push(socket)
    requests.push(request)
  })
  onTestFinished(async () => {
    for (const socket of server.clients ?? []) socket.terminate()
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'the face to close')
  })
  await within(once(server, 'listening'), 'the face to listen')
  return {
    server,
    sockets,
    requests,
    ...addressOf((server.address() as AddressInfo).port, '127.0.0.1', options.tls !== undefined),
  }
}

/** What the next uncaught exception is. Vitest's own listeners wait meanwhile. */
function nextUncaught(): Promise<unknown> {
  const own = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  return new Promise((resolve) => {
    process.once('uncaughtException', (error) => {
      for (const listener of own) process.on('uncaughtException', listener)
      resolve(error)
    })
  })
}

test('the parts of ws that it documents nowhere can be imported, and their use throws', () => {
  for (const Part of [PerMessageDeflate, Receiver, Sender]) expect(() => new Part()).toThrow(NotSupportedError)
  for (const use of [extension.parse, extension.format, subprotocol.parse]) expect(() => use()).toThrow(NotSupportedError)
  // socket.io looks for it.
  expect('frame' in Sender).toBe(false)
})

describeEngines('a WebSocket of the face of ws', (engine) => {
  test('brings text as a Buffer and binary in its binaryType', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const seen = new Queue<unknown[]>()
    socket.on('message', (...message) => void seen.push(message))
    client.send('größer')
    expect(await seen.next('text')).toEqual([Buffer.from('größer'), false])
    for (const [type, expected] of [
      ['nodebuffer', Buffer.from([1, 2])],
      ['arraybuffer', new Uint8Array([1, 2]).buffer],
      ['fragments', [Buffer.from([1, 2])]],
    ] as const) {
      socket.binaryType = type
      client.send(Buffer.from([1, 2]))
      expect(await seen.next(type)).toEqual([expected, true])
      client.send('text')
      expect(await seen.next('text again')).toEqual([Buffer.from('text'), false])
    }
    // The cast lets through what TypeScript would refuse and JavaScript would not.
    socket.binaryType = 'nonsense' as 'nodebuffer'
    expect(socket.binaryType).toBe('fragments')
    socket.binaryType = 'blob' as 'nodebuffer'
    client.socket.send(Buffer.from([4]))
    const [blob] = await within(once(socket, 'message'), 'a Blob')
    expect([...new Uint8Array(await blob.arrayBuffer())]).toEqual([4])
  })

  test('sends what `ws` sends, empty and huge, and calls back in order', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const done: (number | Error)[] = []
    const sent = new Promise<void>((resolve) => {
      const callback = (index: number) => (error?: Error) => {
        done.push(error ?? index)
        if (done.length === 9) resolve()
      }
      socket.send('', callback(0))
      socket.send(Buffer.alloc(0), callback(1))
      socket.send(42, callback(2))
      socket.send('as binary', { binary: true }, callback(3))
      socket.send(Buffer.from('as text'), { binary: false, compress: true }, callback(4))
      socket.send(new Uint16Array([1]), callback(5))
      socket.send(new Uint8Array([7]).buffer, callback(6))
      socket.send('x'.repeat(20 * 1024 * 1024), callback(7))
      socket.send([1, 2, 3], callback(8))
    })
    const messages: (string | Buffer)[] = []
    while (messages.length < 9) messages.push(await client.next())
    await within(sent, 'the callbacks')
    expect(done).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
    expect(messages.map((message) => (message.length > 100 ? message.length : message))).toEqual([
      '',
      Buffer.alloc(0),
      '42',
      Buffer.from('as binary'),
      'as text',
      Buffer.from([1, 0]),
      Buffer.from([7]),
      20 * 1024 * 1024,
      Buffer.from([1, 2, 3]),
    ])
  })

  test('calls back with an error after the close, and counts the bytes', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const ended = once(socket, 'close')
    socket.close(4001, 'enough')
    const closing = new Promise((resolve) => socket.send('late', resolve))
    expect(await within(closing, 'the callback')).toMatchObject({ message: 'WebSocket is not open: readyState 2 (CLOSING)' })
    expect(await client.closed()).toEqual({ code: 4001, reason: 'enough' })
    expect(await within(ended, 'close')).toEqual(
      [4001, Buffer.from('enough')].map((value) => (typeof value === 'number' ? value : expect.any(Buffer))),
    )
    const closed = new Promise((resolve) => socket.ping('late', false, resolve))
    expect(await within(closed, 'the callback')).toMatchObject({ message: 'WebSocket is not open: readyState 3 (CLOSED)' })
    expect(socket.bufferedAmount).toBe(8)
    socket.send('without a callback')
    socket.close()
    socket.terminate()
    socket.pause()
    socket.resume()
    expect(socket.isPaused).toBe(false)
  })

  test('fails the callbacks of messages that wait when the client goes', async () => {
    const served = await face(engine)
    const client = await RawClient.open(served)
    client.pause()
    const socket = await served.sockets.next('a socket')
    const results: (Error | undefined)[] = []
    const count = 40
    const all = new Promise<void>((resolve) => {
      for (let n = 0; n < count; n++) {
        socket.send(Buffer.alloc(1024 * 1024), (error) => {
          results.push(error)
          if (results.length === count) resolve()
        })
      }
    })
    client.vanish()
    await within(all, 'every callback')
    expect(results.at(-1)).toBeInstanceOf(Error)
  })

  for (const tls of [undefined, localhostCertificate()]) {
    test.each<[what: string, end: (socket: WebSocket, client: RawClient) => void]>([
      ['the server closes', (socket) => socket.close(1000)],
      ['the client closes', (_socket, client) => client.write(closeFrame(1000))],
    ])(`calls back, before close, for what the client has yet to read when %s${tls ? ', over TLS' : ''}`, async (_what, end) => {
      const served = await face(engine, { ...(tls && { tls }) })
      const client = await RawClient.open(served)
      client.pause()
      const socket = await served.sockets.next('a socket')
      const seen = new Queue<unknown>()
      socket.on('close', (code) => seen.push(code))
      const [length, count] = [8 * 1024 * 1024, 3]
      for (let n = 0; n < count; n++) socket.send(Buffer.alloc(length), (error) => seen.push(error ?? 'written'))
      await turns(20)
      expect(seen.size).toBe(0)
      end(socket, client)
      await turns(20)
      expect(seen.size).toBe(0)
      client.resume()
      for (let n = 0; n < count; n++) expect((await client.frame()).payload.length).toBe(length)
      expect(await seen.take(count, 'the callbacks')).toEqual(Array(count).fill('written'))
      expect(closeCode(await client.frame())).toBe(1000)
      client.write(closeFrame(1000))
      expect(await seen.next('close')).toBe(1000)
    })
  }

  test.each<[what: string, end: (socket: WebSocket, client: RawClient) => void]>([
    ['the client goes', (_socket, client) => client.reset()],
    ['the server terminates', (socket) => socket.terminate()],
  ])('fails the callbacks of messages that wait behind the close when %s', async (_what, end) => {
    const served = await face(engine)
    const client = await RawClient.open(served)
    client.pause()
    const socket = await served.sockets.next('a socket')
    const seen = new Queue<unknown>()
    socket.on('close', (code) => seen.push(code))
    for (let n = 0; n < 2; n++) socket.send(Buffer.alloc(16 * 1024 * 1024), (error) => seen.push(error ?? 'written'))
    socket.close(1000)
    await turns(20)
    end(socket, client)
    const unwritten = expect.objectContaining({ message: 'The socket was closed before the data was written' })
    expect(await seen.take(3, 'two callbacks and close')).toEqual([unwritten, unwritten, 1006])
  })

  test('may be terminated, and closed, in the listener for its connection', async () => {
    for (const end of ['terminate', 'close'] as const) {
      const ends = new Queue<number>()
      const served = await face(engine, {}, (socket) => {
        socket.on('close', (code) => ends.push(code))
        socket[end]()
      })
      const client = await RawClient.open(served)
      if (end === 'close') {
        expect(closeCode(await client.frame())).toBe(1005)
        client.write(closeFrame())
      }
      await client.closed()
      expect(await ends.next('close')).toBe(end === 'close' ? 1005 : 1006)
      expect(served.server.clients.size).toBe(0)
    }
  })

  test('calls back with an error for what was sent before it is terminated, and sends nothing as no bytes', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    socket.send(undefined)
    socket.send(null)
    expect(await client.next()).toEqual(Buffer.alloc(0))
    expect(await client.next()).toEqual(Buffer.alloc(0))
    const result = new Promise((resolve) => socket.send('lost', resolve))
    socket.terminate()
    expect(await within(result, 'the callback')).toBeInstanceOf(Error)
    expect(await client.closed()).toMatchObject({ code: 1006 })
  })

  test('may be closed in the callback of a message, and in that of its close', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    socket.on('message', () => socket.send('answer', () => socket.close(1000)))
    socket.on('close', () => socket.close())
    client.send('question')
    expect(await client.next()).toBe('answer')
    expect(await client.closed()).toMatchObject({ code: 1000 })
  })

  test('makes what its listeners throw uncaught, and goes on', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    socket.once('message', () => {
      throw new Error('by the listener')
    })
    const uncaught = nextUncaught()
    client.send('first')
    expect(await within(uncaught, 'the exception')).toMatchObject({ message: 'by the listener' })
    socket.on('message', (data) => socket.send(data.toString()))
    client.send('second')
    expect(await client.next()).toBe('second')
  })

  test('has events for addEventListener and the on… properties', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const seen = new Queue<unknown>()
    const listener = (event: { data: unknown }) => seen.push(event.data)
    socket.addEventListener('message', listener)
    socket.addEventListener('message', listener)
    socket.addEventListener('message', { handleEvent: ({ data }) => void seen.push(['once', data]) }, { once: true })
    socket.onmessage = ({ data, target, type }) => void seen.push([data, target === socket, type])
    client.send('a')
    expect(await seen.take(3, 'three')).toEqual(['a', ['once', 'a'], ['a', true, 'message']])
    socket.removeEventListener('message', listener)
    socket.onmessage = null
    expect(socket.onmessage).toBe(null)
    client.send('unheard')
    socket.on('close', () => seen.push('closed'))
    socket.onclose = ({ code, reason, wasClean }) => void seen.push({ code, reason, wasClean })
    client.socket.close(3001, 'bye')
    expect(await seen.take(2, 'the end')).toEqual(['closed', { code: 3001, reason: 'bye', wasClean: true }])
  })

  test('hears Pings and Pongs, and pings', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const pinged = once(socket, 'ping')
    client.socket.ping('from the client')
    expect(await within(pinged, 'ping')).toEqual([Buffer.from('from the client')])
    const ponged = once(socket, 'pong')
    await within(new Promise((resolve) => socket.ping('from the server', resolve)), 'the callback')
    expect(await within(ponged, 'pong')).toEqual([Buffer.from('from the server')])
    expect(() => socket.ping('x'.repeat(126))).toThrow(RangeError)
    expect(() => socket.pong(Buffer.alloc(126))).toThrow(RangeError)
    const unasked = once(client.socket, 'pong')
    await within(new Promise((resolve) => socket.pong('unasked', resolve)), 'the callback')
    expect(await within(unasked, 'pong')).toEqual([Buffer.from('unasked')])
  })

  test('sends a message in parts with its last one, which may reuse their memory', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const memory = Buffer.from('one ')
    // Programs wait for a callback before they send the next part.
    await within(new Promise((resolve) => socket.send(memory, { fin: false, binary: false }, resolve)), 'the callback')
    memory.fill('two ')
    socket.send(memory, { fin: false })
    socket.ping()
    socket.send('three', { fin: true })
    socket.send('next')
    expect(await client.next()).toBe('one two three')
    expect(await client.next()).toBe('next')
  })

  test('cuts a client that does not answer the Close frame within closeTimeout', async () => {
    const served = await face(engine, { closeTimeout: 50 })
    const client = await RawClient.open(served)
    const socket = await served.sockets.next('a socket')
    const closed = once(socket, 'close')
    socket.close(1001)
    expect(socket._closeTimer).toMatchObject({ _idleTimeout: 50 })
    expect(closeCode(await client.frame())).toBe(1001)
    await client.closed()
    expect(await within(closed, 'close')).toEqual([1006, Buffer.alloc(0)])
  })

  test('cuts a client that sends Pings and reads nothing, after maxPendingAutoPongs of them', async () => {
    const served = await face(engine, { maxPendingAutoPongs: 3 })
    const client = await RawClient.open(served)
    const socket = await served.sockets.next('a socket')
    let pings = 0
    socket.on('ping', () => {
      pings += 1
    })
    client.pause()
    // Less than the kernel has room for would not wait.
    while (socket.bufferedAmount < 1024 * 1024) socket.send(Buffer.alloc(4 * 1024 * 1024))
    const closed = once(socket, 'close')
    for (let count = 0; count < 10; count += 1) client.write(frame({ opcode: OPCODE.PING }))
    expect(await within(closed, 'close')).toEqual([1006, Buffer.alloc(0)])
    expect(pings).toBe(4)
  })

  test('has a stand-in for the private _socket, which knows addresses, cuts and pauses', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const [socket, request] = [await served.sockets.next('a socket'), await served.requests.next('a request')]
    const { _socket: standIn } = socket
    expect(standIn).toBe(socket._socket)
    const { remoteAddress, remotePort, remoteFamily, localPort } = request.socket
    expect(remoteAddress).toBe('127.0.0.1')
    expect(standIn).toMatchObject({ remoteAddress, remotePort, remoteFamily, localPort, encrypted: false, writableLength: 0 })
    standIn.setNoDelay(true).setKeepAlive(false).ref().setTimeout(0)
    standIn.pause()
    expect([socket.isPaused, standIn.isPaused()]).toEqual([true, true])
    standIn.resume()
    expect(socket.isPaused).toBe(false)
    const write: (data: string) => void = standIn.write.bind(standIn)
    expect(() => write('bytes')).toThrow(NotSupportedError)
    expect(() => standIn.end('bytes')).toThrow(NotSupportedError)
    expect(() => standIn.setTimeout(5)).toThrow(NotSupportedError)
    expect(() => standIn.setNoDelay(false)).toThrow(NotSupportedError)
    expect(() => standIn.setKeepAlive(true)).not.toThrow()
    expect(() => standIn.unref()).toThrow(NotSupportedError)
    expect(() => standIn.on('data', () => {})).toThrow(NotSupportedError)
    expect(standIn.address()).toMatchObject({ address: '127.0.0.1', port: localPort })
    expect([standIn.pending, standIn.localFamily, socket._closeTimer, Reflect.get(socket, '_sender')]).toEqual([
      false,
      'IPv4',
      null,
      undefined,
    ])
    expect(() => socket.setSocket()).toThrow(NotSupportedError)
    expect(() => socket._receiver).toThrow(NotSupportedError)
    const ended = once(standIn, 'close')
    socket.send('last')
    standIn.end()
    expect(await client.next()).toBe('last')
    expect(await client.closed()).toMatchObject({ code: 1006 })
    await within(ended, 'close of the stand-in')
    expect([standIn.destroyed, socket.readyState, socket._socket.remoteAddress]).toEqual([true, 3, '127.0.0.1'])
  })

  test('tells by the stand-in for _socket that the queue is empty', async () => {
    const served = await face(engine)
    const client = await RawClient.open(served)
    const socket = await served.sockets.next('a socket')
    client.pause()
    while (socket.bufferedAmount < 4 * 1024 * 1024) socket.send(Buffer.alloc(1024 * 1024))
    const drained = once(socket._socket, 'drain')
    expect(socket._socket.writableLength).toBe(socket.bufferedAmount)
    expect(Reflect.get(socket._socket, '_writableState').length).toBe(socket.bufferedAmount)
    client.resume()
    await within(drained, 'drain')
  })

  test('leaves Pings to the program with autoPong: false', async () => {
    const served = await face(engine, { autoPong: false }, (socket) => socket.on('ping', (data) => socket.pong(`own ${data}`)))
    const client = await Client.open(served)
    const ponged = once(client.socket, 'pong')
    client.socket.ping('ping')
    expect(await within(ponged, 'pong')).toEqual([Buffer.from('own ping')])
  })

  test('throws at once for what cannot be sent behind a Blob, and sends the rest', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    socket.send(new Blob(['blob']))
    expect(() => socket.send({})).toThrow(TypeError)
    expect(() => socket.close(1005)).toThrow(TypeError)
    socket.send('text')
    socket.close(3001, 'bye')
    expect(await client.next()).toEqual(Buffer.from('blob'))
    expect(await client.next()).toBe('text')
    expect(await client.closed()).toMatchObject({ code: 3001 })
  })

  test('tells of what a client does wrong where there is a listener, and closes with 1006 as `ws` does', async () => {
    const served = await face(engine)
    for (const isHeard of [false, true]) {
      const client = await RawClient.open(served)
      const socket = await served.sockets.next('a socket')
      const ended = new Promise((resolve) => socket.addEventListener('close', resolve))
      const told: unknown[] = []
      if (isHeard) socket.on('error', (error) => told.push(error))
      client.write(text(Buffer.from([0xff])))
      expect(closeCode(await client.frame())).toBe(1007)
      client.end()
      expect(await within(ended, 'close')).toMatchObject({ code: 1006, reason: '', wasClean: false })
      expect(told).toEqual(isHeard ? [expect.objectContaining({ code: 'WS_ERR_INVALID_UTF8' })] : [])
    }
  })

  test('pauses and resumes', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const socket = await served.sockets.next('a socket')
    const seen = new Queue<string>()
    socket.on('message', (data) => void seen.push(data.toString()))
    socket.pause()
    expect(socket.isPaused).toBe(true)
    client.send('waits')
    client.socket.ping()
    await served.sockets.size
    expect(seen.size).toBe(0)
    socket.resume()
    expect(await seen.next('the message')).toBe('waits')
  })

  test('takes what a client sends before it half-closes, and ends', async () => {
    const served = await face(engine, {}, (socket) => socket.on('message', (data) => socket.send(data.toString())))
    const client = await RawClient.open(served)
    const socket = await served.sockets.next('a socket')
    const ended = once(socket, 'close')
    client.write(text('last words'))
    expect(await client.frame()).toMatchObject({ opcode: OPCODE.TEXT, payload: Buffer.from('last words') })
    client.end()
    expect((await within(ended, 'close'))[0]).toBe(1006)
  })

  test('refuses codes and reasons as `ws` does', async () => {
    const served = await face(engine)
    await Client.open(served)
    const socket = await served.sockets.next('a socket')
    expect(() => socket.close(1005)).toThrow(TypeError)
    expect(() => socket.close(1000, 'x'.repeat(124))).toThrow(RangeError)
    expect(socket.readyState).toBe(WebSocket.OPEN)
    expect(() => socket.send({})).toThrow(TypeError)
    expect(() => socket.send(new Blob(['part']), { fin: false })).toThrow(NotSupportedError)
    expect(() => new WebSocket('ws://127.0.0.1')).toThrow(NotSupportedError)
  })

  test('tells what was agreed on', async () => {
    const served = await face(engine, { perMessageDeflate: true })
    const client = await Client.open(served, '/', { perMessageDeflate: true })
    const socket = await served.sockets.next('a socket')
    expect(socket).toMatchObject({ extensions: 'permessage-deflate', protocol: '', readyState: 1, url: '' })
    socket.send('x'.repeat(5000))
    expect(await client.next()).toBe('x'.repeat(5000))
  })

  test.each<[what: string, onServer: (stream: Duplex) => void, onClient: (client: WsClient) => void]>([
    ['the server ends it', (stream) => stream.end('bye'), () => {}],
    ['the client closes', () => {}, (client) => client.close()],
    [
      'the client closes, and the server ends it then',
      (stream) => stream.on('end', () => stream.end()),
      (client) => client.close(),
    ],
    [
      'the client closes when the server ends it',
      (stream) => stream.end(),
      (client) => client.on('message', () => client.close()),
    ],
    ['the server destroys it', (stream) => stream.destroy(), () => {}],
    ['the server destroys it with an error', (stream) => stream.destroy(new Error('enough')), () => {}],
    [
      'the server writes when it has closed',
      (stream) => stream.on('end', () => stream.write('late')),
      (client) => client.close(),
    ],
  ])('is a stream with the events of `ws` where %s', async (_what, onServer, onClient) => {
    const own = await face(engine)
    const theirs = new WsServer({ host: '127.0.0.1', port: 0 })
    onTestFinished(() => void theirs.close())
    await within(once(theirs, 'listening'), 'ws to listen')
    const events = async (server: WebSocketServer | WsServer, streamOf: (socket: never) => Duplex): Promise<string[]> => {
      const seen: string[] = []
      const ended = new Promise<void>((resolve) => {
        server.once('connection', (socket: WebSocket | WsClient) => {
          const stream = streamOf(socket as never)
          for (const name of ['finish', 'end', 'close']) stream.on(name, () => void seen.push(name))
          stream.on('error', (error) => void seen.push(`error ${error.message}`))
          socket.on('close', () => {
            seen.push('close of the socket')
            resolve()
          })
          stream.resume()
          onServer(stream)
        })
      })
      const { port } = server.address() as AddressInfo
      const client = new WsClient(`ws://127.0.0.1:${port}`)
      onTestFinished(() => client.terminate())
      client.on('open', () => onClient(client))
      await within(ended, 'the end of the socket')
      await turns()
      return seen
    }
    const expected = await events(theirs, createWsStream)
    expect(await events(own.server, createWebSocketStream)).toEqual(expected)
  })

  test('is a stream, by createWebSocketStream', async () => {
    const served = await face(engine)
    const client = await Client.open(served)
    const stream = createWebSocketStream(await served.sockets.next('a socket'))
    stream.pipe(stream)
    for (const word of ['once', 'twice', 'x'.repeat(200_000)]) {
      client.send(word)
      expect(await client.next()).toEqual(Buffer.from(word))
    }
    const closed = once(stream, 'close')
    client.socket.close(1000)
    await within(closed, 'the end of the stream')
  })

  test('is such a stream, and sources that are always ready give way to others, those of all clients together', async () => {
    const meter = new Meter()
    const [clients, each] = [10, 2000]
    const ended = new Queue<unknown>()
    const chunk = Buffer.alloc(256)
    async function* source() {
      for (let n = 0; n < each; n++) {
        meter.add()
        yield chunk
      }
    }
    const served = await face(engine, {}, (socket) => {
      // It has no listener any more when the pipeline has ended, and its client may go before all is written.
      const stream = createWebSocketStream(socket).on('error', () => {})
      pipeline(Readable.from(source()), stream, { end: false }).then(
        () => ended.push(undefined),
        (error) => ended.push(error),
      )
    })
    await Promise.all(Array.from({ length: clients }, () => RawClient.open(served)))
    expect(await ended.take(clients, 'the ends of the sources')).toEqual(Array(clients).fill(undefined))
    meter.stop()
    expect(meter.count).toBe(clients * each)
    // Two turns' worth of chunks, and what Node's streams take ahead.
    const ahead = 16 + new PassThrough().writableHighWaterMark / chunk.length
    expect(meter.most).toBeLessThanOrEqual(2 * 256 + clients * ahead)
  })
})
