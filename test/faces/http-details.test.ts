/** What programs seldom ask of a server of `node:http`: it works here, throws, or is a process warning. */
import { Buffer } from 'node:buffer'
import { EventEmitter, once } from 'node:events'
import nodeHttp, { IncomingMessage, ServerResponse } from 'node:http'
import { request as requestTls } from 'node:https'
import { createServer as createNetServer, type Socket } from 'node:net'
import process from 'node:process'
import { finished } from 'node:stream/promises'
import { expect, onTestFinished, test } from 'vitest'
import face, { createServer, type RequestListener, type Server, type ServerOptions, STATUS_CODES } from '../../src/faces/http.js'
import { WebSocketServer } from '../../src/faces/ws.js'
import { NotSupportedError } from '../../src/index.js'
import { Authority, localhostCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { Deferred, Queue, within } from '../support/waiting.js'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

async function listening(engine: EngineName, listener: RequestListener, options: ServerOptions = {}) {
  const server = createServer({ engine, ...options }, listener)
  await within(once(server.listen(0, '127.0.0.1'), 'listening'), 'the face to listen')
  onTestFinished(() => void server.close())
  return { server, address: addressFor(server, options.tls !== undefined) }
}

function addressFor(server: Server, isSecure = false): Address {
  const address = server.address()
  return addressOf(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1', isSecure)
}

function warnings(): Queue<string> {
  const queue = new Queue<string>()
  const push = ({ message }: Error) => queue.push(message)
  process.on('warning', push)
  onTestFinished(() => void process.off('warning', push))
  return queue
}

test('the module has the other exports of node:http, and they are those of Node', () => {
  expect(STATUS_CODES).toBe(nodeHttp.STATUS_CODES)
  for (const [name, value] of Object.entries(nodeHttp)) {
    if (name !== 'createServer' && name !== 'Server') expect([name, Reflect.get(face, name)]).toEqual([name, value])
  }
  expect(face.createServer).toBe(createServer)
})

test.each<[what: string, given: unknown[], error: unknown]>([
  ['a port that is none', [65_536], { name: 'RangeError', code: 'ERR_SOCKET_BAD_PORT' }],
  ['a name in the place of a port', [{ port: 'http' }], { name: 'RangeError', code: 'ERR_SOCKET_BAD_PORT' }],
  ['options without a place', [{ host: '127.0.0.1' }], { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }],
  ['a signal that is none', [{ port: 0, signal: {} }], { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }],
  ['IPv6 alone', [{ port: 0, ipv6Only: true }], { name: 'NotSupportedError' }],
  ['a socket for every user', [{ path: '/nowhere/socket', writableAll: true }], { name: 'NotSupportedError' }],
  ['another server', [createNetServer()], { name: 'NotSupportedError' }],
])('listen with %s throws at once, and the server can listen elsewhere', async (_what, given, error) => {
  const server = createServer({ engine: 'portable' })
  expect(() => server.listen(...given)).toThrow(expect.objectContaining(error))
  await within(once(server.listen({ port: '0', host: '127.0.0.1' }), 'listening'), 'the face to listen')
  await server[Symbol.asyncDispose]()
})

test('a signal closes the server, before it listens too', async () => {
  const controller = new AbortController()
  const server = createServer({ engine: 'portable' })
  await within(once(server.listen({ port: 0, signal: controller.signal }), 'listening'), 'the face to listen')
  const closed = once(server, 'close')
  controller.abort()
  await within(closed, 'close')
  const early = createServer({ engine: 'portable' })
  await within(once(early.listen({ port: 0, signal: AbortSignal.abort() }), 'close'), 'close')
})

test('settings without effect are process warnings', async () => {
  const told = warnings()
  const server = createServer({ engine: 'portable' })
  server.listen(0, '127.0.0.1', 5)
  onTestFinished(() => void server.close())
  server.requestTimeout = 1000
  expect(await told.next('a warning')).toMatch(/backlog of Server.listen has no effect/)
  expect(await told.next('a warning')).toMatch(/requestTimeout of Server has no effect after `listen`/)
  expect(server.requestTimeout).toBe(1000)
  await within(once(server, 'listening'), 'the face to listen')
})

test.each([{ maxConnections: 5 }, { insecureHTTPParser: true }, { noDelay: false }, { shouldUpgradeCallback: () => true }])(
  'members of a server that would do nothing throw NotSupportedError: %o',
  (members) => {
    expect(() => Object.assign(createServer(), members)).toThrow(NotSupportedError)
  },
)

test('a class of responses with a way of its own to send throws NotSupportedError', () => {
  class Counting extends ServerResponse {
    override end(): this {
      return super.end()
    }
  }
  expect(() => createServer({ ServerResponse: Counting })).toThrow(/a class that has its own end/)
})

describeEngines('a server of the face of node:http, asked for details', (engine) => {
  test('gives a socket that knows where it leads, and says what it cannot do', async () => {
    const told = warnings()
    const sockets = new Queue<Socket>()
    const { server, address } = await listening(
      engine,
      ({ socket, upgrade }: IncomingMessage & { upgrade?: boolean }, response) => {
        expect(upgrade).toBe(false)
        sockets.push(socket)
        response.end()
      },
    )
    await http(address, '/')
    const socket = await sockets.next('a socket')
    const { pending, localFamily, remoteFamily } = socket
    expect({ pending, localFamily, remoteFamily }).toEqual({ pending: false, localFamily: 'IPv4', remoteFamily: 'IPv4' })
    expect(socket.address()).toEqual({ address: '127.0.0.1', family: 'IPv4', port: address.port })
    expect(Reflect.get(socket, 'server')).toBe(server)
    expect([Reflect.get(socket, 'authorized'), Reflect.get(socket, 'getCipher')]).toEqual([undefined, undefined])
    for (const ask of [
      () => socket.on('data', () => {}),
      () => socket.once('readable', () => {}),
      () => socket.prependListener('data', () => {}),
      () => socket.pipe(process.stdout),
      () => socket.setEncoding('utf8'),
      () => socket.unshift(Buffer.from('head')),
      () => socket.push('bytes'),
      () => socket.setNoDelay(false),
      () => socket.unref(),
      () => socket.connect(1),
      () => socket.write('bytes'),
    ]) {
      expect(ask).toThrow(NotSupportedError)
    }
    socket.unshift(Buffer.alloc(0))
    socket.setNoDelay().setKeepAlive(false).ref().resume()
    expect(socket.setKeepAlive(true).pause().bytesRead).toBe(0)
    if (engine !== 'native') return
    // Each is told once, by the engine that was asked first.
    expect(await told.next('a warning')).toMatch(/^setKeepAlive of the socket of a request has no effect/)
    expect(await told.next('a warning')).toMatch(/^pause of the socket of a request has no effect/)
    expect(await told.next('a warning')).toMatch(/^bytesRead of the socket of a request is 0/)
  })

  test.each(['end', 'destroySoon', 'resetAndDestroy', 'destroy'] as const)(
    'cuts a request that has no response by %s of its socket',
    async (method) => {
      const { address } = await listening(engine, ({ socket }) => void socket[method]())
      const client = await RawClient.connect(address)
      client.write(GET)
      expect(String(await client.rest())).toBe('')
    },
  )

  test('checks the length of a body where strictContentLength says so', async () => {
    const codes = new Queue<unknown>()
    const { address } = await listening(engine, (_request, response) => {
      response.strictContentLength = true
      response.setHeader('Content-Length', 3)
      for (const text of ['four', 'fo']) {
        try {
          if (text === 'four') response.write(text)
          else response.end(text)
        } catch (error) {
          codes.push(Reflect.get(Object(error), 'code'))
        }
      }
      response.destroy()
    })
    await expect(http(address, '/')).rejects.toThrow()
    expect(await codes.take(2, 'the errors')).toEqual(Array(2).fill('ERR_HTTP_CONTENT_LENGTH_MISMATCH'))
  })

  test('says what the response has no way to do', async () => {
    const { address } = await listening(engine, ({ socket }, response) => {
      expect(() => response.assignSocket(socket)).toThrow(NotSupportedError)
      expect(() => response.addTrailers({})).toThrow(NotSupportedError)
      response.useChunkedEncodingByDefault = false
      expect(() => response.write('piece')).toThrow(/useChunkedEncodingByDefault/)
      response.end('whole')
    })
    expect(String((await http(address, '/')).body)).toBe('whole')
  })

  test('counts what waits in a response, and says when it has finished', async () => {
    const ended = new Deferred<unknown[]>()
    const { address } = await listening(engine, async ({ socket }, response) => {
      const before = [response.writableLength, response.writableNeedDrain, response.writableFinished]
      const chunk = Buffer.alloc(response.writableHighWaterMark * 4)
      while (response.write(chunk));
      const waiting = [response.writableLength > 0, response.writableNeedDrain]
      expect(socket.writableLength).toBe(response.writableLength)
      await Promise.all([once(response, 'drain'), once(socket, 'drain')])
      const drained = response.writableNeedDrain
      const whole = finished(response)
      response.end()
      await whole
      ended.resolve([before, waiting, drained, response.writableFinished, response.writableLength, response.closed])
    })
    await http(address, '/')
    expect(await within(ended.promise, 'the end')).toEqual([[0, false, false], [true, true], false, true, 0, true])
  })

  test('tells writers that the client has gone, and finishes nothing then', async () => {
    const asked = new Deferred<ServerResponse>()
    const { address } = await listening(engine, (_request, response) => asked.resolve(response))
    const client = await RawClient.connect(address)
    client.write(GET)
    const response = await within(asked.promise, 'the request')
    const closed = once(response, 'close')
    client.reset()
    await within(closed, 'close')
    response.on('finish', () => expect.unreachable('finish'))
    const failed = new Promise((resolve) => response.write('late', resolve))
    response.end()
    expect(await within(failed, 'the error')).toMatchObject({ code: 'ERR_STREAM_DESTROYED' })
    expect([response.writableFinished, response.writableEnded]).toEqual([false, true])
  })

  test('makes requests and responses of the classes that it is given', async () => {
    class Message extends IncomingMessage {
      get query(): string {
        return new URL(this.url ?? '', 'http://a').search
      }
    }
    class Answer extends ServerResponse {
      json(value: unknown): void {
        this.setHeader('Content-Type', 'application/json').end(JSON.stringify(value))
      }
    }
    const { server, address } = await listening(
      engine,
      (request, response) => {
        if (request instanceof Message && response instanceof Answer) response.json({ query: request.query })
      },
      { IncomingMessage: Message, ServerResponse: Answer },
    )
    expect(JSON.parse(String((await http(address, '/?a=1')).body))).toEqual({ query: '?a=1' })
    const upgrades = new Queue<boolean>()
    server.on('upgrade', (request, socket) => {
      upgrades.push(request instanceof Message && Reflect.get(request, 'upgrade') === true)
      socket.destroy()
    })
    const client = await RawClient.connect(address)
    client.write(handshake())
    expect(await upgrades.next('an upgrade')).toBe(true)
  })

  test('responds with 500 where captureRejections is set, and a listener rejects', async () => {
    EventEmitter.captureRejections = true
    onTestFinished(() => {
      EventEmitter.captureRejections = false
    })
    const { address } = await listening(engine, (_request, response) => {
      response.setHeader('X-Own', '1')
      return Promise.reject(new Error('no'))
    })
    const { status, headers, body } = await http(address, '/')
    expect([status, headers['x-own'], String(body)]).toEqual([500, undefined, 'Internal Server Error'])
  })

  test('says that trailers are empty where a client announces some', async () => {
    const told = warnings()
    const { address } = await listening(engine, (request, response) => {
      request.resume().on('end', () => response.end(JSON.stringify(request.trailers)))
    })
    const client = await RawClient.connect(address)
    client.write(
      'POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n',
    )
    expect((await client.response()).body.toString()).toBe('{}')
    if (engine === 'native') expect(await told.next('a warning')).toMatch(/^trailers of IncomingMessage is empty/)
  })

  test('knows the certificate of a client, by the request and by its WebSocket', async () => {
    const authority = Authority.make('the authority')
    const known = authority.issue({ name: 'known' })
    const tls = { ...localhostCertificate(), ca: authority.cert, requestCert: true, rejectUnauthorized: false }
    const seen = new Queue<unknown>()
    const note = (socket: object) => {
      const { authorized, getPeerCertificate, getCipher } = socket as Record<string, unknown>
      const { subject } = (getPeerCertificate as () => { subject?: { CN: string } })()
      expect(getCipher).toThrow(NotSupportedError)
      seen.push([authorized, subject?.CN])
    }
    const { server, address } = await listening(
      engine,
      ({ socket }, response) => {
        note(socket)
        response.end()
      },
      { tls },
    )
    const webSockets = new WebSocketServer({ server })
    webSockets.on('connection', (socket) => {
      setImmediate(() => {
        note(socket._socket)
        socket.terminate()
      })
    })
    for (const [shown, expected] of [
      [known, [true, 'known']],
      [undefined, [false, undefined]],
    ] as const) {
      const pem = { ca: localhostCertificate().cert, servername: 'localhost', ...(shown && { key: shown.key, cert: shown.cert }) }
      const ask = requestTls({ host: address.host, port: address.port, agent: false, ...pem }, (response) => response.resume())
      ask.end()
      expect(await seen.next('the request')).toEqual(expected)
    }
    await Client.open(address, '/').catch(() => {})
    expect(await seen.next('the WebSocket')).toEqual([false, undefined])
  })
})
