/** The WebSocket handshake: what is accepted, and what each refusal says. */
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { Client, refusal } from '../support/client.js'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { closeCode, closeFrame, handshake, RawClient, text } from '../support/raw-client.js'
import { Queue, turns, within } from '../support/waiting.js'

const echo = { message: (socket: { send(data: string | Buffer): number }, message: string | Buffer) => void socket.send(message) }

describeEngines('the handshake', (engine) => {
  test('is accepted with the answer of RFC 6455, section 1.3', async () => {
    const served = await serve(engine, echo)
    const client = await RawClient.connect(served)
    client.write(handshake({ key: 'dGhlIHNhbXBsZSBub25jZQ==' }))
    const answer = await client.response()
    expect(answer.status).toBe(101)
    expect(answer.header('upgrade')?.toLowerCase()).toBe('websocket')
    expect(answer.header('connection')?.toLowerCase()).toBe('upgrade')
    expect(answer.header('sec-websocket-accept')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
    client.write(text('hello'))
    expect((await client.frame()).payload.toString()).toBe('hello')
  })

  test('offers no extension and no subprotocol that the server did not choose', async () => {
    const served = await serve(engine, echo)
    const client = await RawClient.connect(served)
    client.write(
      handshake({ headers: ['Sec-WebSocket-Extensions: permessage-deflate', 'Sec-WebSocket-Protocol: chat, superchat'] }),
    )
    const answer = await client.response()
    expect(answer.status).toBe(101)
    expect(answer.header('sec-websocket-extensions')).toBeUndefined()
    expect(answer.header('sec-websocket-protocol')).toBeUndefined()
  })

  test('with first messages in the same segment loses none of them', async () => {
    const served = await serve(engine, echo)
    const client = await RawClient.connect(served)
    client.write(handshake(), text('early'), text('bird'))
    expect((await client.response()).status).toBe(101)
    expect((await client.frame()).payload.toString()).toBe('early')
    expect((await client.frame()).payload.toString()).toBe('bird')
  })

  test('understands header names and values in any case, and Connection as a list', async () => {
    const served = await serve(engine, echo)
    const client = await RawClient.connect(served)
    const lines = ['GET / HTTP/1.1', 'HOST: localhost', 'UPGRADE: WebSocket', 'connection: keep-alive, UPGRADE']
    client.write(`${[...lines, 'sec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==', 'SEC-WEBSOCKET-VERSION: 13'].join('\r\n')}\r\n\r\n`)
    expect((await client.response()).status).toBe(101)
  })

  test('reaches the most precise route', async () => {
    const name = (route: string) => ({ open: (socket: { send(data: string): number }) => void socket.send(route) })
    const served = await serve(engine, name('wildcard'), {
      path: '/*',
      routes: (server) => server.ws('/chat', name('exact')).ws('/chat/:room', name('parameter')),
    })
    const routes = await Promise.all(
      ['/chat', '/chat/7', '/chat/7/8', '/?query=1', '/chat?room=1'].map(async (path) =>
        (await Client.open(served, path)).next(),
      ),
    )
    expect(routes).toEqual(['exact', 'parameter', 'wildcard', 'wildcard', 'exact'])
  })

  test('gives each connection its own identity', async () => {
    const sockets = new Queue<{ id: string; connectedAt: number; remoteAddress: string; readyState: number; data: unknown }>()
    const before = Date.now()
    const served = await serve(engine, { open: (socket) => sockets.push(socket) })
    await Client.openMany(served, 20)
    const all = await sockets.take(20, 'open')
    expect(new Set(all.map(({ id }) => id)).size).toBe(20)
    for (const { id, connectedAt, remoteAddress, readyState, data } of all) {
      expect(id.length).toBeGreaterThanOrEqual(16) // not guessable: room for 64 random bits at least
      expect(connectedAt).toBeGreaterThanOrEqual(before)
      expect(connectedAt).toBeLessThanOrEqual(Date.now())
      expect(remoteAddress).toBe('127.0.0.1')
      expect(readyState).toBe(1)
      expect(data).toBeUndefined()
    }
    expect(served.server.connections).toBe(20)
  })

  for (const leave of ['vanish', 'reset', 'end'] as const) {
    test(`of clients that ${leave} right behind it opens and closes each connection once, if at all`, async () => {
      const opened = new Set<object>()
      const closed: object[] = []
      const served = await serve(engine, {
        open: (socket) => void opened.add(socket),
        close: (socket) => void closed.push(socket),
      })
      for (let n = 0; n < 50; n++) {
        const client = await RawClient.connect(served)
        client.write(handshake())
        if (n % 2 === 0) await client.flushed()
        client[leave]()
      }
      const last = await Client.open(served)
      while (served.server.connections > 1) await turns(1)
      expect(closed.length).toBe(opened.size - 1)
      expect(new Set(closed).size).toBe(closed.length)
      expect(last.socket.readyState).toBe(last.socket.OPEN)
    })
  }

  test('gives one stable object from open to close, which keeps its data', async () => {
    const seen = new Queue<[string, object, number | undefined]>()
    const served = await serve<number>(engine, {
      open: (socket) => {
        socket.data = 7
        seen.push(['open', socket, socket.data])
      },
      message: (socket) => seen.push(['message', socket, socket.data++]),
      ping: (socket) => seen.push(['ping', socket, socket.data]),
      close: (socket) => seen.push(['close', socket, socket.data]),
    })
    const client = await Client.open(served)
    client.send('x')
    client.socket.ping()
    client.socket.close()
    const events = await seen.take(4, 'events')
    expect(events.map(([name, , data]) => [name, data])).toEqual([
      ['open', 7],
      ['message', 7],
      ['ping', 8],
      ['close', 8],
    ])
    expect(new Set(events.map(([, socket]) => socket)).size).toBe(1)
  })
})

describeEngines('a refused handshake', (engine) => {
  const cases: [what: string, request: Parameters<typeof handshake>[0], statuses: number[]][] = [
    ['without a key', { key: null }, [400]],
    ['with an empty key', { key: '' }, [400]],
    ['with a key that is too short', { key: Buffer.alloc(15).toString('base64') }, [400]],
    ['with a key that is too long', { key: Buffer.alloc(17).toString('base64') }, [400]],
    ['with a key that is not base64', { key: '!'.repeat(24) }, [400]],
    ['with version 8', { version: '8' }, [426]],
    ['with version 12', { version: '12' }, [426]],
    ['with a version that is no number', { version: 'x' }, [426]],
    ['without a version', { version: null }, [426]],
    ['by POST', { method: 'POST', headers: ['Content-Length: 0'] }, [400, 404, 405]],
    ['on a path that is no route', { path: '/elsewhere' }, [404]],
  ]
  for (const [what, request, statuses] of cases) {
    test(`${what} is ${statuses.join(' or ')}, opens nothing and disturbs no other client`, async () => {
      let opened = 0
      const served = await serve(engine, { ...echo, open: () => void opened++ }, { path: '/socket' })
      const witness = await Client.open(served, '/socket')
      const client = await RawClient.connect(served)
      client.write(handshake({ path: '/socket', ...request }))
      const answer = await client.response()
      expect(statuses).toContain(answer.status)
      // RFC 6455, section 4.4.
      if (answer.status === 426) expect(answer.header('sec-websocket-version')).toBe('13')
      expect(await witness.ask('undisturbed')).toBe('undisturbed')
      expect(opened).toBe(1)
    })
  }

  test.each([
    ['on a route', '/socket', 405],
    ['elsewhere', '/elsewhere', 404],
  ])('by HEAD, %s, is answered without a body', async (_where, path, status) => {
    const client = await RawClient.connect(await serve(engine, {}, { path: '/socket' }))
    client.write(handshake({ method: 'HEAD', path, headers: ['Connection: close'] }))
    expect((await client.response({ head: true })).status).toBe(status)
    expect((await client.rest()).toString()).toBe('')
  })

  test('says 404 to the ws package too', async () => {
    const served = await serve(engine, {}, { path: '/socket' })
    expect(await refusal(served, '/elsewhere')).toBe(404)
  })

  test('a plain GET on a WebSocket route is told to upgrade', async () => {
    const served = await serve(engine, {}, { path: '/socket' })
    const answer = await http(served, '/socket')
    expect(answer.status).toBe(426) // RFC 9110, section 15.5.22
    expect(answer.headers.upgrade?.toLowerCase()).toBe('websocket')
  })

  test('a page and a WebSocket may share a path', async () => {
    const served = await serve(engine, echo, {
      path: '/both',
      routes: (server) => server.get('/both', () => new Response('the page')),
    })
    expect((await http(served, '/both')).body.toString()).toBe('the page')
    expect(await (await Client.open(served, '/both')).ask('the socket')).toBe('the socket')
  })
})

describeEngines('the wrong protocol', (engine) => {
  for (const what of ['GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n', '\0\0\0\0', '\x16\x03\x01\xff\xff']) {
    test(`${JSON.stringify(what.slice(0, 12))} sent to the TLS port ends that connection only`, async () => {
      const served = await serve(engine, echo, { server: { tls: true } })
      const witness = await Client.open(served)
      const client = await RawClient.connect({ ...served, secure: false })
      client.write(Buffer.from(what, 'latin1'))
      client.end()
      await client.closed()
      expect(await witness.ask('undisturbed')).toBe('undisturbed')
      expect((await http(served, '/health')).status).toBe(200)
    })
  }

  test('TLS sent to the plain port ends that connection only', async () => {
    const served = await serve(engine, echo)
    const witness = await Client.open(served)
    const client = connectTls({ host: served.host, port: served.port, rejectUnauthorized: false })
    const failed = new Promise<Error>((resolve) => client.once('error', resolve))
    expect(await within(failed, 'the TLS handshake to fail')).toBeInstanceOf(Error)
    expect(await witness.ask('undisturbed')).toBe('undisturbed')
    expect((await http(served, '/health')).status).toBe(200)
  })

  test('a TLS client that stops in the middle of its handshake disturbs no other client', async () => {
    const served = await serve(engine, echo, { server: { tls: true } })
    // The start of a ClientHello that never goes on.
    const hello = Buffer.from('16030100f8010000f40303', 'hex')
    const stuck = await RawClient.connect({ ...served, secure: false })
    stuck.write(hello)
    await stuck.flushed()
    const client = await Client.open(served)
    expect(await client.ask('undisturbed')).toBe('undisturbed')
    stuck.reset()
    expect(await client.ask('still')).toBe('still')
  })

  test('frames without a handshake are not taken for messages', async () => {
    let events = 0
    const served = await serve(engine, { open: () => void events++, message: () => void events++ })
    const client = await RawClient.connect(served)
    client.write(text('hello'), closeFrame(1000), '\r\n\r\n')
    await client.rest()
    expect((await http(served, '/health')).status).toBe(200)
    expect(events).toBe(0)
  })

  test('a handshake on a connection that has served HTTP works', async () => {
    const served = await serve(engine, echo)
    const client = await RawClient.connect(served)
    client.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect((await client.response()).status).toBe(200)
    client.write(handshake())
    expect((await client.response()).status).toBe(101)
    client.write(text('after HTTP'), closeFrame(1000))
    expect((await client.frame()).payload.toString()).toBe('after HTTP')
    expect(closeCode(await client.frame())).toBe(1000)
  })
})
