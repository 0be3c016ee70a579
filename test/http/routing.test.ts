/** Several routes side by side: WebSockets and HTTP, parameters and wildcards, on the same paths. */
import { expect, test } from 'vitest'
import type { WebSocketHandlers, WebSocketServer } from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'

/** Says which route it is, and with which parameters. */
const named = <P extends string>(name: string): WebSocketHandlers<string, P> => ({
  upgrade: ({ params }) => ({ data: `${name} ${JSON.stringify(params)}` }),
  open: (socket) => void socket.send(socket.data),
})

describeEngines('routes', (engine) => {
  const serveMany = (routes: (server: WebSocketServer) => void) => serve(engine, {}, { path: '/last/resort', routes })

  test('with parameters and wildcards take what fits best, whatever their order', async () => {
    const served = await serveMany((server) =>
      server
        .ws('/*', named('all'))
        .ws('/chat/:room/*', named('below a room'))
        .ws('/chat/:room', named('a room'))
        .ws('/chat/lobby', named('the lobby'))
        .ws('/chat/:room/user/:user', named('a user'))
        .ws('/:first/:second/:third', named('three')),
    )
    const expected = {
      '/': 'all {}',
      '/chat': 'all {}',
      '/chat/': 'all {}',
      '/chat/lobby': 'the lobby {}',
      '/chat/7': 'a room {"room":"7"}',
      '/chat/a%2Fb%20c': 'a room {"room":"a/b c"}',
      '/chat/7/files/a/b': 'below a room {"room":"7"}',
      '/chat/7/user/9': 'a user {"room":"7","user":"9"}',
      '/a/b/c': 'three {"first":"a","second":"b","third":"c"}',
      '/a/b/c/d': 'all {}',
    }
    const seen: Record<string, unknown> = {}
    for (const path of Object.keys(expected)) seen[path] = await (await Client.open(served, path)).next()
    expect(seen).toEqual(expected)
  })

  test('for WebSockets and for HTTP do not get in each other’s way', async () => {
    const served = await serveMany((server) =>
      server
        .ws('/both/:id', named('socket'))
        .get('/both/:name', ({ params }) => new Response(`page ${params.name}`))
        .get('/page', () => new Response('a page only'))
        .ws('/socket', named('socket only'))
        .any('/*', ({ method, path }) => new Response(`any ${method} ${path}`)),
    )
    expect(await (await Client.open(served, '/both/1')).next()).toBe('socket {"id":"1"}')
    expect((await http(served, '/both/1')).body.toString()).toBe('page 1')
    expect((await http(served, '/both/1', { method: 'PURGE' })).body.toString()).toBe('any PURGE /both/1')
    expect(await refusal(served, '/page')).toBe(404)
    // `any` answers what would be 426 without it.
    expect((await http(served, '/socket')).body.toString()).toBe('any GET /socket')
    // Its wildcard takes no WebSocket.
    expect(await refusal(served, '/elsewhere')).toBe(404)
  })

  test('on one connection take turns: a page, a refusal by another page, a WebSocket', async () => {
    const served = await serveMany((server) =>
      server.ws('/room/:id', named('socket')).get('/room/:id', () => new Response('page')),
    )
    const client = await RawClient.connect(served)
    client.write('GET /room/1 HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect((await client.response()).body.toString()).toBe('page')
    client.write('GET /socket HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect((await client.response()).status).toBe(404)
    client.write(handshake({ path: '/room/2' }))
    expect((await client.response()).status).toBe(101)
    expect((await client.frame()).payload.toString()).toBe('socket {"id":"2"}')
  })

  test('have limits of their own', async () => {
    const echo: WebSocketHandlers<undefined> = { message: (socket, message) => void socket.send(message) }
    const served = await serveMany((server) =>
      server.ws('/small', { ...echo, maxPayloadLength: 10 }).ws('/large', { ...echo, maxPayloadLength: 1000 }),
    )
    const [small, large] = [await Client.open(served, '/small'), await Client.open(served, '/large')]
    expect(await small.ask('x'.repeat(10))).toBe('x'.repeat(10))
    expect(await large.ask('x'.repeat(1000))).toBe('x'.repeat(1000))
    small.send('x'.repeat(11))
    expect((await small.closed()).code).toBe(1009)
    expect(await large.ask('still')).toBe('still')
  })

  test('that are taken are refused', async () => {
    await serveMany((server) => {
      server.ws('/a/:b', {}).get('/a/:b', () => new Response())
      expect(() => server.ws('/a/:c', {})).toThrow(expect.objectContaining({ name: 'OptionError', option: 'path' }))
    })
  })
})
