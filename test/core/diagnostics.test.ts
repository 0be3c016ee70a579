/** Channels of `node:diagnostics_channel`: what is told, in order, and to whom. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, onTestFinished, test } from 'vitest'
import {
  type BackpressureDiagnostics,
  type CloseDiagnostics,
  DIAGNOSTICS_CHANNELS,
  type ErrorDiagnostics,
  type OpenDiagnostics,
  type RefusalDiagnostics,
  type RefusalReason,
  type Socket,
} from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { binary, handshake, RawClient } from '../support/raw-client.js'
import { Deferred, Queue, turns } from '../support/waiting.js'

/** What a channel tells until the test ends. */
function listenTo<T>(name: keyof typeof DIAGNOSTICS_CHANNELS): Queue<T> {
  const queue = new Queue<T>()
  // The type is what the name's docstring says.
  const listener = (message: unknown) => queue.push(message as T)
  subscribe(DIAGNOSTICS_CHANNELS[name], listener)
  onTestFinished(() => void unsubscribe(DIAGNOSTICS_CHANNELS[name], listener))
  return queue
}

describeEngines('the diagnostics channels', (engine) => {
  test('tell of a connection from its handshake to its end, also on a route without upgrade handler', async () => {
    const opened = listenTo<OpenDiagnostics>('open')
    const closed = listenTo<CloseDiagnostics>('close')
    const order: string[] = []
    const served = await serve(
      engine,
      { open: () => order.push('open'), close: () => order.push('close') },
      { path: '/room/:name' },
    )
    const client = await Client.open(served, '/room/7?x=1', { headers: { traceparent: '00-1-2-01' } })
    const { socket, route, request } = await opened.next('the open event')
    expect(route).toBe('/room/:name')
    expect(request.params).toEqual({ name: '7' })
    expect([request.search, request.headers.get('traceparent')]).toEqual(['?x=1', '00-1-2-01'])
    client.socket.close(4001, 'enough')
    const end = await closed.next('the close event')
    expect([end.socket === socket, end.code, end.reason, end.wasClean]).toEqual([true, 4001, 'enough', true])
    expect(order).toEqual(['open', 'close'])
  })

  test('tell of refused upgrades, with the reason and the status', async () => {
    const refused = listenTo<RefusalDiagnostics>('upgradeRefused')
    const served = await serve(
      engine,
      { upgrade: () => new Response('no', { status: 401 }) },
      { path: '/door', server: { allowedOrigins: (origin) => origin !== 'https://evil.example', maxConnections: 1 } },
    )
    await refusal(served, '/door?key=1')
    await refusal(served, '/door', { headers: { origin: 'https://evil.example' } })
    await refusal(served, '/nowhere')
    const told = await refused.take(3, 'refusals')
    expect(told.map(({ reason, status, target }) => [reason, status, target])).toEqual([
      ['handler', 401, '/door?key=1'],
      ['origin', 403, '/door'],
      ['path', 404, '/nowhere'],
    ])
    expect(told[0]?.remoteAddress).toBe('127.0.0.1')
  })

  test.each<[reason: RefusalReason, status: number, what: string, request: Parameters<typeof handshake>[0]]>([
    ['path', 404, 'an unknown path', { path: '/two/segments' }],
    ['method', 405, 'another method', { method: 'POST' }],
    ['version', 426, 'another version', { version: '8' }],
    ['key', 400, 'a key that is none', { key: 'short' }],
    ['malformed', 400, 'a subprotocol that is none', { headers: ['Sec-WebSocket-Protocol: a b'] }],
    ['malformed', 400, 'extensions that are none', { headers: ['Sec-WebSocket-Extensions: a b'] }],
    ['malformed', 400, 'a parameter that is no UTF-8', { path: '/%ff' }],
    ['origin', 403, 'an origin that is not allowed', { headers: ['Origin: https://evil.example'] }],
    ['other', 500, 'an origin whose check fails', { headers: ['Origin: https://fails.example'] }],
    ['address', 503, 'an address with too many connections', {}],
  ])('tell %s, with status %i, of a request for a connection with %s', async (reason, status, _what, request) => {
    const refused = listenTo<RefusalDiagnostics>('upgradeRefused')
    const allowedOrigins = (origin: string | undefined) => {
      if (origin === 'https://fails.example') throw new Error('no answer')
      return origin === undefined
    }
    const served = await serve(
      engine,
      {},
      { path: '/:name', server: { allowedOrigins, maxConnectionsPerAddress: 1, onError: () => {} } },
    )
    if (reason === 'address') await Client.open(served, '/a')
    const client = await RawClient.connect(served)
    client.write(handshake({ path: '/a', ...request }))
    expect((await client.response()).status).toBe(status)
    expect(await refused.next('the refusal')).toMatchObject({ reason, status })
    expect(refused.size).toBe(0)
  })

  test('tell limit where the server has its connections, and closing where it is about to close', async () => {
    const refused = listenTo<RefusalDiagnostics>('upgradeRefused')
    const gate = new Deferred<{ data: undefined }>()
    const served = await serve<undefined>(engine, { upgrade: () => gate.promise }, { server: { maxConnections: 1 } })
    const waits = await RawClient.connect(served)
    waits.write(handshake())
    await turns()
    expect(await refusal(served, '/')).toBe(503)
    expect(await refused.next('the refusal by the limit')).toMatchObject({ reason: 'limit', status: 503 })
    const closed = served.server.close({ timeout: 5000 })
    gate.resolve({ data: undefined })
    expect((await waits.response()).status).toBe(503)
    expect(await refused.next('the refusal while closing')).toMatchObject({ reason: 'closing', status: 503 })
    await closed
  })

  test('tell what handlers throw, with the socket where it is one of a socket', async () => {
    const errors = listenTo<ErrorDiagnostics>('error')
    const served = await serve(
      engine,
      { message: () => Promise.reject(new Error('in message')) },
      {
        server: { onError: () => {} },
        routes: (server) =>
          server.get('/fails', () => {
            throw new Error('in http')
          }),
      },
    )
    const client = await Client.open(served)
    client.send('x')
    const first = await errors.next('the first error')
    expect(String(first.error)).toBe('Error: in message')
    expect(first.socket?.remoteAddress).toBe('127.0.0.1')
    await http(served, '/fails')
    const second = await errors.next('the second error')
    expect([String(second.error), second.socket]).toEqual(['Error: in http', undefined])
  })

  test('tell of messages that wait for a client that does not read, and of those that were not taken', async () => {
    const waiting = listenTo<BackpressureDiagnostics>('backpressure')
    const sent = new Queue<{ socket: Socket; statuses: number[] }>()
    const served = await serve(engine, {
      maxBackpressure: 1024 * 1024,
      message: (socket) => {
        const piece = Buffer.alloc(512 * 1024)
        const statuses: number[] = []
        while (statuses.at(-1) !== 0) statuses.push(socket.send(piece))
        sent.push({ socket, statuses })
      },
    })
    const client = await RawClient.connect(served)
    client.write(handshake())
    expect((await client.response()).status).toBe(101)
    client.pause()
    client.write(binary(Buffer.from('go')))
    const { socket, statuses } = await sent.next('the statuses')
    const expected = statuses.filter((status) => status <= 0).map((status) => (status === 0 ? 'dropped' : 'queued'))
    expect(expected).toContain('queued')
    const told = await waiting.take(expected.length, 'what waits')
    expect(told.map(({ outcome }) => outcome)).toEqual(expected)
    expect(told.every((each) => each.socket === socket)).toBe(true)
    expect(waiting.size).toBe(0)
  })
})
