/** Connections that a server of `node:http` or `node:https` has accepted, and hands over. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Accept, AdoptError, type Backplane, OptionError, type Socket, type UpgradeRequest } from '../../src/index.js'
import { adopt, beside, listening, type Upgrade } from '../support/beside.js'
import { Client, refusal } from '../support/client.js'
import { describeEngines, makeServer } from '../support/engines.js'
import { http } from '../support/http.js'
import { MemoryBroker, MemoryEngine } from '../support/memory-backplane.js'
import { handshake, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const echo = { message: (socket: Socket<unknown>, message: string | Buffer) => void socket.send(message) }

/** What `adopt` throws; undefined where it returns. */
function thrownBy(call: () => unknown): unknown {
  try {
    call()
    return undefined
  } catch (error) {
    return error
  }
}

describeEngines('an adopted connection', (engine) => {
  test('is a WebSocket of a server that has never listened, beside HTTP', async () => {
    const served = await beside(engine, echo)
    const [first, second] = await Client.openMany(served, 2)
    expect(await first?.ask('one')).toBe('one')
    expect(await second?.ask(Buffer.from('two'))).toEqual(Buffer.from('two'))
    expect((await http(served, '/')).body.toString()).toBe('http')
    expect(served.server.connections).toBe(2)
    first?.socket.close(4000)
    expect(await first?.closed()).toEqual({ code: 4000, reason: '' })
    expect(await second?.ask('still')).toBe('still')
  })

  test('carries long messages in both directions, and is written to under backpressure', async () => {
    const served = await beside(engine, echo)
    const client = await Client.open(served)
    const long = Buffer.alloc(5_000_000, 'a')
    expect(long.equals(Buffer.from(await client.ask(long)))).toBe(true)
  })

  test('knows both of its ends, as its request does, whose own socket goes on to know them', async () => {
    const seen = new Queue<{ upgrade: UpgradeRequest; socket: Socket<UpgradeRequest> }>()
    const given = new Queue<IncomingMessage>()
    const served = await beside<UpgradeRequest>(
      engine,
      { upgrade: (upgrade) => ({ data: upgrade }), open: (socket) => void seen.push({ upgrade: socket.data, socket }) },
      {
        onUpgrade: (upgrade, server) => {
          given.push(upgrade.request)
          adopt(upgrade, server)
        },
      },
    )
    const client = await RawClient.open(served, { path: '/a%20b?x=1', headers: ['X-Own: mine', 'X-Own: too'] })
    const { upgrade, socket } = await seen.next('the socket')
    const ends = {
      remoteAddress: '127.0.0.1',
      remotePort: client.socket.localPort,
      localAddress: '127.0.0.1',
      localPort: served.port,
    }
    const incoming = await given.next('the request')
    for (const each of [upgrade, socket, incoming.socket]) {
      const { remoteAddress, remotePort, localAddress, localPort } = each
      expect({ remoteAddress, remotePort, localAddress, localPort }).toEqual(ends)
    }
    expect(upgrade.incoming).toBe(incoming)
    expect(upgrade.url).toBe('http://localhost/a%20b?x=1')
    expect(upgrade.target).toBe('/a%20b?x=1')
    expect(upgrade.headers.get('x-own')).toBe('mine, too')
  })

  test('brings its messages in order: those in `head`, those that Node has read meanwhile, those that come later', async () => {
    const given = new Queue<Upgrade>()
    const served = await beside(engine, echo, { onUpgrade: (upgrade) => given.push(upgrade) })
    const client = await RawClient.connect(served)
    client.write(handshake(), text('1'), text('2'))
    const upgrade = await given.next('the upgrade')
    const fourth = text('4')
    client.write(text('3'), fourth.subarray(0, 3))
    await within(
      (async () => {
        while (upgrade.socket.readableLength === 0) await new Promise((resolve) => setImmediate(resolve))
      })(),
      'Node to read on',
    )
    adopt(upgrade, served.server)
    expect((await client.response()).status).toBe(101)
    for (const expected of ['1', '2', '3']) expect((await client.frame()).payload.toString()).toBe(expected)
    client.write(fourth.subarray(3))
    expect((await client.frame()).payload.toString()).toBe('4')
  })

  test('loses nothing that Node has read and kept, be it paused or much', async () => {
    const given = new Queue<Upgrade>()
    const received = new Queue<string>()
    const served = await beside(
      engine,
      { message: (_socket, message) => void received.push(String(message)) },
      {
        onUpgrade: (upgrade) => {
          upgrade.socket.pause()
          given.push(upgrade)
        },
      },
    )
    const client = await RawClient.connect(served)
    client.write(handshake())
    const upgrade = await given.next('the upgrade')
    const messages = Array.from({ length: 400 }, (_, index) => `${index} `.padEnd(1000, '.'))
    client.write(...messages.map((message) => text(message)))
    upgrade.socket.resume()
    await within(
      (async () => {
        upgrade.socket.pause()
        while (upgrade.socket.readableLength < 16_384) await new Promise((resolve) => setImmediate(resolve))
      })(),
      'Node to read on',
    )
    adopt(upgrade, served.server)
    expect(await received.take(400, 'all messages')).toEqual(messages)
  })
})

describeEngines('the request of an adopted connection', (engine) => {
  test('is routed, checked and decided on like any other, and what is refused ends with its response', async () => {
    const served = await beside(
      engine,
      {
        upgrade: async ({ path }) => {
          if (path === '/sync/no') return new Response('not you', { status: 401 })
          await new Promise((resolve) => setImmediate(resolve))
          if (path === '/sync/throws') throw new Error('on purpose')
          return path === '/sync/late' ? new Response(null, { status: 403 }) : { data: undefined }
        },
      },
      { path: '/sync/*', server: { allowedOrigins: ['https://good.example'], onError: () => {} } },
    )
    await Client.open(served, '/sync/yes', { origin: 'https://good.example' })
    for (const [path, status, origin] of [
      ['/sync/no', 401, undefined],
      ['/sync/late', 403, undefined],
      ['/sync/throws', 500, undefined],
      ['/elsewhere', 404, undefined],
      ['/sync/yes', 403, 'https://bad.example'],
    ] as const) {
      const client = await RawClient.connect(served)
      client.write(handshake({ path, headers: [`Origin: ${origin ?? 'https://good.example'}`] }))
      const response = await client.response()
      expect([path, response.status, response.header('connection')]).toEqual([path, status, 'close'])
      expect((await client.rest()).length).toBe(0)
    }
    const client = await RawClient.connect(served)
    client.write(handshake({ path: '/sync/yes', version: '8', headers: ['Origin: https://good.example'] }))
    expect((await client.response()).status).toBe(426)
  })

  test('is an HTTP request where it asks for another protocol, and the connection ends with its response', async () => {
    const served = await beside(engine, {}, { routes: (server) => server.get('/', () => new Response('this one')) })
    const client = await RawClient.connect(served)
    client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
    const response = await client.response()
    expect([response.status, response.body.toString(), response.header('connection')]).toEqual([200, 'this one', 'close'])
    await client.rest()
  })

  test('gets subprotocol, headers and compression', async () => {
    const served = await beside(engine, {
      upgrade: ({ protocols }) => ({ data: undefined, protocol: protocols[1], headers: { 'x-own': 'mine' } }),
      ...echo,
      compression: {},
    })
    const socket = new WebSocket(served.wsUrl(), ['a', 'b'], { perMessageDeflate: true })
    onTestFinished(() => socket.terminate())
    const [[response]] = await within(Promise.all([once(socket, 'upgrade'), once(socket, 'open')]), 'open')
    expect([socket.protocol, socket.extensions, response.headers['x-own']]).toEqual(['b', 'permessage-deflate', 'mine'])
    const message = 'again and '.repeat(1000)
    socket.send(message)
    const [data] = await within(once(socket, 'message'), 'the echo')
    expect(String(data)).toBe(message)
  })

  test('is accepted as the program has decided before, which asks no handler and leaves the limits', async () => {
    const errors = new Queue<unknown>()
    const asked = new Queue<string>()
    const decisions: Record<string, object> = {
      '/': { data: 'decided', protocol: 'b', headers: { 'x-own': 'mine' }, maxPayloadLength: 5 },
      '/wrong': { data: 'decided', protocol: 'c' },
    }
    const served = await beside<string>(
      engine,
      {
        upgrade: ({ path }) => {
          asked.push(path)
          return { data: 'asked' }
        },
        open: (socket) => void socket.send(socket.data),
        compression: {},
      },
      {
        server: { maxConnections: 2, onError: (error) => void errors.push(error) },
        onUpgrade: ({ request, socket, head }, server) => {
          // A program in JavaScript may decide on anything.
          server.adopt(request, socket, head, decisions[request.url ?? ''] as Accept<unknown> | undefined)
        },
      },
    )
    const socket = new WebSocket(served.wsUrl(), ['a', 'b'], { perMessageDeflate: true })
    onTestFinished(() => socket.terminate())
    const [[response], [message]] = await within(Promise.all([once(socket, 'upgrade'), once(socket, 'message')]), 'a message')
    expect([socket.protocol, socket.extensions, response.headers['x-own']]).toEqual(['b', 'permessage-deflate', 'mine'])
    expect(String(message)).toBe('decided')
    expect(await (await Client.open(served, '/asked')).next()).toBe('asked')
    expect(await refusal(served, '/')).toBe(503)
    const closed = once(socket, 'close')
    socket.send('longer')
    expect((await within(closed, 'close'))[0]).toBe(1009)
    expect(await refusal(served, '/wrong')).toBe(500)
    expect(await errors.next('the error')).toBeInstanceOf(OptionError)
    expect(await asked.take(1, 'what was asked')).toEqual(['/asked'])
    expect(served.server.metrics()).toMatchObject({ upgradesRefused: 2, upgradesRefusedByHandler: 1 })
  })

  test('counts for the limits and in the metrics', async () => {
    const served = await beside(engine, echo, { server: { maxConnections: 2, maxConnectionsPerAddress: 1 } })
    const client = await Client.open(served)
    await client.ask('hello')
    expect(await refusal(served, '/')).toBe(503)
    expect(served.server.metrics()).toMatchObject({
      tcpConnections: 2,
      connectionsAccepted: 1,
      connectionsOpen: 1,
      upgradesRefused: 1,
      upgradesRefusedByAddress: 1,
      messagesReceived: 1,
      messagesSent: 1,
    })
    client.socket.close()
    await client.closed()
  })

  test('needs no PROXY header, and counts for the address that it has', async () => {
    const served = await beside(engine, echo, { server: { proxyProtocol: true, maxConnectionsPerAddress: 1 } })
    const client = await Client.open(served)
    expect(await client.ask('hello')).toBe('hello')
    expect(await refusal(served, '/')).toBe(503)
  })

  test('is bound by the limits of its route: messages, rates, Pings', async () => {
    const limits = { maxPayloadLength: 100, rateLimit: { messages: 1, seconds: 60, action: 'close' as const } }
    const served = await beside(engine, { ...limits, sendPings: { interval: 1 } })
    const pinged = await Client.open(served)
    await pinged.pings.next('a Ping')
    pinged.send('x'.repeat(101))
    expect(await pinged.closed()).toMatchObject({ code: 1009 })
    const fast = await Client.open(served)
    for (let i = 0; i < 5; i++) fast.send('hello')
    expect(await fast.closed()).toMatchObject({ code: 1008 })
  })

  test('is bound by the idle timeout of its route, also where the server never listens', async () => {
    const served = await beside(engine, { idleTimeout: 8, sendPings: false })
    const client = await RawClient.open(served)
    const begin = performance.now()
    await client.rest('the end of a silent client', 20_000)
    expect(performance.now() - begin).toBeGreaterThan(7900)
  }, 25_000)

  test('is aborted when its client leaves before the decision', async () => {
    const signals = new Queue<AbortSignal>()
    const served = await beside(engine, {
      upgrade: ({ signal }) => {
        signals.push(signal)
        return new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    })
    const client = await RawClient.connect(served)
    client.write(handshake())
    const signal = await signals.next('the upgrade')
    const aborted = once(signal, 'abort')
    client.reset()
    await within(aborted, 'the abort')
  })
})

describeEngines('a server that adopts', (engine) => {
  test('closes the sockets that it has adopted, and adopts nothing afterwards', async () => {
    const results = new Queue<boolean>()
    const served = await beside(engine, echo, {
      onUpgrade: (upgrade, server) => {
        results.push(adopt(upgrade, server))
      },
    })
    const client = await Client.open(served)
    expect(await results.next('the first')).toBe(true)
    await served.server.close({ code: 1001, reason: 'bye' })
    expect(await client.closed()).toEqual({ code: 1001, reason: 'bye' })
    const late = await RawClient.connect(served)
    late.write(handshake())
    expect(await results.next('the second')).toBe(false)
    expect((await late.response()).status).toBe(503)
    await late.closed()
    expect(served.server.metrics()).toMatchObject({ connectionsAccepted: 1, connectionsClosed: 1 })
  })

  test('cuts what does not answer the Close frame', async () => {
    const served = await beside(engine, echo)
    const client = await RawClient.open(served)
    await served.server.close({ timeout: 0 })
    await client.rest()
  })

  test('may listen as well, before or afterwards, with the routes that it had', async () => {
    const served = await beside(engine, echo, { server: { health: '/health' } })
    const adopted = await Client.open(served)
    expect(() => served.server.ws('/late', {})).toThrow(expect.objectContaining({ code: 'ERR_LISTENING' }))
    const { port } = await served.server.listen({ port: 0, host: '127.0.0.1' })
    const own = { ...served, port, wsUrl: (path = '/') => `ws://127.0.0.1:${port}${path}` }
    const direct = await Client.open(own)
    expect([await adopted.ask('a'), await direct.ask('b')]).toEqual(['a', 'b'])
    expect((await http(own, '/health')).status).toBe(200)
    served.server.stopListening()
    const later = await Client.open(served)
    expect(await later.ask('c')).toBe('c')
    expect(served.server.connections).toBe(3)
  })

  test('keeps adopted sockets when an attempt to listen fails', async () => {
    const served = await beside(engine, echo)
    const client = await Client.open(served)
    await expect(served.server.listen({ port: served.port, host: '127.0.0.1' })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    expect(await client.ask('still')).toBe('still')
  })

  test('starts its backplane again where it cannot start yet, and reports that once', async () => {
    const backplane = new MemoryEngine(new MemoryBroker())
    let attempts = 0
    const started = new Deferred()
    backplane.beforeStart = () => {
      attempts += 1
      if (attempts === 1) throw new Error('connection refused')
      started.resolve()
    }
    const errors: Error[] = []
    const served = await beside(engine, echo, { server: { backplane, onError: (error) => errors.push(error) } })
    await Client.open(served)
    await within(started.promise, 'the backplane')
    await turns()
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining('connection refused')])
    expect(served.server.backplaneMetrics()).toMatchObject({ up: true })
  })

  test('starts its backplane with the first connection', async () => {
    const started = new Deferred()
    const backplane: Backplane = { start: () => void started.resolve(), publish: () => {}, close: () => {} }
    const served = await beside(engine, echo, { server: { backplane } })
    await Client.open(served)
    await within(started.promise, 'the backplane')
  })

  test('publishes to adopted sockets', async () => {
    const served = await beside(engine, { open: (socket) => void socket.subscribe('news') })
    const clients = await Client.openMany(served, 2)
    for (const client of clients) client.socket.ping()
    await Promise.all(clients.map((client) => client.pongs.next('a Pong')))
    expect(served.server.publish('news', 'hello')).toBe(true)
    expect(await Promise.all(clients.map((client) => client.next()))).toEqual(['hello', 'hello'])
  })
})

describeEngines('adopt', (engine) => {
  /** Calls `attempt` with the next upgrade, and gives what it returned and the client. */
  async function trying<R>(attempt: (upgrade: Upgrade, adopting: () => boolean) => R) {
    const results = new Queue<R>()
    const served = await beside(engine, echo, {
      onUpgrade: (upgrade, server) => {
        const { request, socket, head } = upgrade
        results.push(attempt(upgrade, () => server.adopt(request, socket, head)))
      },
    })
    const client = await RawClient.connect(served)
    client.write(handshake())
    return { result: await results.next('the upgrade'), client, served }
  }

  test('returns true, and throws for a socket that it has adopted', async () => {
    const { result, client } = await trying((_, adopting) => [adopting(), thrownBy(adopting)])
    expect(result).toEqual([true, expect.any(AdoptError)])
    expect((await client.response()).status).toBe(101)
  })

  test('returns false for a client that has left, and destroys the socket', async () => {
    const gone = await trying(({ socket }, adopting) => {
      socket.destroy()
      return adopting()
    })
    expect(gone.result).toBe(false)
    const halfClosed = new Deferred<[boolean, boolean]>()
    const { client } = await trying(({ socket }, adopting) => {
      socket.resume()
      socket.once('end', () => halfClosed.resolve([adopting(), socket.destroyed]))
    })
    client.end()
    expect(await within(halfClosed.promise, 'the end')).toEqual([false, true])
    await client.closed()
  })

  test('returns false where the end has come behind bytes that were not read', async () => {
    const tried = new Deferred<[boolean, boolean]>()
    const { client } = await trying(({ socket }, adopting) => {
      // The end waits in the stream behind the frame. Node tells of nothing until it is read.
      const look = () => {
        const { ended } = (socket as unknown as { _readableState: { ended: boolean } })._readableState
        if (ended) tried.resolve([adopting(), socket.destroyed])
        else setImmediate(look)
      }
      look()
    })
    client.write(text('bye'))
    client.end()
    expect(await within(tried.promise, 'the end')).toEqual([false, true])
  })

  test('returns false while bytes wait for a client that does not read, and ends its connection', async () => {
    const { result, client } = await trying(({ socket }, adopting) => {
      while (socket.write(Buffer.alloc(1_000_000)));
      return adopting()
    })
    expect(result).toBe(false)
    await client.closed()
  })

  test('returns false for a client that asks before an earlier request has its response, and ends its connection', async () => {
    const adopting = new Deferred<unknown>()
    const server = makeServer(engine)
    server.ws('/*', echo)
    const other = createServer()
    const responses = new Queue<() => void>()
    other.on('request', (_request, response) => responses.push(() => response.end('first')))
    other.on('upgrade', (request, socket, head) => adopting.resolve(server.adopt(request, socket, head)))
    const client = await RawClient.connect({ host: '127.0.0.1', port: await listening(other), secure: false })
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n', handshake())
    expect(await within(adopting.promise, 'the upgrade')).toBe(false)
    ;(await responses.next('the first request'))()
    await client.closed()
  })

  test('throws for a request that is no upgrade, and for one that Node goes on from', async () => {
    const server = makeServer(engine)
    const thrown = new Queue<unknown>()
    const other = createServer((request, response) => {
      thrown.push(thrownBy(() => server.adopt(request, request.socket, Buffer.alloc(0))))
      response.end()
    })
    const address = { host: '127.0.0.1', port: await listening(other), secure: false }
    for (const bytes of ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', handshake()]) (await RawClient.connect(address)).write(bytes)
    const errors = await thrown.take(2, 'two requests')
    expect(errors).toContainEqual(expect.objectContaining({ option: 'request' }))
    // Without a listener for 'upgrade', Node takes an upgrade for a request, and goes on to read requests.
    expect(errors).toContainEqual(expect.objectContaining({ code: 'ERR_ADOPT' }))
  })

  test('throws OptionError for what is no request, no socket, no bytes', async () => {
    const { result } = await trying(({ request, socket, head }) => {
      const server = makeServer(engine)
      request.url = '/a\r\nX-Smuggled: 1'
      const smuggling = thrownBy(() => server.adopt(request, socket, head))
      request.url = '/'
      request.rawHeaders.push('X-Own', 'a\r\nX-Smuggled: 1')
      const folded = thrownBy(() => server.adopt(request, socket, head))
      request.rawHeaders.splice(-2)
      return [
        smuggling,
        folded,
        thrownBy(() => server.adopt({} as IncomingMessage, socket, head)),
        thrownBy(() => server.adopt(request, new PassThrough(), head)),
        thrownBy(() => server.adopt(request, socket, 'head' as unknown as Buffer)),
      ]
    })
    const options = ['request.url', 'request.rawHeaders', 'request', 'socket', 'head']
    expect(result).toEqual(options.map((option) => expect.objectContaining({ option })))
    for (const error of result) expect(error).toBeInstanceOf(OptionError)
  })

  test('throws on a server that speaks TLS itself', async () => {
    const server = makeServer(engine, { server: { tls: true } })
    const { result } = await trying(({ request, socket, head }) => thrownBy(() => server.adopt(request, socket, head)))
    expect(result).toMatchObject({ code: 'ERR_ADOPT', message: expect.stringContaining('without the option `tls`') })
  })

  test('takes connections on a unix socket', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nws-test-adopt-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const server = makeServer(engine)
    const seen = new Queue<string>()
    server.ws('/*', { ...echo, open: (socket) => void seen.push(`${socket.remoteAddress}:${socket.remotePort}`) })
    const other = createServer()
    other.on('upgrade', (request, socket, head) => void server.adopt(request, socket, head))
    onTestFinished(() => void other.close())
    const path = join(folder, 'http')
    await within(new Promise<void>((resolve) => other.listen(path, resolve)), 'node:http to listen')
    const socket = new WebSocket(`ws+unix:${path}:/`)
    onTestFinished(() => socket.terminate())
    await within(once(socket, 'open'), 'open')
    socket.send('hello')
    expect(String((await within(once(socket, 'message'), 'the echo'))[0])).toBe('hello')
    expect(await seen.next('the socket')).toBe(':0')
  })

  test('leaves the response of a framework unused', async () => {
    const served = await beside(engine, echo, {
      onUpgrade: (upgrade, server) => {
        const response = new ServerResponse(upgrade.request)
        response.assignSocket(upgrade.socket)
        adopt(upgrade, server)
        response.end('of no use')
      },
    })
    const client = await Client.open(served)
    expect(await client.ask('hello')).toBe('hello')
    const refused = await RawClient.connect(served)
    refused.write(handshake({ version: '8' }))
    expect((await refused.response()).status).toBe(426)
    expect((await refused.rest()).length).toBe(0)
  })

  test('makes no client wait for the HTTP server: its own close ends neither', async () => {
    const served = await beside(engine, echo)
    const client = await Client.open(served)
    served.http.close()
    served.http.closeAllConnections()
    expect(await client.ask('still')).toBe('still')
    client.socket.close(1000)
    expect(await client.closed()).toMatchObject({ code: 1000 })
  })

  test(`${engine === 'native' ? 'throws for' : 'takes'} connections of node:https`, async () => {
    const results = new Queue<unknown>()
    const urls = new Queue<string>()
    const served = await beside<undefined>(
      engine,
      {
        upgrade: ({ url }) => {
          urls.push(url)
          return { data: undefined }
        },
        ...echo,
      },
      {
        secure: true,
        onUpgrade: (upgrade, server) => {
          const error = thrownBy(() => adopt(upgrade, server))
          results.push(error)
          if (error !== undefined) upgrade.socket.end('HTTP/1.1 501 Not Implemented\r\nConnection: close\r\n\r\n')
        },
      },
    )
    if (engine === 'native') {
      expect(await refusal(served, '/')).toBe(501)
      expect(await results.next('the upgrade')).toMatchObject({
        name: 'AdoptError',
        message: expect.stringContaining("`engine: 'portable'`"),
      })
      return
    }
    const client = await Client.open(served)
    const long = Buffer.alloc(1_000_000, 'a')
    expect(long.equals(Buffer.from(await client.ask(long)))).toBe(true)
    expect(await urls.next('the upgrade')).toBe(`https://127.0.0.1:${served.port}/`)
    await served.server.close({ code: 1001 })
    expect(await client.closed()).toMatchObject({ code: 1001 })
  })
})
