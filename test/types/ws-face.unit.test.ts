/** What TypeScript makes of the face of `ws` where a program was written for `@types/ws`. */
import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import type * as ws from 'ws'
import Default, { type ServerOptions, WebSocket, WebSocketServer } from '../../src/faces/ws.js'

test('a socket of the face serves where one of `ws` is asked for', () => {
  const take = (socket: ws.WebSocket) => socket.readyState
  const give = (socket: WebSocket) => take(socket)
  expect(typeof give).toBe('function')
})

test('a server of the face serves where one of `ws` is listened to', () => {
  type Listened = Pick<
    ws.WebSocketServer,
    'address' | 'close' | 'handleUpgrade' | 'shouldHandle' | 'on' | 'once' | 'off' | 'clients'
  >
  const take = (server: Listened) =>
    server.on('connection', (socket: ws.WebSocket, request: IncomingMessage) => [socket, request])
  const give = (server: WebSocketServer) => take(server)
  expect(typeof give).toBe('function')
})

test('options of `ws` are options here, as far as they are supported', () => {
  const take = (options: ServerOptions) => options
  const give = (
    options: Pick<ws.ServerOptions, 'host' | 'port' | 'path' | 'maxPayload' | 'perMessageDeflate' | 'clientTracking'>,
  ) => take(options)
  expect(give({ port: 0 })).toEqual({ port: 0 })
  expect(WebSocket.OPEN).toBe(1)
})

test('listeners know what they get', () => {
  const listen = (socket: WebSocket, server: WebSocketServer) => {
    socket.on('message', (data, isBinary) => [data.toString(), isBinary satisfies boolean])
    socket.on('close', (code, reason) => [code satisfies number, reason satisfies Buffer])
    socket.addEventListener('message', ({ data }) => data)
    server.on('connection', (client, request) => client.send(request.url ?? ''))
  }
  expect(typeof listen).toBe('function')
})

test('the class of sockets is the type argument of a server, as in `@types/ws`', () => {
  class Named extends WebSocket {
    nickname = ''
  }
  const take = (server: WebSocketServer<typeof Named>) => {
    server.on('connection', (socket) => socket.nickname satisfies string)
    for (const client of server.clients) client.nickname satisfies string
  }
  const make = () => new WebSocketServer<typeof Named>({ noServer: true, WebSocket: Named })
  expect(typeof take).toBe('function')
  expect(make().options.WebSocket).toBe(Named)
})

test('the default export is the class of sockets, with the types that programs find in it', () => {
  const socket = (given: Default): WebSocket => given
  const take = (server: Default.Server, data: Default.RawData | Default.Data, options: Default.ServerOptions) =>
    [server.clients, data, options.port] as const
  const verify: Default.VerifyClientCallbackSync = ({ secure }) => secure
  const events = (message: Default.MessageEvent, close: Default.CloseEvent, error: Default.ErrorEvent) =>
    [message.data, close.code, error.message] as const
  expect([socket, take, verify, events].every((each) => typeof each === 'function')).toBe(true)
  expect(Default.Server).toBe(WebSocketServer)
})

test('a server of the face is one of `ws` in its namespace, too', () => {
  const take = (server: ws.Server) => server.clients
  const give = (server: WebSocketServer) => take(server)
  expect(typeof give).toBe('function')
})
