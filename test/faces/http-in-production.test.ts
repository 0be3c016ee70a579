/** What guides and programs for servers in production do with one of `node:http`, on the face of it. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { createServer, type RequestListener, type Server } from '../../src/faces/http.js'
import { WebSocketServer } from '../../src/faces/ws.js'
import { NotSupportedError } from '../../src/index.js'
import { localhostCertificate } from '../support/certificates.js'
import { Client } from '../support/client.js'
import { addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, within } from '../support/waiting.js'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

async function listening(engine: EngineName, listener: RequestListener, isSecure = false) {
  const server = createServer({ engine, ...(isSecure && { tls: localhostCertificate() }) }, listener)
  await within(once(server.listen(0, '127.0.0.1'), 'listening'), 'the face to listen')
  onTestFinished(() => void server.close())
  const address = server.address()
  return { server, address: addressOf(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1', isSecure) }
}

function warnings(): Queue<Error> {
  const queue = new Queue<Error>()
  const push = (warning: Error) => queue.push(warning)
  process.on('warning', push)
  onTestFinished(() => void process.off('warning', push))
  return queue
}

/** As helpers do it that shut servers down: the connections of the server, by its events. */
function connectionsOf(server: Server, event: 'connection' | 'secureConnection' = 'connection') {
  const sockets = new Set<Socket>()
  const seen = new Queue<Socket>()
  server.on(event, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    seen.push(socket)
  })
  return { sockets, seen }
}

test('timeouts that guides recommend are kept, and a process warning says that they have no effect', async () => {
  const told = warnings()
  const server = createServer({ keepAliveTimeout: 65_000 })
  expect([server.keepAliveTimeout, server.headersTimeout]).toEqual([65_000, 60_000])
  server.headersTimeout = 66_000
  createServer().headersTimeout = 67_000
  expect([server.keepAliveTimeout, server.headersTimeout]).toEqual([65_000, 66_000])
  expect(createServer().keepAliveTimeout).toBe(5000)
  expect((await told.next('a warning')).message).toMatch(/keepAliveTimeout .*has no effect/)
  expect((await told.next('a warning')).message).toMatch(/headersTimeout .*has no effect/)
})

test('the options of zlib in the example of ws are a process warning of the face of ws', async () => {
  const told = warnings()
  const zlibDeflateOptions = { chunkSize: 1024, memLevel: 7, level: 3 }
  expect(() => new WebSocketServer({ noServer: true, perMessageDeflate: { zlibDeflateOptions } })).not.toThrow()
  expect((await told.next('a warning')).message).toMatch(/chunkSize, memLevel, level .*no effect/)
})

test('a listener for clientError is warned that it is never called', async () => {
  const told = warnings()
  const server: NodeJS.EventEmitter = createServer()
  server.on('clientError', () => {})
  expect((await told.next('a warning')).message).toMatch(/clientError .*never comes/)
})

test('closeIdleConnections without close is warned that it ends none', async () => {
  const told = warnings()
  const { server } = await listening('portable', () => {})
  server.closeIdleConnections()
  expect((await told.next('a warning')).message).toMatch(/closeIdleConnections without close/)
})

test('a connection that a program has accepted itself throws NotSupportedError', () => {
  expect(() => createServer().emit('connection', new Socket())).toThrow(NotSupportedError)
})

describeEngines('a server of the face of node:http in production', (engine) => {
  test('of a unix socket, which a proxy in front speaks to, no address and no port is known', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'face-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'socket')
    const server = createServer({ engine }, ({ socket }, response) => {
      const { remoteAddress, remotePort, remoteFamily, localAddress, localPort } = socket
      const known = [remoteAddress, remotePort, remoteFamily, localAddress, localPort, Object.keys(socket.address())]
      response.end(known.map(String).join(' '))
    })
    await within(once(server.listen(path), 'listening'), 'the face to listen')
    onTestFinished(() => void server.close())
    const [response] = (await within(once(get({ socketPath: path, agent: false }), 'response'), 'the response')) as [Readable]
    expect(await within(text(response), 'the body')).toBe('undefined undefined undefined undefined undefined ')
  })

  test.each([false, true])('emits connection with the socket of each request, until its response, TLS: %s', async (isSecure) => {
    const requests = new Queue<Socket>()
    const { server, address } = await listening(
      engine,
      ({ socket }, response) => {
        requests.push(socket)
        response.end('page')
      },
      isSecure,
    )
    const { sockets, seen } = connectionsOf(server, isSecure ? 'secureConnection' : 'connection')
    for (let count = 0; count < 2; count++) {
      expect(String((await http(address, '/')).body)).toBe('page')
      const socket = await seen.next('a connection')
      expect(socket).toBe(await requests.next('a request'))
      expect(socket.remoteAddress).toBe('127.0.0.1')
    }
    expect(sockets.size).toBe(0)
  })

  test('has a connection go on whose socket has closed with the response', async () => {
    const { server, address } = await listening(engine, (_request, response) => void response.end('page'))
    const { sockets } = connectionsOf(server)
    const client = await RawClient.connect(address)
    for (let count = 0; count < 3; count++) {
      client.write(GET)
      expect((await client.response()).status).toBe(200)
    }
    expect(sockets.size).toBe(0)
  })

  test('ends a request under way by the socket of connection, and not a WebSocket', async () => {
    const { server, address } = await listening(engine, () => {})
    const { sockets, seen } = connectionsOf(server)
    const face = new WebSocketServer({ server })
    face.on('connection', (socket) => socket.on('message', (data) => socket.send(data as Buffer, { binary: false })))
    const webSocket = await Client.open(address, '/')
    await seen.next('the connection of the WebSocket')
    const client = await RawClient.connect(address)
    client.write(GET)
    await seen.next('the connection of the request')
    expect(sockets.size).toBe(1)
    for (const socket of sockets) socket.destroy()
    expect(String(await client.rest())).toBe('')
    expect(await webSocket.ask('hello')).toBe('hello')
    for (const socket of face.clients) socket.terminate()
  })

  test('sends a response whose socket is destroyed in a listener for finish', async () => {
    const { address } = await listening(engine, ({ socket }, response) => {
      response.once('finish', () => socket.destroy())
      response.end('x'.repeat(100_000))
    })
    expect((await http(address, '/')).body.length).toBe(100_000)
  })

  test('may be asked to close idle connections before it closes', async () => {
    const { server, address } = await listening(engine, (_request, response) => void response.end('page'))
    const client = await RawClient.connect(address)
    client.write(GET)
    expect((await client.response()).status).toBe(200)
    server.closeIdleConnections()
    const closed = once(server, 'close')
    server.close()
    expect(String(await client.rest())).toBe('')
    await within(closed, 'the server to close')
  })
})
