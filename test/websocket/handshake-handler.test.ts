/**
 * The `handshake` handler: it does what `upgrade` does, without a web-standard Request. What both have in
 * common is tested in upgrade-handler.test.ts.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import {
  type Accept,
  DIAGNOSTICS_CHANNELS,
  type Handshake,
  metricsPage,
  type OpenDiagnostics,
  OptionError,
  WebSocketServer,
} from '../../src/index.js'
import { Client, refusal } from '../support/client.js'
import { addressOf, describeEngines, listen, makeServer, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

describeEngines('a handshake handler', (engine) => {
  test('gets what an upgrade handler gets', async () => {
    const seen = new Queue<Handshake>()
    const served = await serve<undefined>(
      engine,
      {
        handshake(given) {
          seen.push(given)
          return { data: undefined }
        },
      },
      { path: '/rooms/:room' },
    )
    const client = await RawClient.connect(served)
    const headers = ['Origin: http://a.example', 'Sec-WebSocket-Protocol: one, two', 'X-Mine: 1', 'x-mine: 2']
    client.write(handshake({ path: '/rooms/a%20b?x=1&y=%20', headers }))
    expect((await client.response()).status).toBe(101)
    const given = await seen.next('a handshake')
    expect(given).toMatchObject({
      path: '/rooms/a%20b',
      target: '/rooms/a%20b?x=1&y=%20',
      search: '?x=1&y=%20',
      params: { room: 'a b' },
      origin: 'http://a.example',
      protocols: ['one', 'two'],
      remoteAddress: '127.0.0.1',
      localAddress: '127.0.0.1',
      localPort: served.port,
      clientCertificate: undefined,
    })
    expect(new URL(given.url).pathname).toBe('/rooms/a%20b')
    expect(given.query.get('y')).toBe(' ')
    expect(given.remotePort).toBeGreaterThan(0)
    expect([given.header('X-MINE'), given.header('none'), given.header(''), given.header('mine')]).toEqual([
      '1, 2',
      undefined,
      undefined,
      undefined,
    ])
    expect(given.fields).toContainEqual(['origin', 'http://a.example'])
    // The portable engine has such fields joined.
    expect(given.fields.flatMap(([name, value]) => (name === 'x-mine' ? [value] : [])).join(', ')).toBe('1, 2')
    expect(given.signal.aborted).toBe(false)
  })

  test('accepts with data, a subprotocol, fields and limits, at once and later', async () => {
    const open = new Queue<[data: unknown, protocol: string]>()
    const served = await serve<string>(engine, {
      async handshake({ path, protocols }) {
        if (path === '/later') await turns(2)
        return { data: path, protocol: protocols[1], headers: { 'x-mine': 'yes' }, maxPayloadLength: 4 }
      },
      open: ({ data, protocol }) => open.push([data, protocol]),
    })
    for (const path of ['/now', '/later']) {
      const client = await RawClient.connect(served)
      client.write(handshake({ path, headers: ['Sec-WebSocket-Protocol: one, two'] }))
      const response = await client.response()
      expect([response.status, response.header('x-mine')]).toEqual([101, 'yes'])
      expect(await open.next('open')).toEqual([path, 'two'])
    }
  })

  test('refuses with a Response, and with 500 where it throws, which counts as with upgrade', async () => {
    const errors = new Queue<Error>()
    const served = await serve<undefined>(
      engine,
      {
        handshake({ path }) {
          if (path === '/throws') throw new Error('the database is away')
          return path === '/no' ? new Response(null, { status: 401 }) : { data: undefined }
        },
      },
      { server: { onError: (error) => errors.push(error) } },
    )
    expect(await refusal(served, '/no')).toBe(401)
    expect(await refusal(served, '/throws')).toBe(500)
    expect((await errors.next('the error')).message).toBe('the database is away')
    await Client.open(served, '/yes')
    expect(served.server.metrics()).toMatchObject({ upgradesRefusedByHandler: 2, connectionsAccepted: 1 })
  })

  test('learns that the client has gone, and can cut the connection itself', async () => {
    const seen = new Queue<Handshake>()
    const gate = new Deferred<Accept<undefined>>()
    const served = await serve<undefined>(engine, {
      handshake(given) {
        seen.push(given)
        if (given.path === '/cut') given.terminate()
        return gate.promise
      },
    })
    const client = await RawClient.connect(served)
    client.write(handshake())
    const { signal } = await seen.next('a handshake')
    client.reset()
    if (!signal.aborted) await within(new Promise((resolve) => signal.addEventListener('abort', resolve)), 'the abort')
    const other = await RawClient.connect(served)
    other.write(handshake({ path: '/cut' }))
    await other.closed()
    expect((await seen.next('a handshake')).signal.aborted).toBe(true)
    gate.resolve({ data: undefined })
    await turns(2)
    expect(served.server.metrics().connectionsAccepted).toBe(0)
  })

  test('gets the request of an adopted connection, and leaves the diagnostics channel its own', async () => {
    const seen = new Queue<Handshake>()
    const opened = new Queue<OpenDiagnostics>()
    const note = (message: unknown) => opened.push(message as OpenDiagnostics)
    subscribe(DIAGNOSTICS_CHANNELS.open, note)
    onTestFinished(() => void unsubscribe(DIAGNOSTICS_CHANNELS.open, note))
    const server = makeServer(engine)
    server.ws<undefined>('/*', {
      handshake(given) {
        seen.push(given)
        return { data: undefined }
      },
    })
    const incoming = new Queue<IncomingMessage>()
    const other = createServer().on('upgrade', (request, socket, head) => {
      incoming.push(request)
      server.adopt(request, socket, head)
    })
    onTestFinished(() => void other.close())
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    await Client.open(addressOf((other.address() as AddressInfo).port), '/adopted')
    const given = await seen.next('a handshake')
    expect(given.incoming).toBe(await incoming.next('the request'))
    const { request, route } = await opened.next('the channel')
    expect([route, request.path, request.headers.get('upgrade')?.toLowerCase()]).toEqual(['/*', '/adopted', 'websocket'])
  })

  test('is measured for the metrics page', async () => {
    const server = makeServer(engine)
    server.get('/metrics', metricsPage()).ws<undefined>('/*', { handshake: () => ({ data: undefined }) })
    const served = await listen(server)
    await Client.open(served)
    expect(String((await http(served, '/metrics')).body)).toMatch(/handler="handshake"/)
  })
})

test('a route has an upgrade handler or a handshake handler', () => {
  const server = new WebSocketServer({ engine: 'portable' })
  const both = { upgrade: () => ({ data: 1 }), handshake: () => ({ data: 1 }) }
  expect(() => server.ws('/', both)).toThrow(OptionError)
})
