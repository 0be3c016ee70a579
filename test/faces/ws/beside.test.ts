/** `WebSocketServer` of the face of `ws` on servers of `node:http`: `server`, `noServer`, `handleUpgrade`. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket as WsClient } from 'ws'
import { type ServerOptions, type WebSocket, WebSocketServer } from '../../../src/faces/ws.js'
import { NotSupportedError } from '../../../src/index.js'
import { listening } from '../../support/beside.js'
import { localhostCertificate } from '../../support/certificates.js'
import { Client, refusal } from '../../support/client.js'
import { type Address, AVAILABLE_ENGINES, addressOf, describeEngines, type EngineName } from '../../support/engines.js'
import { http } from '../../support/http.js'
import { handshake, RawClient, text } from '../../support/raw-client.js'
import { Deferred, Queue, within } from '../../support/waiting.js'

/** A server of the face on no port of its own; closed when the test ends. */
function face(engine: EngineName, options: ServerOptions): WebSocketServer {
  const server = new WebSocketServer({ engine, ...options })
  onTestFinished(async () => {
    for (const socket of server.clients ?? []) socket.terminate()
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'the face to close')
  })
  return server
}

const page = (): Server => createServer((_request, response) => void response.end('page'))

/** With the face beside a server that says `page` to each request. */
async function beside(engine: EngineName, options: ServerOptions = {}) {
  const node = page()
  const server = face(engine, { server: node, ...options })
  const address = addressOf(await listening(node))
  server.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary })))
  return { node, server, address }
}

/** The response to a handshake of bytes. */
async function answer(address: Address, bytes: string) {
  const client = await RawClient.connect(address)
  client.write(bytes)
  const { status, body, header } = await client.response()
  await client.rest()
  return { status, body: body.toString(), header }
}

describeEngines('the option `server` of the face of ws', (engine) => {
  test.each<[what: string, options: ServerOptions, line: string]>([
    ['handleProtocols chooses what was not offered', { handleProtocols: () => 'chat' }, 'X-Own: 1'],
    ['a listener adds a value that is not ASCII', {}, 'Set-Cookie: a=€'],
  ])('fails no more than the handshake of a client where %s', async (_what, options, line) => {
    const { server, address } = await beside(engine, options)
    // Without a listener for `error`: there, an error would end the process.
    server.on('headers', (headers) => void headers.push(line))
    for (let n = 0; n < 2; n++) {
      const { status, body } = await answer(address, handshake({ headers: ['Sec-WebSocket-Protocol: other'] }))
      expect([status, body]).toEqual([500, expect.stringMatching(/^(handleProtocols|a listener for headers) has /)])
    }
  })

  test('serves WebSockets beside pages, and gives the request of node:http', async () => {
    const { server, address, node } = await beside(engine)
    const requests = new Queue<[WebSocket, IncomingMessage]>()
    node.prependListener('upgrade', (request) => Object.assign(request, { session: 'Ada' }))
    server.on('connection', (socket, request) => requests.push([socket, request]))
    const client = await Client.open(address, '/chat?x=1')
    expect(await client.ask('hello')).toBe('hello')
    expect(await client.ask(Buffer.from('bytes'))).toEqual(Buffer.from('bytes'))
    const [socket, request] = await requests.next('the connection')
    expect([...server.clients]).toEqual([socket])
    expect(request).toMatchObject({ url: '/chat?x=1', session: 'Ada' })
    expect(request.socket.remoteAddress).toBe('127.0.0.1')
    expect((await http(address, '/')).body.toString()).toBe('page')
  })

  test('a client that asks for an upgrade before it has an earlier response is cut, and no other', async () => {
    const { address, node } = await beside(engine)
    node.removeAllListeners('request').on('request', () => {}) // without a response
    const early = await RawClient.connect(address)
    early.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n', handshake())
    await early.closed()
    expect(await (await Client.open(address)).ask('still there?')).toBe('still there?')
  })

  test('keeps the order of messages that come with the handshake', async () => {
    const { address } = await beside(engine)
    const client = await RawClient.connect(address)
    client.write(handshake(), text('1'), text('2'))
    client.write(text('3'))
    expect((await client.response()).status).toBe(101)
    for (const expected of ['1', '2', '3']) expect((await client.frame()).payload.toString()).toBe(expected)
  })

  test('passes `listening` and `error` on, and has the address of the server', async () => {
    const node = page()
    const server = face(engine, { server: node })
    const told = once(server, 'listening')
    expect(server.address()).toBe(null)
    const port = await listening(node)
    await within(told, 'listening')
    expect(server.address()).toEqual({ address: '127.0.0.1', family: 'IPv4', port })
    const failed = once(server, 'error')
    node.emit('error', new Error('on purpose'))
    expect(await within(failed, 'error')).toEqual([new Error('on purpose')])
  })

  test('closes without the server, when the last socket has ended, and takes no connection any more', async () => {
    const { server, node, address } = await beside(engine)
    const client = await Client.open(address)
    await client.ask('hello')
    let isClosed = false
    const closed = new Promise<void>((resolve) =>
      server.close(() => {
        isClosed = true
        resolve()
      }),
    )
    expect(node.listenerCount('upgrade')).toBe(0)
    expect(await client.ask('still')).toBe('still')
    expect(isClosed).toBe(false)
    client.socket.close()
    await within(closed, 'close')
    expect((await http(address, '/')).body.toString()).toBe('page')
    expect(server.address()).toBe(null)
  })

  test('refuses what is no handshake, and what `path` and `verifyClient` do not want, in the words of ws', async () => {
    const { address } = await beside(engine, {
      path: '/ws',
      verifyClient: ({ req }, callback) => void setImmediate(() => callback(req.url !== '/ws?no', 418, 'tea', { 'X-Why': 'x' })),
    })
    for (const [bytes, status, body] of [
      [handshake({ path: '/ws', key: 'short' }), 400, 'Missing or invalid Sec-WebSocket-Key header'],
      [handshake({ path: '/ws', version: '7' }), 400, 'Missing or invalid Sec-WebSocket-Version header'],
      [handshake({ path: '/ws', method: 'POST' }), 405, 'Invalid HTTP method'],
      [handshake().replace('Upgrade: websocket', 'Upgrade: h2c'), 400, 'Invalid Upgrade header'],
      [handshake({ path: '/ws', headers: ['Sec-WebSocket-Protocol: a b'] }), 400, 'Invalid Sec-WebSocket-Protocol header'],
      [handshake({ path: '/other' }), 400, 'Bad Request'],
      [handshake({ path: '/ws?no' }), 418, 'tea'],
    ] as const) {
      expect(await answer(address, bytes)).toMatchObject({ status, body })
    }
    expect((await answer(address, handshake({ path: '/ws?no' }))).header('x-why')).toBe('x')
    await Client.open(address, '/ws')
    const sync = await beside(engine, { verifyClient: ({ origin }: { origin: string }) => origin === 'https://good.example' })
    await Client.open(sync.address, '/', { origin: 'https://good.example' })
    expect(await refusal(sync.address, '/', { origin: 'https://bad.example' })).toBe(401)
  })

  test('leaves clients that do something wrong to listeners for wsClientError', async () => {
    const { server, address } = await beside(engine)
    server.on('wsClientError', (error, socket, request) => {
      socket.end(`HTTP/1.1 402 Own\r\nContent-Length: ${error.message.length}\r\n\r\n${error.message}`)
      expect(request.url).toBe('/x')
    })
    expect(await answer(address, handshake({ path: '/x', method: 'POST' }))).toMatchObject({
      status: 402,
      body: 'Invalid HTTP method',
    })
  })

  test('chooses subprotocols, compresses, and lets listeners see and add header fields', async () => {
    const { server, address } = await beside(engine, {
      handleProtocols: (protocols) => [...protocols].at(-1) ?? false,
      perMessageDeflate: true,
    })
    const seen = new Deferred<string[]>()
    server.on('headers', (headers) => {
      seen.resolve([...headers])
      headers.push('Set-Cookie: a=1')
    })
    const socket = new WsClient(address.wsUrl(), ['a', 'b'])
    onTestFinished(() => socket.terminate())
    const [[response]] = await within(Promise.all([once(socket, 'upgrade'), once(socket, 'open')]), 'open')
    expect([socket.protocol, socket.extensions, response.headers['set-cookie']]).toEqual(['b', 'permessage-deflate', ['a=1']])
    expect(await seen.promise).toEqual([
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${response.headers['sec-websocket-accept']}`,
      'Sec-WebSocket-Protocol: b',
    ])
  })
})

describeEngines('the option `noServer` of the face of ws', (engine) => {
  /** Two servers of the face share one of node:http, by their paths. */
  async function shared() {
    const [a, b] = [face(engine, { noServer: true }), face(engine, { noServer: true, clientTracking: false })]
    const node = page()
    node.on('upgrade', (request, socket, head) => {
      const server = request.url === '/a' ? a : b
      server.handleUpgrade(request, socket, head, (client) => server.emit('connection', client, request))
    })
    a.on('connection', (socket) => socket.send('a'))
    b.on('connection', (socket) => socket.send('b'))
    return { a, b, node, address: addressOf(await listening(node)) }
  }

  test('lets several servers share a port', async () => {
    const { a, b, address } = await shared()
    const clients = [await Client.open(address, '/a'), await Client.open(address, '/b')]
    expect(await Promise.all(clients.map((client) => client.next()))).toEqual(['a', 'b'])
    expect([a.clients.size, b.clients]).toEqual([1, undefined])
    expect(() => a.address()).toThrow('noServer')
    expect(a.shouldHandle({ url: '/anything' } as IncomingMessage)).toBe(true)
  })

  test('closes at once where clients are not tracked, and leaves them', async () => {
    const { b, address } = await shared()
    const client = await Client.open(address, '/b')
    await client.next()
    await within(new Promise<void>((resolve) => b.close(() => resolve())), 'close')
    expect(client.socket.readyState).toBe(client.socket.OPEN)
    expect(await refusal(address, '/b')).toBe(503)
    client.socket.close()
    await client.closed()
  })

  test('waits with the upgrade for as long as its caller likes, and reads nothing twice', async () => {
    const server = face(engine, { noServer: true })
    const node = page()
    const upgrades = new Queue<[IncomingMessage, Duplex, Buffer]>()
    node.on('upgrade', (...upgrade) => upgrades.push(upgrade))
    const client = await RawClient.connect(addressOf(await listening(node)))
    client.write(handshake(), text('1'))
    const [request, socket, head] = await upgrades.next('the upgrade')
    client.write(text('2'))
    while (socket.readableLength === 0) await new Promise((resolve) => setImmediate(resolve))
    const messages = new Queue<string>()
    server.handleUpgrade(request, socket, head, (ws, given) => {
      expect(given).toBe(request)
      ws.on('message', (data) => messages.push(String(data)))
    })
    expect(() => server.handleUpgrade(request, socket, head, () => {})).toThrow('called more than once')
    expect(await messages.take(2, 'the messages')).toEqual(['1', '2'])
  })

  test('takes a socket on which a framework has put a response', async () => {
    const server = face(engine, { noServer: true })
    const node = page()
    node.on('upgrade', (request, socket, head) => {
      const response = new ServerResponse(request)
      // Servers of node:http give a Socket.
      response.assignSocket(request.socket)
      server.handleUpgrade(request, socket, head, (ws) => ws.send('hello'))
    })
    const client = await Client.open(addressOf(await listening(node)))
    expect(await client.next()).toBe('hello')
  })

  test('destroys the socket of a client that has left', async () => {
    const server = face(engine, { noServer: true })
    const node = page()
    const destroyed = new Deferred<boolean>()
    node.on('upgrade', (request, socket, head) => {
      socket.resume()
      socket.once('end', () => {
        server.handleUpgrade(request, socket, head, () => {})
        destroyed.resolve(socket.destroyed)
      })
    })
    const client = await RawClient.connect(addressOf(await listening(node)))
    client.write(handshake())
    client.end()
    expect(await within(destroyed.promise, 'the end')).toBe(true)
  })
})

test('the face takes connections of node:https, through the portable engine, unless the native one is asked for', async () => {
  const open = async (options: ServerOptions) => {
    const node = createSecureServer(localhostCertificate())
    const server = new WebSocketServer(options.noServer ? options : { ...options, server: node })
    onTestFinished(async () => {
      for (const socket of server.clients) socket.terminate()
      await within(new Promise<void>((resolve) => server.close(() => resolve())), 'the face to close')
    })
    if (options.noServer) {
      node.on('upgrade', (request, socket, head) => {
        server.handleUpgrade(request, socket, head, (client) => server.emit('connection', client, request))
      })
    }
    server.on('connection', (socket) => socket.send('hello'))
    const client = await Client.open(addressOf(await listening(node), '127.0.0.1', true))
    expect(await client.next()).toBe('hello')
  }
  await open({ verifyClient: ({ secure }: { secure: boolean }) => secure })
  await open({ noServer: true })
  await open({ noServer: true, engine: 'portable' })
  if (!AVAILABLE_ENGINES.includes('native')) return
  const server = createSecureServer(localhostCertificate())
  expect(() => new WebSocketServer({ server, engine: 'native' })).toThrow(NotSupportedError)
})
