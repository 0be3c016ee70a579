/**
 * Programs that were written for uWebSockets.js, with the face in its place: socket.io by the app that it is
 * given, hyper-express and Colyseus through npm's `overrides` (package.json, uws/).
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import HyperExpress from 'hyper-express'
import { Server as SocketServer } from 'socket.io'
import { io } from 'socket.io-client'
import WebSocket from 'ws'
import uWS from '../../dist/faces/uws.js'
import { chooseEngine, eventually, onEngines } from './support.mjs'

const require = createRequire(import.meta.url)

onEngines('socket.io, attachApp', (engine) => {
  test('serves its client, polls, upgrades, and has rooms', async () => {
    const app = uWS.App({ engine })
    const server = new SocketServer()
    server.attachApp(app)
    server.on('connection', (socket) => {
      socket.join('room')
      socket.on('ask', (question, answer) => answer(`${question}!`))
      socket.on('shout', (...heard) => server.to('room').emit('heard', ...heard))
    })
    const token = await new Promise((resolve) => app.listen('127.0.0.1', 0, resolve))
    after(() => app.close())
    const url = `http://127.0.0.1:${uWS.us_socket_local_port(token)}`
    const script = await fetch(`${url}/socket.io/socket.io.js`)
    assert.equal(script.status, 200)
    assert.match(await script.text(), /Socket\.IO v4/)
    const clients = [['polling', 'websocket'], ['websocket'], ['polling']].map((transports) => {
      const client = io(url, { transports })
      after(() => client.disconnect())
      return client
    })
    await Promise.all(clients.map((client) => client.connected || once(client, 'connect')))
    const [upgraded, direct, polling] = clients
    if (upgraded.io.engine.transport.name !== 'websocket') await once(upgraded.io.engine, 'upgrade')
    assert.equal(polling.io.engine.transport.name, 'polling')
    for (const client of clients) assert.equal(await client.emitWithAck('ask', 'who'), 'who!')
    const heard = clients.map((client) => once(client, 'heard'))
    direct.emit('shout', 'all', Buffer.from('bytes'))
    for (const [text, bytes] of await Promise.all(heard)) assert.deepEqual([text, String(bytes)], ['all', 'bytes'])
    const gone = clients.map((client) => once(client, 'disconnect'))
    server.disconnectSockets(true)
    await Promise.all(gone)
  })
})

onEngines('hyper-express', (engine) => {
  chooseEngine(engine)

  test('serves routes, middlewares, bodies, streams and WebSockets', async () => {
    const app = new HyperExpress.Server()
    after(() => app.force_close?.() ?? app.close())
    const closed = eventually('the close of the WebSocket')
    app.use((request, _response, next) => {
      request.locals.user = request.headers['x-user'] ?? 'nobody'
      next()
    })
    app.get('/hello/:name', (request, response) => {
      response
        .header('x-made-by', request.locals.user)
        .json({ hello: request.path_parameters.name, query: request.query_parameters })
    })
    app.post('/echo', async (request, response) => response.status(201).json(await request.json()))
    app.post('/upload', (request, response) => {
      let size = 0
      request.on('data', (chunk) => {
        size += chunk.length
      })
      request.on('end', () => response.send(String(size)))
    })
    app.get('/stream', async (_request, response) => {
      await response.stream(Readable.from(Array.from({ length: 100 }, (_, index) => Buffer.alloc(10_000, index))))
    })
    app.get('/sized', async (_request, response) => {
      const chunks = Array.from({ length: 100 }, (_, index) => Buffer.alloc(10_000, index))
      await response.stream(Readable.from(chunks), 1_000_000)
    })
    app.upgrade('/chat', (request, response) => {
      if (request.query_parameters.key === undefined) response.status(401).send('no key')
      else response.upgrade({ key: request.query_parameters.key })
    })
    app.ws('/chat', { message_type: 'String', idle_timeout: 60 }, (socket) => {
      socket.subscribe('news')
      socket.on('message', (message) => app.publish('news', `${socket.context.key}: ${message}`))
      socket.on('close', (code) => closed.resolve(code))
    })
    await app.listen(0, '127.0.0.1')
    const url = `http://127.0.0.1:${app.port}`
    const hello = await fetch(`${url}/hello/ada?x=1`, { headers: { 'x-user': 'me' } })
    assert.equal(hello.headers.get('x-made-by'), 'me')
    assert.deepEqual(await hello.json(), { hello: 'ada', query: { x: '1' } })
    const echo = await fetch(`${url}/echo`, {
      method: 'POST',
      body: '{"a":[1,2]}',
      headers: { 'content-type': 'application/json' },
    })
    assert.equal(echo.status, 201)
    assert.deepEqual(await echo.json(), { a: [1, 2] })
    const upload = await fetch(`${url}/upload`, { method: 'POST', body: Buffer.alloc(200_000) })
    assert.equal(await upload.text(), '200000')
    for (const path of ['stream', 'sized']) {
      const response = await fetch(`${url}/${path}`)
      assert.equal(response.headers.get('content-length'), path === 'sized' ? '1000000' : null)
      const bytes = Buffer.from(await response.arrayBuffer())
      assert.deepEqual([bytes.length, bytes[10_000], bytes[999_999]], [1_000_000, 1, 99])
    }
    assert.equal((await fetch(`${url}/nowhere`)).status, 404)
    const refused = new WebSocket(`${url.replace('http', 'ws')}/chat`)
    const [, response] = await once(refused, 'unexpected-response')
    assert.equal(response.statusCode, 401)
    response.destroy()
    const client = new WebSocket(`${url.replace('http', 'ws')}/chat?key=k`)
    await once(client, 'open')
    client.send('hi')
    assert.equal(String((await once(client, 'message'))[0]), 'k: hi')
    client.close(4000)
    assert.equal(await closed.promise, 4000)
  })
})

onEngines('Colyseus, uWebSockets transport', (engine) => {
  chooseEngine(engine)

  test('has clients join a room, synchronizes its state, and lets them leave', async () => {
    const { Room, Server } = require('@colyseus/core')
    const { schema, t } = require('@colyseus/schema')
    const { uWebSocketsTransport } = require('@colyseus/uwebsockets-transport')
    const { Client } = require('@colyseus/sdk')
    const State = schema({ players: t.map('number') })
    const left = eventually('a player to leave')
    class Game extends Room {
      onCreate() {
        this.setPatchRate(10)
        this.state = new State()
        this.onMessage('move', (client, step) => {
          this.state.players.set(client.sessionId, (this.state.players.get(client.sessionId) ?? 0) + step)
        })
        this.onMessage('ask', (client, question) => client.send('answer', `${question}!`))
      }

      onJoin(client) {
        this.state.players.set(client.sessionId, 0)
      }

      onLeave(client) {
        this.state.players.delete(client.sessionId)
        left.resolve(client.sessionId)
      }
    }
    const transport = new uWebSocketsTransport({}, { engine })
    const server = new Server({ transport, greet: false, gracefullyShutdown: false })
    server.define('game', Game)
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    await server.listen(port, '127.0.0.1')
    const client = new Client(`ws://127.0.0.1:${port}`)
    const [first, second] = [await client.joinOrCreate('game'), await client.joinOrCreate('game')]
    assert.equal(first.roomId, second.roomId)
    const answer = eventually('an answer')
    first.onMessage('answer', answer.resolve)
    first.send('ask', 'who')
    assert.equal(await answer.promise, 'who!')
    const moved = eventually('the move of the other')
    second.onStateChange((state) => state.players.get(first.sessionId) === 7 && moved.resolve())
    first.send('move', 7)
    await moved.promise
    await first.leave()
    assert.equal(await left.promise, first.sessionId)
    await second.leave()
    await server.gracefullyShutdown(false)
  })
})
