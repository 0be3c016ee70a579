/**
 * Programs that keep an HTTP server of their own: Express, socket.io with its polling and its upgrade, and
 * Fastify with @fastify/websocket.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, test } from 'node:test'
import express from 'express'
import fastify from 'fastify'
import { Server as SocketServer } from 'socket.io'
import { io } from 'socket.io-client'
import WebSocket from 'ws'
import * as face from '../../dist/faces/ws.js'
import { eventually, listening, onEngines, open, withFace } from './support.mjs'

const fastifyWebsocket = withFace('@fastify/websocket', (require) => require('@fastify/websocket'))

onEngines('Express', (engine) => {
  test('serves pages, and the face WebSockets on the same port', async () => {
    const app = express()
    const sessions = new Map([['key-of-ada', 'Ada']])
    const identify = (request, _response, next) => {
      request.user = sessions.get(request.headers.cookie)
      next()
    }
    app.use(identify)
    app.get('/', (request, response) => response.send(`page for ${request.user}`))
    const http = createServer(app)
    const server = new face.WebSocketServer({ server: http, path: '/chat', engine })
    http.prependListener('upgrade', (request) => identify(request, undefined, () => {}))
    server.on('connection', (socket, request) => {
      socket.send(`hello ${request.user}`)
      socket.on('message', (data) => socket.send(String(data)))
    })
    const port = await listening(http)
    const headers = { cookie: 'key-of-ada' }
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`, { headers })).text(), 'page for Ada')
    const { socket, next } = await open(`ws://127.0.0.1:${port}/chat`, { headers })
    assert.equal(await next(), 'hello Ada')
    socket.send('echo')
    assert.equal(await next(), 'echo')
    socket.close()
    await new Promise((resolve) => server.close(resolve))
  })
})

onEngines('socket.io', (engine) => {
  test('begins with polling, and goes on over the face', async () => {
    const http = createServer()
    class Engine extends face.WebSocketServer {
      constructor(options) {
        super({ ...options, engine })
      }
    }
    const server = new SocketServer(http, { wsEngine: Engine })
    server.on('connection', (socket) => {
      socket.join('room')
      socket.on('ask', (question, answer) => answer(`${question}!`))
      socket.on('shout', (...heard) => server.to('room').emit('heard', ...heard))
    })
    const port = await listening(http)
    const clients = ['polling', 'websocket'].map((first) => {
      const client = io(`http://127.0.0.1:${port}`, { transports: first === 'polling' ? ['polling', 'websocket'] : [first] })
      after(() => client.disconnect())
      return client
    })
    await Promise.all(clients.map((client) => client.connected || once(client, 'connect')))
    const [upgraded, direct] = clients
    if (upgraded.io.engine.transport.name !== 'websocket') await once(upgraded.io.engine, 'upgrade')
    assert.equal(await upgraded.emitWithAck('ask', 'who'), 'who!')
    const heard = clients.map((client) => once(client, 'heard'))
    direct.emit('shout', 'all', Buffer.from('bytes'))
    for (const [text, bytes] of await Promise.all(heard)) assert.deepEqual([text, String(bytes)], ['all', 'bytes'])
    const gone = once(direct, 'disconnect')
    server.disconnectSockets(true)
    await gone
    await new Promise((resolve) => server.close(resolve))
  })
})

onEngines('@fastify/websocket', (engine) => {
  test('routes upgrades through Fastify, hooks included', async () => {
    const app = fastify()
    app.register(fastifyWebsocket, { options: { engine, maxPayload: 1000 } })
    app.addHook('preValidation', async (request, reply) => {
      if (request.query.key === undefined && request.ws) await reply.code(401).send('no key')
    })
    const closed = eventually('the close event')
    app.register(async (routes) => {
      routes.get('/page', () => 'page')
      routes.get('/echo', { websocket: true }, (socket, request) => {
        socket.on('message', (data) => socket.send(`${request.query.key}: ${data}`))
        socket.on('close', (code) => closed.resolve(code))
      })
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address()
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/page`)).text(), 'page')
    const refused = new WebSocket(`ws://127.0.0.1:${port}/echo`)
    const [, response] = await once(refused, 'unexpected-response')
    assert.equal(response.statusCode, 401)
    response.destroy()
    const { socket, next } = await open(`ws://127.0.0.1:${port}/echo?key=1`)
    socket.send('hello')
    assert.equal(await next(), '1: hello')
    const ended = once(socket, 'close')
    const closing = app.close()
    await ended
    await closed.promise
    await closing
  })
})
