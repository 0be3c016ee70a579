/** `metrics()`: what is counted, exactly, and when it may be asked. */
import { expect, expectTypeOf, test } from 'vitest'
import type { Metrics, Socket } from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, listen, makeServer, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

const NOTHING: Metrics = {
  tcpConnections: 0,
  connectionsAccepted: 0,
  connectionsOpen: 0,
  connectionsClosed: 0,
  upgradesRefused: 0,
  upgradesRefusedByOrigin: 0,
  upgradesRefusedByLimit: 0,
  upgradesRefusedByAddress: 0,
  upgradesRefusedByHandler: 0,
  httpRequests: 0,
  rateLimitPauses: 0,
  rateLimitCloses: 0,
  messagesReceived: 0,
  bytesReceived: 0,
  messagesSent: 0,
  bytesSent: 0,
  messagesDropped: 0,
  handlerErrors: 0,
}

test('metrics are numbers by name', () => {
  expectTypeOf<Metrics>().toExtend<Readonly<Record<string, number>>>()
})

describeEngines('metrics', (engine) => {
  test('count nothing before anything has happened, and what they gave does not change', async () => {
    const server = makeServer(engine)
    server.ws('/*', {})
    expect(server.metrics()).toEqual(NOTHING)
    const served = await listen(server)
    const before = server.metrics()
    expect(before).toEqual(NOTHING)
    await Client.open(served)
    expect(before).toEqual(NOTHING)
  })

  test('count connections, messages and payload bytes both ways, published ones for each subscriber', async () => {
    const messages = new Queue<string>()
    const ended = new Queue<true>()
    const sockets: Socket[] = []
    const { server, ...address } = await serve(engine, {
      open(socket) {
        sockets.push(socket)
        socket.subscribe('t')
      },
      message: (_, message) => messages.push(String(message)),
      close: () => ended.push(true),
    })
    const clients = await Client.openMany(address, 3)
    clients[0]?.send('é')
    clients[0]?.send('')
    clients[0]?.send(Buffer.alloc(100_000))
    clients[0]?.socket.ping('no message')
    await messages.take(3, 'messages')

    sockets[0]?.send('é')
    sockets[0]?.send(new Uint8Array(70_000))
    sockets[0]?.ping('no message')
    server.publish('t', 'to all three')
    server.publish('t', Buffer.alloc(50_000))
    sockets[0]?.publish('t', 'to two')
    server.publish('nobody', 'x')
    for (const client of clients) {
      client.socket.close()
      await client.closed()
    }
    await ended.take(3, 'close')
    sockets[0]?.send('to nobody')
    expect(server.metrics()).toEqual({
      ...NOTHING,
      tcpConnections: 3,
      connectionsAccepted: 3,
      connectionsClosed: 3,
      messagesReceived: 3,
      bytesReceived: 100_002,
      messagesSent: 2 + 3 + 3 + 2,
      bytesSent: 70_002 + 3 * 12 + 3 * 50_000 + 2 * 6,
    })
  })

  test('count what was sent a moment ago, and the connections that are open', async () => {
    const { server, ...address } = await serve(engine, {
      open(socket) {
        socket.send('hello')
        expect(server.metrics()).toMatchObject({ messagesSent: 1, bytesSent: 5, connectionsOpen: 1, connectionsAccepted: 1 })
        socket.send('again')
      },
    })
    const client = await Client.open(address)
    expect(await client.messages.take(2, 'messages')).toEqual(['hello', 'again'])
    expect(server.metrics()).toMatchObject({ messagesSent: 2, bytesSent: 10, handlerErrors: 0 })
  })

  test('count the messages that a full queue keeps from being sent, and nothing else, as dropped', async () => {
    const opened = new Queue<Socket>()
    const { server, ...address } = await serve(engine, {
      maxBackpressure: 1000,
      open: (socket) => {
        socket.subscribe('t')
        opened.push(socket)
      },
    })
    const client = await RawClient.open(address)
    const socket = await opened.next('open')
    client.pause()
    const size = 16 * 1024 * 1024
    expect(socket.send(Buffer.alloc(size))).not.toBe(0)
    await turns(2)
    expect(socket.send('x'.repeat(1001))).toBe(0)
    expect(server.publish('t', Buffer.alloc(1001))).toBe(true)
    await turns(2)
    expect(server.metrics().messagesDropped).toBe(2)
    expect(server.metrics().messagesSent).toBe(1)
    socket.terminate()
    expect(socket.send('x'.repeat(1001))).toBe(0)
    client.resume()
    await client.closed()
    expect(server.metrics()).toMatchObject({ messagesDropped: 2, messagesSent: 1, bytesSent: size })
  })

  test('count HTTP requests, refused upgrades and failed handlers', async () => {
    const errors = new Queue<unknown>()
    const { server, ...address } = await serve(
      engine,
      {
        message: () => {
          throw new Error('m')
        },
        error: (error) => errors.push(error),
      },
      {
        path: '/ws',
        server: { onError: (error) => errors.push(error) },
        routes: (server) =>
          server
            .get('/fine', () => new Response('fine'))
            .get('/fails', async () => {
              throw new Error('h')
            }),
      },
    )
    await http(address, '/fine')
    await http(address, '/fails')
    await http(address, '/nowhere')
    await http(address, '/health')
    expect(await refusal(address, '/nowhere')).toBe(404)
    const client = await Client.open(address, '/ws')
    client.send('fail')
    await client.closed()
    await errors.take(2, 'errors')
    expect(server.metrics()).toMatchObject({
      tcpConnections: 6,
      httpRequests: 4,
      upgradesRefused: 1,
      connectionsAccepted: 1,
      handlerErrors: 2,
    })
  })

  test('keep their totals when the server has closed', async () => {
    const { server, ...address } = await serve(engine, {
      open: (socket) => void socket.send('hello'),
      message: (socket, message) => void socket.send(message),
      close: (socket) => void socket.send('too late'),
    })
    const clients = await Client.openMany(address, 2)
    for (const client of clients) {
      await client.next()
      await client.ask('echo')
    }
    await server.close()
    const total = {
      ...NOTHING,
      tcpConnections: 2,
      connectionsAccepted: 2,
      connectionsClosed: 2,
      messagesReceived: 2,
      bytesReceived: 8,
      messagesSent: 4,
      bytesSent: 18,
    }
    expect(server.metrics()).toEqual(total)
    server.publish('t', 'x')
    expect(server.metrics()).toEqual(total)
  })

  test('count each server apart', async () => {
    const a = await serve(engine, { open: (socket) => void socket.send('a') })
    const b = await serve(engine, {})
    const client = await Client.open(a)
    await client.next()
    expect(a.server.metrics()).toMatchObject({ connectionsOpen: 1, messagesSent: 1 })
    expect(b.server.metrics()).toEqual(NOTHING)
  })
})
