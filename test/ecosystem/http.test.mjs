/** Programs for servers of `node:http`, on the face: Express, Koa, Fastify, supertest, socket.io. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import express from 'express'
import fastify from 'fastify'
import Koa from 'koa'
import { Server as SocketServer } from 'socket.io'
import { io } from 'socket.io-client'
import supertest from 'supertest'
import { createServer } from '../../dist/faces/http.js'
import { WebSocketServer } from '../../dist/faces/ws.js'
import { onEngines } from './support.mjs'

/** A server that listens, until the tests of its engine are done. */
async function listening(engine, listener) {
  const server = createServer({ engine }, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => server.close())
  return server
}

onEngines('Express', (engine) => {
  test('serves routes, bodies, files and errors to supertest', async () => {
    const app = express()
    app.use(express.json())
    app.get('/hello/:name', (request, response) =>
      response.cookie('seen', '1').json({ hello: request.params.name, ip: request.ip }),
    )
    app.post('/echo', (request, response) => response.status(201).send(request.body))
    app.get('/file', (_request, response) => response.sendFile(import.meta.filename ?? new URL(import.meta.url).pathname))
    app.get('/fail', () => {
      throw Object.assign(new Error('no'), { status: 418 })
    })
    app.use((error, _request, response, _next) => response.status(error.status ?? 500).send(error.message))
    const client = supertest(await listening(engine, app))
    const hello = await client.get('/hello/ada').expect(200)
    assert.deepEqual(hello.body, { hello: 'ada', ip: '127.0.0.1' })
    assert.match(hello.headers['set-cookie'][0], /^seen=1/)
    await client.get('/hello/ada').set('if-none-match', hello.headers.etag).expect(304)
    await client.head('/hello/ada').expect(200).expect('content-length', hello.headers['content-length'])
    await client
      .post('/echo')
      .send({ list: [1, 'x'.repeat(50_000)] })
      .expect(201, { list: [1, 'x'.repeat(50_000)] })
    const file = await client.get('/file').expect(200)
    assert.match(String(file.body) + file.text, /written for servers/)
    await client
      .get('/file')
      .set('range', 'bytes=1-3')
      .expect(206)
      .expect('content-range', /^bytes 1-3\//)
    await client.get('/fail').expect(418, 'no')
    await client.get('/none').expect(404)
  })
})

onEngines('Koa', (engine) => {
  test('serves strings, objects, streams, and refusals', async () => {
    const app = new Koa()
    app.use(async (context) => {
      if (context.path === '/json') context.body = { query: context.query }
      else if (context.path === '/stream') context.body = ReadableOf(100)
      else if (context.path === '/refuse') context.throw(403, 'not you')
      else if (context.path === '/text') context.body = 'text'
    })
    const client = supertest(await listening(engine, app.callback()))
    await client.get('/json?a=1').expect(200, { query: { a: '1' } })
    await client
      .get('/text')
      .expect('content-type', /text\/plain/)
      .expect(200, 'text')
    await client.get('/refuse').expect(403, 'not you')
    await client.get('/none').expect(404)
    const stream = await client.get('/stream').buffer(true).parse(collect).expect(200)
    assert.equal(stream.body.length, 1_000_000)
  })
})

async function* chunks(count) {
  for (let index = 0; index < count; index++) yield Buffer.alloc(10_000, index)
}

const { Readable } = await import('node:stream')
const ReadableOf = (count) => Readable.from(chunks(count))

function collect(response, done) {
  const parts = []
  response.on('data', (part) => parts.push(part))
  response.on('end', () => done(null, Buffer.concat(parts)))
}

onEngines('Fastify with serverFactory', (engine) => {
  test('serves objects, streams, bodies and errors, and closes', async () => {
    const app = fastify({ serverFactory: (handler) => createServer({ engine }, handler) })
    app.get('/hello/:name', (request) => ({ hello: request.params.name, ip: request.ip }))
    app.get('/stream', (_request, reply) => reply.type('application/octet-stream').send(ReadableOf(10)))
    app.post('/echo', (request, reply) => reply.code(201).send(request.body))
    app.get('/fail', () => Promise.reject(Object.assign(new Error('no'), { statusCode: 418 })))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const client = supertest(app.server)
    await client.get('/hello/ada').expect(200, { hello: 'ada', ip: '127.0.0.1' })
    assert.equal((await client.get('/stream').buffer(true).parse(collect).expect(200)).body.length, 100_000)
    await client
      .post('/echo')
      .send({ list: [1, 2] })
      .expect(201, { list: [1, 2] })
    await client.get('/fail').expect(418)
    await client.get('/none').expect(404)
    assert.equal((await app.inject('/hello/bob')).json().hello, 'bob')
    await app.close()
    assert.equal(app.server.listening, false)
  })
})

onEngines("socket.io's polling", (engine) => {
  test('carries acknowledgements and bytes', async () => {
    const http = createServer({ engine })
    const server = new SocketServer(http, { transports: ['polling'] })
    server.on('connection', (socket) => socket.on('ask', (question, answer) => answer(`${question}!`)))
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const client = io(`http://127.0.0.1:${http.address().port}`, { transports: ['polling'] })
    await once(client, 'connect')
    assert.equal(await client.emitWithAck('ask', 'who'), 'who!')
    client.disconnect()
    await new Promise((resolve) => server.close(resolve))
  })
})

onEngines('socket.io with the face of ws', (engine) => {
  test('carries WebSockets, from the start and after polling', async () => {
    const http = createServer({ engine }, (_request, response) => response.end('page'))
    const server = new SocketServer(http, { wsEngine: WebSocketServer })
    server.on('connection', (socket) => socket.on('ask', (question, answer) => answer(`${question}!`)))
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const url = `http://127.0.0.1:${http.address().port}`
    for (const transports of [['websocket'], ['polling', 'websocket']]) {
      const client = io(url, { transports, forceNew: true })
      const upgraded =
        transports.length > 1 && new Promise((resolve) => client.io.once('open', () => client.io.engine.once('upgrade', resolve)))
      await once(client, 'connect')
      await upgraded
      assert.equal(client.io.engine.transport.name, 'websocket')
      assert.equal(await client.emitWithAck('ask', 'who'), 'who!')
      client.disconnect()
    }
    await supertest(http).get('/').expect(200, 'page')
    await new Promise((resolve) => server.close(resolve))
  })
})
