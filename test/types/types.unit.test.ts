/**
 * What TypeScript makes of the public interface: held by the type check, and run to see that the calls exist.
 */
import { expect, expectTypeOf, test } from 'vitest'
import {
  type Accept,
  type Data,
  type FdListenResult,
  type ListenOptions,
  type ListenResult,
  type Params,
  SendStatus,
  type ServerOptions,
  type ServerRequest,
  type Socket,
  type TcpListenResult,
  type TlsOptions,
  type UnixListenResult,
  WebSocketServer,
  writeResponse,
} from '../../src/index.js'

test('a path gives its parameters', () => {
  expectTypeOf<Params<'/chat/:room/:user'>>().toEqualTypeOf<{ room: string } & { user: string }>()
  expectTypeOf<keyof Params<'/chat'>>().toEqualTypeOf<never>()
  expectTypeOf<Params<string>>().toEqualTypeOf<Record<string, string>>()
  const server = new WebSocketServer({ engine: 'portable' })
    .get('/chat/:room', (request) => {
      expectTypeOf(request.params.room).toEqualTypeOf<string>()
      // @ts-expect-error: the path names no such parameter
      return new Response(request.params.user)
    })
    .any('/*', async ({ signal }) => new Response(String(signal.aborted)))
  expect(server.engine).toBe('portable')
})

test('a socket carries the data of its route, and undefined where there is none', () => {
  interface User {
    name: string
  }
  new WebSocketServer({ engine: 'portable' })
    .ws<User>('/users', {
      open(socket) {
        expectTypeOf(socket).toEqualTypeOf<Socket<User>>()
        socket.data = { name: 'Ada' }
      },
      message(_socket, message, isBinary) {
        expectTypeOf(message).toEqualTypeOf<string | Buffer>()
        expectTypeOf(isBinary).toEqualTypeOf<boolean>()
      },
    })
    .ws('/anyone', {
      async open(socket) {
        expectTypeOf(socket).toEqualTypeOf<Socket<undefined>>()
        // @ts-expect-error: this route's sockets carry nothing
        socket.data = 5
      },
    })
})

test('what `handshake` accepts with is what the other handlers find', () => {
  new WebSocketServer({ engine: 'portable' }).ws('/rooms/:room', {
    handshake(handshake) {
      expectTypeOf(handshake.params.room).toEqualTypeOf<string>()
      expectTypeOf(handshake.header('cookie')).toEqualTypeOf<string | undefined>()
      return { data: { room: handshake.params.room } }
    },
    open(socket) {
      expectTypeOf(socket.data).toEqualTypeOf<{ room: string }>()
    },
  })
})

test('what `upgrade` accepts with is what the other handlers find', () => {
  new WebSocketServer({ engine: 'portable' })
    .ws('/rooms/:room/:seat', {
      upgrade(request) {
        expectTypeOf(request.params.room).toEqualTypeOf<string>()
        expectTypeOf(request.protocols).toEqualTypeOf<readonly string[]>()
        expectTypeOf(request.origin).toEqualTypeOf<string | undefined>()
        // @ts-expect-error: the path names no such parameter
        request.params.table
        return { data: { room: request.params.room, seat: Number(request.params.seat) }, protocol: request.protocols[0] }
      },
      open(socket) {
        expectTypeOf(socket.data).toEqualTypeOf<{ room: string; seat: number }>()
      },
      error(error, socket) {
        expectTypeOf(error).toBeUnknown()
        expectTypeOf(socket.data.seat).toEqualTypeOf<number>()
      },
    })
    .ws('/later', {
      async upgrade(request) {
        await Promise.resolve()
        return request.headers.has('authorization') ? { data: new Date(0) } : new Response(null, { status: 401 })
      },
      message(socket) {
        expectTypeOf(socket.data).toEqualTypeOf<Date>()
      },
    })
    .ws('/refused', { upgrade: () => new Response(null, { status: 403 }) })
    // @ts-expect-error: what it returns neither accepts nor refuses
    .ws('/neither', { upgrade: () => 'yes' })
    // @ts-expect-error: the data is not what the route says
    .ws<Date>('/other', { upgrade: () => ({ data: 'a string' }) })
  expectTypeOf<Accept<undefined>>().toExtend<{ data: undefined }>()
})

test('with its data named, a route takes any parameters; what it accepts with may be one of several, and brings headers', () => {
  type Visitor = { kind: 'user'; name: string } | { kind: 'guest' }
  const server = new WebSocketServer({ engine: 'portable' }).ws<Visitor>('/:room', {
    upgrade({ params, protocols: [protocol], query }) {
      expectTypeOf(params).toEqualTypeOf<Record<string, string>>()
      const name = query.get('name')
      const headers = { 'set-cookie': ['a=1', 'b=2'], 'x-room': params.room ?? '' }
      return { data: name === null ? { kind: 'guest' } : { kind: 'user', name }, protocol, headers }
    },
    open: ({ data, protocol }) => {
      expectTypeOf(data).toEqualTypeOf<Visitor>()
      expectTypeOf(protocol).toEqualTypeOf<string>()
    },
  })
  for (const socket of server.sockets()) expectTypeOf(socket).toEqualTypeOf<Socket<unknown>>()
  expectTypeOf<Headers>().toExtend<NonNullable<Accept<undefined>['headers']>>()
})

test('who may connect is decided at once, whether the server is well need not be', () => {
  expectTypeOf<(origin: string | undefined) => boolean>().toExtend<NonNullable<ServerOptions['allowedOrigins']>>()
  expectTypeOf<(origin: string | undefined) => Promise<boolean>>().not.toExtend<NonNullable<ServerOptions['allowedOrigins']>>()
  expectTypeOf<{ check: () => Promise<boolean> }>().toExtend<NonNullable<ServerOptions['health']>>()
})

test('what can be sent is text and bytes, and the answers have names', () => {
  expectTypeOf<Buffer>().toExtend<Data>()
  expectTypeOf<Float64Array>().toExtend<Data>()
  expectTypeOf<number>().not.toExtend<Data>()
  expect(SendStatus).toEqual({ BACKPRESSURE: -1, DROPPED: 0 })
})

test('a request of any route can be passed on', () => {
  expectTypeOf<ServerRequest<'/chat/:room'>>().toExtend<ServerRequest>()
})

test('a server listens on a port or a unix socket, and the answer says on which', () => {
  expectTypeOf<{ port: number; host: string; reusePort: boolean }>().toExtend<ListenOptions>()
  expectTypeOf<{ unix: string }>().toExtend<ListenOptions>()
  expectTypeOf<{ unix: string; port: number }>().not.toExtend<ListenOptions>()
  expectTypeOf<{ unix: string; reusePort: boolean }>().not.toExtend<ListenOptions>()
  expectTypeOf<{ fd: number }>().toExtend<ListenOptions>()
  expectTypeOf<{ fd: number; port: number }>().not.toExtend<ListenOptions>()
  const calls = (server: WebSocketServer, either: ListenOptions) => {
    expectTypeOf(server.listen({ fd: 3 })).resolves.toEqualTypeOf<FdListenResult>()
    expectTypeOf(server.listen([{ fd: 3 }, { port: 80 }])).resolves.toEqualTypeOf<ListenResult[]>()
    expectTypeOf(server.listen()).resolves.toEqualTypeOf<TcpListenResult>()
    expectTypeOf(server.listen({ port: 0 })).resolves.toEqualTypeOf<TcpListenResult>()
    expectTypeOf(server.listen({ unix: '/run/app.sock' })).resolves.toEqualTypeOf<UnixListenResult>()
    expectTypeOf(server.listen(either)).resolves.toEqualTypeOf<ListenResult>()
  }
  expectTypeOf(calls).toBeFunction()
})

test('certificates are one entry or several', () => {
  expectTypeOf<TlsOptions>().toExtend<Parameters<WebSocketServer['reloadTls']>[0]>()
  expectTypeOf<readonly TlsOptions[]>().toExtend<NonNullable<ServerOptions['tls']>>()
  expectTypeOf<ServerRequest['proxiedAddress']>().toEqualTypeOf<string | undefined>()
})

test('what is told of one message, of Pongs and of ends has types, and so have the limits of one connection', () => {
  expectTypeOf<Socket['sendAndFlush']>().returns.toEqualTypeOf<Promise<void>>()
  expectTypeOf<Socket['pong']>().returns.toEqualTypeOf<number>()
  const limited: Accept<undefined> = { data: undefined, maxPayloadLength: 1, maxBackpressure: undefined, compression: false }
  new WebSocketServer({ engine: 'portable' }).ws('/', {
    upgrade: () => limited,
    autoPong: false,
    pong(_socket, _data, isUnsolicited) {
      expectTypeOf(isUnsolicited).toEqualTypeOf<boolean>()
    },
    close(_socket, _code, _reason, wasClean) {
      expectTypeOf(wasClean).toEqualTypeOf<boolean>()
    },
  })
  // @ts-expect-error: the idle timeout is the route's
  const wrong: Accept<undefined> = { data: undefined, idleTimeout: 8 }
  expect(wrong.data).toBeUndefined()
  const response = writeResponse(async (body) => {
    expectTypeOf(body.write).returns.toEqualTypeOf<boolean>()
    await body.ready()
  })
  expectTypeOf(response).toEqualTypeOf<Response>()
})
