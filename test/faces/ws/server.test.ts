/** `WebSocketServer` of the face of `ws`: options, handshakes, and the end. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket as WsClient, WebSocketServer as WsServer } from 'ws'
import wsDefault, { Server, type ServerOptions, WebSocket, WebSocketServer } from '../../../src/faces/ws.js'
import { NotSupportedError } from '../../../src/index.js'
import { localhostCertificate } from '../../support/certificates.js'
import { Client, refusal } from '../../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../../support/engines.js'
import { handshake, RawClient } from '../../support/raw-client.js'
import { Deferred, Queue, within } from '../../support/waiting.js'

/** Where the engine listens itself, rather than a server of `node:http`. */
const tls = localhostCertificate()

/** Of a server that listens on a port of its own. */
function portOf(server: WebSocketServer): number {
  const address = server.address()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

async function listening(
  engine: EngineName,
  options: ServerOptions = {},
): Promise<{ server: WebSocketServer; address: Address }> {
  const server = new WebSocketServer({ engine, host: '127.0.0.1', port: 0, ...options })
  onTestFinished(async () => {
    for (const socket of server.clients ?? []) socket.terminate()
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'the face to close')
  })
  await within(once(server, 'listening'), 'the face to listen')
  return { server, address: addressOf(portOf(server), '127.0.0.1', options.tls !== undefined) }
}

test('the module has the names of `ws`', () => {
  expect(Server).toBe(WebSocketServer)
  expect(wsDefault).toBe(WebSocket)
  const { CONNECTING, OPEN, CLOSING, CLOSED } = wsDefault
  expect([CONNECTING, OPEN, CLOSING, CLOSED]).toEqual([0, 1, 2, 3])
  expect([wsDefault.Server, wsDefault.WebSocketServer, wsDefault.WebSocket]).toEqual([Server, Server, WebSocket])
})

test.each<[string, ServerOptions]>([
  ['skipUTF8Validation', { port: 0, skipUTF8Validation: true }],
  ['maxFragments', { port: 0, maxFragments: 10 }],
  [
    'perMessageDeflate.zlibDeflateOptions.dictionary',
    { port: 0, perMessageDeflate: { zlibDeflateOptions: { dictionary: Buffer.alloc(1) } } },
  ],
  [
    'perMessageDeflate.zlibInflateOptions.dictionary',
    { noServer: true, perMessageDeflate: { zlibInflateOptions: { dictionary: Buffer.alloc(1) } } },
  ],
])('the option %s throws NotSupportedError, and says what to do', (name, options) => {
  expect(() => new WebSocketServer(options)).toThrow(NotSupportedError)
  expect(() => new WebSocketServer(options)).toThrow(expect.objectContaining({ member: `the option ${name} of WebSocketServer` }))
})

test('what a class would have of its own, and nobody call, throws NotSupportedError', () => {
  class Completing extends WebSocketServer {
    override completeUpgrade(): never {
      throw new Error('called')
    }
  }
  expect(() => new Completing({ noServer: true })).toThrow(expect.objectContaining({ member: 'WebSocketServer.completeUpgrade' }))
  expect(() => new WebSocketServer({ noServer: true }).completeUpgrade()).toThrow(NotSupportedError)
  class Emitting extends WebSocket {
    override emitClose(): never {
      throw new Error('called')
    }
  }
  expect(() => new WebSocketServer({ noServer: true, WebSocket: Emitting })).toThrow(NotSupportedError)
})

test('listeners for headers hear that lines of the engine have no effect', async () => {
  const { server, address } = await listening('portable')
  const warnings = new Queue<string>()
  const warned = ({ message }: Error) => void warnings.push(message)
  process.on('warning', warned)
  onTestFinished(() => void process.off('warning', warned))
  server.on('headers', (headers) => {
    headers[1] = 'Upgrade: other'
    headers.push('Sec-WebSocket-Version: 13', 'X-Own: 1')
  })
  const client = await RawClient.connect(address)
  client.write(handshake())
  expect((await client.response()).header('x-own')).toBe('1')
  expect(await warnings.next('a warning')).toMatch(/has changed lines/)
  expect(await warnings.next('a warning')).toMatch(/a field of Sec-WebSocket, which has no effect/)
})

test.skipIf(process.platform === 'win32')('a port may be the path of a unix socket, as programs have it in PORT', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'face-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'socket')
  const options: object = { port: path }
  const server = new WebSocketServer(options)
  onTestFinished(() => void server.close())
  await within(once(server, 'listening'), 'the face to listen')
  expect(server.address()).toBe(path)
  const connected = once(server, 'connection')
  const client = new WsClient(`ws+unix://${path}:/`)
  onTestFinished(() => client.terminate())
  await within(Promise.all([connected, once(client, 'open')]), 'the connection')
})

test.each(['server', 'client'] as const)('%sMaxWindowBits beside NoContextTakeover is a process warning', async (side) => {
  const warnings = new Queue<string>()
  const warned = ({ message }: Error) => void warnings.push(message)
  process.on('warning', warned)
  onTestFinished(() => void process.off('warning', warned))
  const perMessageDeflate = { [`${side}NoContextTakeover`]: true, [`${side}MaxWindowBits`]: 10 }
  new WebSocketServer({ noServer: true, perMessageDeflate })
  expect(await warnings.next('a warning')).toContain(`${side}MaxWindowBits of perMessageDeflate: no effect`)
})

test('a class for sockets must extend that of the module, and a backlog is for ports without TLS', () => {
  // As a program in JavaScript may have it.
  const Other = class {} as unknown as typeof WebSocket
  expect(() => new WebSocketServer({ port: 0, WebSocket: Other })).toThrow(NotSupportedError)
  expect(() => new WebSocketServer({ port: 0, backlog: 5, tls })).toThrow(NotSupportedError)
})

test('a server needs one of `port`, `server` and `noServer`, else it is a TypeError', () => {
  const server = createServer()
  for (const options of [{}, { port: 0, server }, { port: 0, noServer: true }, { server, noServer: true }]) {
    expect(() => new WebSocketServer(options)).toThrow(TypeError)
  }
  expect(() => new WebSocketServer({ noServer: true, tls: localhostCertificate() })).toThrow(TypeError)
})

describeEngines('a WebSocketServer of the face of ws', (engine) => {
  test('says where it listens, calls back, and tracks its clients', async () => {
    const called = new Deferred()
    const server = new WebSocketServer({ engine, host: '127.0.0.1', port: 0 }, () => called.resolve())
    expect(server.address()).toBe(null)
    await within(called.promise, 'the callback')
    const port = portOf(server)
    expect(server.address()).toEqual({ address: '127.0.0.1', family: 'IPv4', port })
    const sockets = new Queue<WebSocket>()
    server.on('connection', (socket) => void sockets.push(socket))
    const clients = [await Client.open(addressOf(port)), await Client.open(addressOf(port))]
    expect([...server.clients]).toEqual(await sockets.take(2, 'two sockets'))
    const closed = new Promise<unknown>((resolve) => server.close(resolve))
    await expect(RawClient.connect(addressOf(port))).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    for (const client of clients) client.socket.close()
    expect(await within(closed, 'close')).toBeUndefined()
    expect(server.clients.size).toBe(0)
    expect(await within(new Promise((resolve) => server.close(resolve)), 'the second close')).toMatchObject({
      message: 'The server is not running',
    })
  })

  test('emits close for each call of close that comes after the end, and answers HTTP with 426', async () => {
    const { server, address } = await listening(engine)
    const response = await fetch(address.httpUrl())
    expect([response.status, await response.text()]).toEqual([426, 'Upgrade Required'])
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'close')
    const again = once(server, 'close')
    server.close()
    await within(again, 'close once more')
  })

  test('emits an error for a port that is taken', async () => {
    const { address } = await listening(engine)
    const server = new WebSocketServer({ engine, host: '127.0.0.1', port: address.port })
    const [error] = await within(
      once(server, 'error').catch((reason) => [reason]),
      'error',
    )
    expect(error).toMatchObject({ code: 'EADDRINUSE' })
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'close')
  })

  test('may be closed at once', async () => {
    const server = new WebSocketServer({ engine, host: '127.0.0.1', port: 0 })
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'close')
  })

  test('closes beside clients that say nothing, or whom verifyClient does not answer', async () => {
    const asked = new Deferred()
    const { server, address } = await listening(engine, { verifyClient: (_info, _callback) => asked.resolve() })
    const silent = await RawClient.connect(address)
    const begun = await RawClient.connect(address)
    begun.write('GET / HTTP/1.1\r\nHo')
    const undecided = await RawClient.connect(address)
    undecided.write(handshake())
    await within(asked.promise, 'verifyClient')
    await within(new Promise<void>((resolve) => server.close(() => resolve())), 'close')
    await Promise.all([silent.closed(), begun.closed(), undecided.closed()])
  })

  test.each<[where: string, options: ServerOptions]>([
    ['of node:http', {}],
    ['with `tls`', { tls }],
  ])('refuses a client with 500 where shouldHandle rejects, and tells the program, on a port %s', async (_where, options) => {
    class Undecided extends WebSocketServer {
      override async shouldHandle(): Promise<boolean> {
        throw new Error('no answer')
      }
    }
    const server = new Undecided({ engine, host: '127.0.0.1', port: 0, ...options })
    onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())))
    await within(once(server, 'listening'), 'the face to listen')
    const address = addressOf(portOf(server), '127.0.0.1', 'tls' in options)
    const warned = once(process, 'warning')
    expect(await refusal(address, '/')).toBe(500)
    expect((await within(warned, 'the warning'))[0]).toMatchObject({ message: expect.stringContaining('no answer') })
    const told = new Promise((resolve) => server.on('error', resolve))
    expect(await refusal(address, '/')).toBe(500)
    expect(await within(told, 'error')).toMatchObject({ message: 'no answer' })
  })

  test('gives the request as node:http would', async () => {
    const { server, address } = await listening(engine)
    const requests = new Queue<IncomingMessage>()
    server.on('connection', (_socket, request) => void requests.push(request))
    await Client.open(address, '/a%20b?x=1', { headers: { 'X-Own': 'mine', cookie: 'a=1' } })
    const request = await requests.next('a request')
    expect(request).toMatchObject({ method: 'GET', url: '/a%20b?x=1', httpVersion: '1.1' })
    expect(request.headers).toMatchObject({ 'x-own': 'mine', cookie: 'a=1', upgrade: 'websocket' })
    expect(request.socket).toMatchObject({ remoteAddress: '127.0.0.1', localPort: address.port })
    expect(request.socket.remotePort).toBeGreaterThan(0)
    expect('encrypted' in request.socket && request.socket.encrypted).toBe(false)
  })

  test('serves TLS by an option of its own, and tells verifyClient that it is secure', async () => {
    const infos = new Queue<boolean>()
    const { address } = await listening(engine, {
      tls: localhostCertificate(),
      verifyClient: ({ secure }: { secure: boolean }) => {
        infos.push(secure)
        return true
      },
    })
    await Client.open(address)
    expect(await infos.next('verifyClient')).toBe(true)
  })

  test('serves one path alone, if told so', async () => {
    const { address } = await listening(engine, { path: '/ws' })
    await Client.open(address, '/ws?with=query')
    expect(await refusal(address, '/other')).toBe(400)
  })

  test('asks verifyClient, in both of its forms', async () => {
    const sync = await listening(engine, { verifyClient: ({ origin }: { origin: string }) => origin === 'https://good.example' })
    await Client.open(sync.address, '/', { origin: 'https://good.example' })
    expect(await refusal(sync.address, '/', { origin: 'https://bad.example' })).toBe(401)
    const async = await listening(engine, {
      verifyClient: ({ req }, callback) => {
        setImmediate(() => callback(req.url === '/good', 403, 'not you', { 'X-Why': 'because' }))
      },
    })
    await Client.open(async.address, '/good')
    expect(await refusal(async.address, '/bad')).toBe(403)
    const answer = await RawClient.connect(async.address)
    answer.write(
      'GET /bad HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    const response = await answer.response()
    expect([response.status, response.header('x-why'), response.body.toString()]).toEqual([403, 'because', 'not you'])
  })

  test('takes the first subprotocol, or what handleProtocols chooses', async () => {
    const first = await listening(engine)
    const client = await Client.open(first.address, '/', {})
    expect(client.socket.protocol).toBe('')
    const choosing = await listening(engine, { handleProtocols: (protocols) => [...protocols].at(-1) ?? false })
    for (const [address, expected] of [
      [first.address, 'a'],
      [choosing.address, 'b'],
    ] as const) {
      const { WebSocket: WsClient } = await import('ws')
      const socket = new WsClient(address.wsUrl('/'), ['a', 'b'])
      onTestFinished(() => socket.terminate())
      await within(once(socket, 'open'), 'open')
      expect(socket.protocol).toBe(expected)
    }
  })

  test('lets listeners add headers', async () => {
    const { server, address } = await listening(engine)
    server.on('headers', (headers) => void headers.push('Set-Cookie: a=1', 'X-Own: 2'))
    const { WebSocket: WsClient } = await import('ws')
    const socket = new WsClient(address.wsUrl('/'))
    onTestFinished(() => socket.terminate())
    const [response] = await within(once(socket, 'upgrade'), 'upgrade')
    expect(response.headers).toMatchObject({ 'set-cookie': ['a=1'], 'x-own': '2' })
  })

  test.each<[what: string, options: ServerOptions, line: string | undefined, status: number, warns: boolean]>([
    ['handleProtocols chooses what was not offered', { handleProtocols: () => 'chat' }, undefined, 500, true],
    ['a listener adds a value that is not ASCII', {}, 'Set-Cookie: a=€', 500, true],
    ['a listener adds a line that is no field', {}, 'no field', 500, true],
    ['a listener adds a line break', {}, 'X-Own: 1\r\nX-Other: 2', 500, true],
    ['a listener adds what the engine writes itself', {}, 'Date: now', 101, false],
    [
      'verifyClient refuses with 204',
      { tls, verifyClient: (_info, callback) => callback(false, 204, 'no') },
      undefined,
      204,
      false,
    ],
    [
      'verifyClient refuses with 1001',
      { tls, verifyClient: (_info, callback) => callback(false, 1001, 'no') },
      undefined,
      500,
      false,
    ],
    ['verifyClient refuses with 101', { tls, verifyClient: (_info, callback) => callback(false, 101) }, undefined, 500, false],
    [
      'verifyClient gives a false length',
      { tls, verifyClient: (_info, callback) => callback(false, 403, 'no', { 'Content-Length': 5 }) },
      undefined,
      403,
      false,
    ],
    [
      'verifyClient gives a field that cannot be sent',
      { tls, verifyClient: (_info, callback) => callback(false, 403, 'no', { 'X-Own': 'a\r\nb' }) },
      undefined,
      500,
      false,
    ],
  ])('fails no more than the handshake of a client where %s', async (_what, options, line, status, warns) => {
    const { server, address } = await listening(engine, options)
    // Without a listener for `error`: there, an error would end the process.
    if (line !== undefined) server.on('headers', (headers) => void headers.push(line))
    const warnings: Error[] = []
    // Of what listeners add without effect, another test is.
    const warned = (warning: Error) => void (warning.message.includes('no effect') || warnings.push(warning))
    process.on('warning', warned)
    onTestFinished(() => void process.off('warning', warned))
    for (let n = 0; n < 2; n++) {
      const client = await RawClient.connect(address)
      client.write(handshake({ headers: ['Sec-WebSocket-Protocol: other'] }))
      const response = await client.response()
      expect([response.status, response.header('x-other')]).toEqual([status, undefined])
    }
    expect(warnings.length).toBe(warns ? 1 : 0)
    expect(String(warnings)).toMatch(warns ? /a WebSocket handshake was refused: (handleProtocols|a listener for headers)/ : /^$/)
  })

  test.each<[added: string, status: number, protocol: string | undefined]>([
    ['Sec-WebSocket-Protocol: other', 101, 'other'],
    ['sec-websocket-protocol: chat', 500, undefined],
  ])('lets listeners for headers choose what the client has offered, and no other: %s', async (added, status, protocol) => {
    const { server, address } = await listening(engine, { handleProtocols: () => false })
    server.on('headers', (headers) => void headers.push(added))
    const client = await RawClient.connect(address)
    client.write(handshake({ headers: ['Sec-WebSocket-Protocol: one, other'] }))
    const response = await client.response()
    expect([response.status, response.header('sec-websocket-protocol')]).toEqual([status, protocol])
  })

  test('sends fields of a refusal as UTF-8, as ws does', async () => {
    const { address } = await listening(engine, {
      verifyClient: (_info, callback) => callback(false, 403, '', { 'X-Why': 'zu groß: 5 €' }),
    })
    const client = await RawClient.connect(address)
    client.write(handshake())
    const response = await client.response()
    expect([response.status, response.body.toString()]).toEqual([403, 'Forbidden'])
    expect(Buffer.from(response.header('x-why') ?? '', 'latin1').toString()).toBe('zu groß: 5 €')
  })

  test('answers what is no handshake as ws does, and lets wsClientError answer', async () => {
    const { server, address } = await listening(engine, { perMessageDeflate: true })
    const offer = 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=foo'
    const answers = async (request: string) => {
      const client = await RawClient.connect(address)
      client.write(request)
      const response = await client.response()
      return [response.status, response.body.toString(), response.header('sec-websocket-version')]
    }
    expect(await answers(handshake({ key: 'short' }))).toEqual([400, 'Missing or invalid Sec-WebSocket-Key header', undefined])
    const version = 'Missing or invalid Sec-WebSocket-Version header'
    expect(await answers(handshake({ version: '12' }))).toEqual([400, version, '13, 8'])
    const extensions = 'Invalid or unacceptable Sec-WebSocket-Extensions header'
    expect(await answers(handshake({ headers: [offer] }))).toEqual([400, extensions, undefined])
    server.on('wsClientError', (error, socket, request) => {
      socket.end(`HTTP/1.1 418 ${error.message}\r\nConnection: close\r\nContent-Length: 4\r\n\r\n${request.method?.padEnd(4)}`)
    })
    expect(await answers(handshake({ version: '12' }))).toEqual([418, 'GET ', undefined])
  })

  const NAME = 'permessage-deflate'
  test.each<[perMessageDeflate: object, offers: string, status: number, agreed: string | undefined]>([
    [{ serverNoContextTakeover: false }, `${NAME}; server_no_context_takeover`, 400, undefined],
    [{ serverMaxWindowBits: 10 }, `${NAME}; server_max_window_bits=9`, 400, undefined],
    [{ serverMaxWindowBits: 10 }, `${NAME}; server_max_window_bits="9", ${NAME}`, 101, `${NAME}; server_max_window_bits=10`],
    [{ serverMaxWindowBits: false }, `${NAME}; server_max_window_bits=12`, 400, undefined],
    [{ clientMaxWindowBits: 11 }, NAME, 400, undefined],
    [{ clientMaxWindowBits: 11 }, `${NAME}; client_max_window_bits=10`, 400, undefined],
    [{ clientMaxWindowBits: 11 }, `${NAME}; client_max_window_bits=12`, 101, `${NAME}; client_max_window_bits=11`],
    [{ clientMaxWindowBits: 11 }, 'other', 101, undefined],
  ])('refuses offers as ws does, where %o meets %s', async (perMessageDeflate, offers, status, agreed) => {
    const answers = async (address: Address) => {
      const client = await RawClient.connect(address)
      client.write(handshake({ headers: [`Sec-WebSocket-Extensions: ${offers}`] }))
      const response = await client.response()
      return [response.status, response.header('sec-websocket-extensions')]
    }
    expect(await answers((await listening(engine, { perMessageDeflate })).address)).toEqual([status, agreed])
    const theirs = new WsServer({ port: 0, host: '127.0.0.1', perMessageDeflate })
    await within(once(theirs, 'listening'), 'ws to listen')
    onTestFinished(() => void theirs.close())
    const { port } = theirs.address() as { port: number }
    expect(await answers(addressOf(port, '127.0.0.1'))).toEqual([status, agreed])
  })

  test('takes version 8, as ws does', async () => {
    const { server, address } = await listening(engine)
    server.on('connection', (socket) => socket.send('welcome'))
    const client = await RawClient.connect(address)
    client.write(handshake({ version: '8' }))
    expect((await client.response()).status).toBe(101)
    expect((await client.frame()).payload.toString()).toBe('welcome')
  })

  test('makes sockets of the class that the option WebSocket names', async () => {
    class Counting extends WebSocket {
      readonly greeting = 'hello'
    }
    const { server, address } = await listening(engine, { WebSocket: Counting })
    server.on('connection', (socket) => socket.send(socket instanceof Counting ? socket.greeting : 'of another class'))
    expect(await (await Client.open(address)).next()).toBe('hello')
  })

  test('has the options of ws, with their defaults', () => {
    const { options } = new WebSocketServer({ engine, noServer: true, maxPayload: 5 })
    expect(options).toMatchObject({ noServer: true, maxPayload: 5, clientTracking: true, autoPong: true, closeTimeout: 30_000 })
    const { options: theirs } = new WsServer({ noServer: true, maxPayload: 5 })
    for (const [name, value] of Object.entries(theirs)) {
      if (name !== 'WebSocket') expect([name, Reflect.get(options, name)]).toEqual([name, value])
    }
  })

  test('has the members that ws documents nowhere, and programs read: _server and _state', async () => {
    const server = new WebSocketServer({ engine, host: '127.0.0.1', port: 0 })
    await within(once(server, 'listening'), 'the face to listen')
    expect(server._server?.address()).toEqual(server.address())
    expect(server._state).toBe(0)
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    expect([server._state, server._server, server.address()]).toEqual([1, null, null])
    await within(closed, 'close')
    expect(server._state).toBe(2)
  })

  test('limits messages by maxPayload, and tracks no client when told so', async () => {
    const { server, address } = await listening(engine, { maxPayload: 10, clientTracking: false })
    expect(server.clients).toBeUndefined()
    const sockets = new Queue<WebSocket>()
    const codes = new Queue<number>()
    server.on('connection', (socket) => {
      sockets.push(socket)
      socket.on('close', (code) => codes.push(code))
    })
    const client = await Client.open(address)
    const [socket] = await sockets.take(1, 'a socket')
    const failed = new Promise((resolve) => socket?.on('error', resolve))
    client.send('x'.repeat(11))
    expect(await within(failed, 'error')).toMatchObject({
      name: 'RangeError',
      message: 'Max payload size exceeded',
      code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
    })
    expect(await codes.next('close')).toBe(1006)
    expect(await client.closed()).toMatchObject({ code: 1009 })
  })
})
