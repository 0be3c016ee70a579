/** The `upgrade` event of the face of `node:http`, and the face of `ws` on it. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { createServer, type RequestListener, type Server } from '../../src/faces/http.js'
import { type ServerOptions, WebSocketServer } from '../../src/faces/ws.js'
import { NotSupportedError } from '../../src/index.js'
import { localhostCertificate } from '../support/certificates.js'
import { Client, refusal } from '../support/client.js'
import { addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { Queue, within } from '../support/waiting.js'

const page: RequestListener = (_request, response) => void response.end('page')

async function listening(engine: EngineName, secure = false) {
  const server = createServer({ engine, ...(secure && { tls: localhostCertificate() }) }, page)
  await within(once(server.listen(0, '127.0.0.1'), 'listening'), 'the face to listen')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return { server, address: addressOf(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1', secure) }
}

/** The face of `ws` on that server, which echoes. */
function webSocketsOn(server: Server, options: ServerOptions = {}): WebSocketServer {
  const face = new WebSocketServer({ server, ...options })
  onTestFinished(() => {
    for (const socket of face.clients) socket.terminate()
  })
  face.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }))
  })
  return face
}

describeEngines('upgrades of the face of node:http', (engine) => {
  test.each([false, true])('carry WebSockets of the face of ws beside pages, with TLS: %s', async (secure) => {
    const { server, address } = await listening(engine, secure)
    const face = webSocketsOn(server, { path: '/chat' })
    const requests = new Queue<IncomingMessage>()
    face.on('connection', (_socket, request) => requests.push(request))
    const client = await Client.open(address, '/chat?x=1')
    expect(await client.ask('hello')).toBe('hello')
    expect(await client.ask(Buffer.from('bytes'))).toEqual(Buffer.from('bytes'))
    const request = await requests.next('a request')
    expect(request).toMatchObject({ url: '/chat?x=1', method: 'GET', httpVersion: '1.1' })
    expect(request.socket).toMatchObject({ remoteAddress: '127.0.0.1', encrypted: secure })
    expect(String((await http(address, '/')).body)).toBe('page')
    expect(await refusal(address, '/other')).toBe(400)
    const closed = new Promise((resolve) => face.close(resolve))
    for (const socket of face.clients) socket.close(1000)
    await within(closed, 'the face of ws to close')
    expect((await client.closed()).code).toBe(1000)
    expect(String((await http(address, '/')).body)).toBe('page')
  })

  test('have the options of each server of the face of ws', async () => {
    const { server, address } = await listening(engine)
    const options = { noServer: true, server: undefined }
    const small = webSocketsOn(server, { ...options, maxPayload: 10, autoPong: false })
    const large = webSocketsOn(server, { ...options, perMessageDeflate: { threshold: 0 } })
    server.on('upgrade', (request, socket, head) => {
      const face = request.url === '/small' ? small : large
      face.handleUpgrade(request, socket, head, (client) => face.emit('connection', client, request))
    })
    const one = await Client.open(address, '/small')
    expect(one.socket.extensions).toBe('')
    let pongs = 0
    one.socket.on('pong', () => (pongs += 1))
    one.socket.ping()
    expect(await one.ask('0123456789')).toBe('0123456789')
    expect(pongs).toBe(0)
    one.socket.send('0123456789x')
    expect((await one.closed()).code).toBe(1009)
    const other = await Client.open(address, '/large', { perMessageDeflate: true })
    expect(other.socket.extensions).toMatch(/permessage-deflate/)
    const pong = once(other.socket, 'pong')
    other.socket.ping()
    await within(pong, 'the Pong')
    expect(await other.ask('x'.repeat(100_000))).toBe('x'.repeat(100_000))
  })

  test('are refused by what a program writes, cut without that, and are no handshakes of its own', async () => {
    const { server, address } = await listening(engine)
    const thrown = new Queue<unknown>()
    const written: unknown[] = []
    server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
      const note = () => written.push(Reflect.get(socket, 'bytesWritten'))
      if (request.url === '/write') {
        note()
        socket.write('HTTP/1.1 401 Unauthorized\r\nX-Why: no\r\nContent-Length: 3\r\nConnection: close\r\n\r\n')
        socket.write('who')
        note()
      } else if (request.url === '/own') {
        try {
          socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
        } catch (error) {
          thrown.push(error)
        }
      } else if (request.url === '/end') {
        socket.end('HTTP/1.1 503 Busy\r\n\r\n')
        return
      }
      socket.destroy()
    })
    const asked = async (path: string) => {
      const client = await RawClient.connect(address)
      client.write(handshake({ path }))
      return client
    }
    const response = await (await asked('/write')).response()
    expect([response.status, response.header('x-why'), response.header('connection')]).toEqual([401, 'no', 'close'])
    expect(String(response.body)).toBe('who')
    expect(written).toEqual([0, 81])
    expect((await (await asked('/end')).response()).status).toBe(503)
    for (const path of ['/cut', '/own']) expect(String(await (await asked(path)).rest())).toBe('')
    expect(await thrown.next('the error')).toBeInstanceOf(NotSupportedError)
  })

  test('are requests where nobody listens, and tell of clients that leave', async () => {
    const { server, address } = await listening(engine)
    const plain = await RawClient.connect(address)
    plain.write(handshake())
    expect((await plain.response()).status).toBe(200)
    const sockets = new Queue<Duplex>()
    server.on('upgrade', (_request, socket) => sockets.push(socket))
    const client = await RawClient.connect(address)
    client.write(handshake())
    const socket = await sockets.next('the upgrade')
    const closed = once(socket, 'close')
    client.vanish()
    await within(closed, 'close of the socket')
  })
})
