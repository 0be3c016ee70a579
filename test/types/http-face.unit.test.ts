/** What TypeScript makes of the face of `node:http` where a program was written for Node's. */
import type * as nodeHttp from 'node:http'
import { expect, expectTypeOf, test } from 'vitest'
import face, { createServer, Server } from '../../src/faces/http.js'

test('a server of the face serves where one of Node is asked for', () => {
  const server: nodeHttp.Server = createServer({ engine: 'portable' })
  expectTypeOf<Server>().toExtend<nodeHttp.Server>()
  expectTypeOf(face.createServer()).toExtend<nodeHttp.Server>()
  expect(server.listening).toBe(false)
  expect(Reflect.get(server, 'connections')).toBe(0)
})

test('options that were written for Node are options of the face', () => {
  const options: nodeHttp.ServerOptions = { requestTimeout: 10_000 }
  expect([createServer(options), new Server(options)].map(({ requestTimeout }) => requestTimeout)).toEqual([10_000, 10_000])
})

test('a listener that was written for Node is one of the face, and listeners know what they get', () => {
  const listener: nodeHttp.RequestListener = (request, response) => void response.end(request.url)
  const server = createServer(listener)
  server.on('request', (request, response) => response.end(request.method))
  server.on('upgrade', (request, socket, head) => [request.url, socket.destroy(), head.byteLength])
  server.on('clientError', (error, socket) => [error.message, socket.destroy()])
  expect(server.listenerCount('request')).toBe(2)
})

test('Server is a class of the face, with and without `new`, and programs extend it', () => {
  class Mine extends Server {
    readonly isMine = true
  }
  const called = Server(() => {})
  expectTypeOf(called).toEqualTypeOf<Server>()
  const all = [
    called,
    Server({ engine: 'portable' }, () => {}),
    new Server(() => {}),
    new Mine({}, () => {}),
    createServer(() => {}),
  ]
  for (const server of all) {
    expect(server).toBeInstanceOf(Server)
    expect(server.listenerCount('request')).toBe(1)
  }
  expect(all.map((server) => server.constructor)).toEqual([Server, Server, Server, Mine, Server])
  expect(new Mine().isMine).toBe(true)
})
