/**
 * Requests that follow each other on one connection without waiting for answers (RFC 9112, section 9.3.2):
 * where one ends and the next begins must never be in doubt, or one client's body becomes another's request.
 */
import { expect, test } from 'vitest'
import type { WebSocketServer } from '../../src/index.js'
import { describeEngines, type EngineName, type Served, type ServeOptions, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { closeFrame, handshake, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

interface Recorded {
  readonly served: Served
  /** Method and path of every request that reached a handler. */
  readonly seen: string[]
}

/**
 * Answers every request with its method and path, later for lower numbers in the path, so that order is not
 * by chance.
 */
async function recording(engine: EngineName, options: ServeOptions['server'] = {}): Promise<Recorded> {
  const seen: string[] = []
  const served = await serve(
    engine,
    { message: (socket, message) => void socket.send(message) },
    {
      path: '/socket',
      server: { onError: () => {}, ...options },
      routes: (server) =>
        server.any('/*', async ({ method, path }) => {
          seen.push(`${method} ${path}`)
          const delay = 10 - Number(/\d+/.exec(path)?.[0] ?? 10)
          await turns(Math.max(delay, 0))
          return new Response(`${method} ${path}`)
        }),
    },
  )
  return { served, seen }
}

const request = (method: string, path: string, ...headers: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n`
const get = (path: string): string => request('GET', path)
const post = (path: string, body: string): string => request('POST', path, `Content-Length: ${Buffer.byteLength(body)}`) + body
const postChunked = (path: string, ...chunks: string[]): string =>
  `${request('POST', path, 'Transfer-Encoding: chunked')}${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`

async function bodies(client: RawClient, count: number): Promise<string[]> {
  const answers: string[] = []
  while (answers.length < count) answers.push((await client.response()).body.toString())
  return answers
}

describeEngines('requests that do not wait for answers', (engine) => {
  test('get no answer behind a response that ends the connection', async () => {
    const seen: string[] = []
    const headers = { Connection: 'Close, X-Own' }
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.any('/*', async ({ path, body }) => {
            seen.push(path)
            if (path === '/pieces') return new Response(new Blob(['in pieces']).stream(), { headers })
            return body === null || path === '/unread' ? new Response('whole', { headers }) : new Response('read')
          }),
      },
    )
    for (const first of [get('/whole'), get('/pieces'), post('/unread', 'body')]) {
      const client = await RawClient.connect(served)
      client.write(first + get('/never'))
      const { header, status } = await client.response()
      expect([status, header('connection')?.toLowerCase()]).toEqual([200, 'close'])
      expect(String(await client.rest())).toBe('')
    }
    expect(seen.filter((path) => path === '/never')).toEqual([])
  })

  test('are answered in order', async () => {
    const { served } = await recording(engine)
    const client = await RawClient.connect(served)
    client.write(get('/1'), get('/2'), get('/3'))
    expect(await bodies(client, 3)).toEqual(['GET /1', 'GET /2', 'GET /3'])
  })

  test('are answered in order over TLS', async () => {
    const served = await serve(
      engine,
      {},
      { path: '/socket', server: { tls: true }, routes: (server) => server.any('/*', ({ path }) => new Response(path)) },
    )
    const client = await RawClient.connect(served)
    client.write(get('/1'), post('/2', 'body'), get('/3'))
    expect(await bodies(client, 3)).toEqual(['/1', '/2', '/3'])
  })

  test('may be 200, with bodies between them', async () => {
    const { served, seen } = await recording(engine)
    const client = await RawClient.connect(served)
    const requests = Array.from({ length: 200 }, (_, n) => (n % 3 === 0 ? post(`/${n}`, 'x'.repeat(n)) : get(`/${n}`)))
    const expected = requests.map((_, n) => `${n % 3 === 0 ? 'POST' : 'GET'} /${n}`)
    client.write(...requests)
    expect(await bodies(client, 200)).toEqual(expected)
    expect(seen).toEqual(expected)
  })

  test('may come byte by byte', async () => {
    const { served } = await recording(engine)
    const client = await RawClient.connect(served)
    for (const byte of get('/1') + post('/2', 'ab\r\n\r\ncd') + get('/3') + postChunked('/4', 'efg', 'h')) {
      client.write(byte)
      await client.flushed()
    }
    expect(await bodies(client, 4)).toEqual(['GET /1', 'POST /2', 'GET /3', 'POST /4'])
  })

  test('may have chunked bodies', async () => {
    const { served, seen } = await recording(engine)
    const client = await RawClient.connect(served)
    client.write(postChunked('/1', 'hello', 'world'))
    expect(await bodies(client, 1)).toEqual(['POST /1'])
    client.write(postChunked('/2', get('/evil')))
    expect(await bodies(client, 1)).toEqual(['POST /2'])
    client.write(get('/3'))
    expect(await bodies(client, 1)).toEqual(['GET /3'])
    expect(seen).toEqual(['POST /1', 'POST /2', 'GET /3'])
  })

  test('behind a chunked body are answered in order, or not at all', async () => {
    const { served, seen } = await recording(engine)
    const client = await RawClient.connect(served)
    client.write(postChunked('/1', get('/evil')), get('/2'), get('/3'))
    client.end()
    const answers = (await client.rest()).toString('latin1')
    const found = [...answers.matchAll(/(?:GET|POST) \/\w+/g)].map(([path]) => path)
    const all = ['POST /1', 'GET /2', 'GET /3']
    expect(found).toEqual(all.slice(0, found.length))
    expect(seen).toEqual(all.slice(0, seen.length))
  })

  test('never take a body for a request', async () => {
    const { served, seen } = await recording(engine)
    const client = await RawClient.connect(served)
    const evil = get('/evil')
    client.write(post('/1', evil), post('/2', `\r\n\r\n${evil}${evil}`), get('/3'))
    expect(await bodies(client, 3)).toEqual(['POST /1', 'POST /2', 'GET /3'])
    expect(seen).toEqual(['POST /1', 'POST /2', 'GET /3'])
  })

  test('never take a body that comes late for a request', async () => {
    const { served, seen } = await recording(engine)
    const client = await RawClient.connect(served)
    const evil = get('/evil')
    client.write(request('POST', '/1', `Content-Length: ${evil.length}`))
    expect(await bodies(client, 1)).toEqual(['POST /1'])
    client.write(evil.slice(0, 10))
    await client.flushed()
    client.write(evil.slice(10), get('/2'))
    expect(await bodies(client, 1)).toEqual(['GET /2'])
    expect(seen).toEqual(['POST /1', 'GET /2'])
  })

  test('never take a body for a request behind a malformed head', async () => {
    const { served, seen } = await recording(engine)
    const evil = get('/evil')
    for (const field of [': x', ':', 'X: a\rb', 'X: a\r']) {
      const client = await RawClient.connect(served)
      client.write(request('POST', '/1', field, `Content-Length: ${evil.length + 1}`))
      await client.flushed()
      client.write(evil)
      expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 400 /)
    }
    expect(seen).toEqual([])
  })

  test('may ask for HEAD', async () => {
    const served = await serve(
      engine,
      {},
      { path: '/socket', routes: (server) => server.get('/page', () => new Response('12345')) },
    )
    const client = await RawClient.connect(served)
    client.write(request('HEAD', '/page'), get('/page'), request('HEAD', '/missing'), get('/page'))
    expect((await client.response({ head: true })).header('content-length')).toBe('5')
    expect((await client.response()).body.toString()).toBe('12345')
    expect((await client.response({ head: true })).status).toBe(404)
    expect((await client.response()).body.toString()).toBe('12345')
  })

  test('may end in a handshake, which is answered last or ends the connection', async () => {
    const { served } = await recording(engine)
    const client = await RawClient.connect(served)
    client.write(get('/1'), get('/2'), handshake({ path: '/socket' }), text('upgraded'), closeFrame(1000))
    const answers = (await client.rest()).toString('latin1')
    const parts = ['GET /1', 'GET /2', 'HTTP/1.1 101', 'upgraded']
    const found = parts.filter((part) => answers.includes(part)).sort((x, y) => answers.indexOf(x) - answers.indexOf(y))
    expect(found).toEqual(parts.slice(0, found.length))
    expect((await http(served, '/health')).status).toBe(200)
  })

  for (const [what, path, status] of [
    ['accepted', '/socket', 101],
    ['refused', '/nowhere', 404],
  ] as const) {
    test(`may end in a handshake that is ${what} while the answer before it is still on its way`, async () => {
      const large = Buffer.alloc(8 * 1024 * 1024, 'large')
      const answered = new Deferred()
      const served = await serve(
        engine,
        { open: (socket) => void socket.send('welcome') },
        {
          path: '/socket',
          routes: (server) =>
            server.get('/large', () => {
              setImmediate(() => answered.resolve())
              return new Response(large)
            }),
        },
      )
      const client = await RawClient.connect(served)
      client.pause()
      client.write(get('/large'))
      await within(answered.promise, 'the request')
      await turns()
      client.write(handshake({ path }))
      await client.flushed()
      await turns()
      client.resume()
      expect((await client.response()).body.equals(large)).toBe(true)
      expect((await client.response()).status).toBe(status)
      if (status === 101) expect((await client.frame()).payload.toString()).toBe('welcome')
    })
  }

  test('may end in a refused handshake behind answers that the client has not read', async () => {
    const bodies = [Buffer.alloc(2 ** 22, 'first'), Buffer.alloc(2 ** 22, 'second')]
    const started = new Queue<string>()
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.get('/:number', ({ params }) => {
            started.push(params.number)
            return new Response(bodies[Number(params.number)])
          }),
      },
    )
    const client = await RawClient.connect(served)
    client.pause()
    client.write(get('/0'), get('/1'), handshake({ path: '/missing/page' }))
    await started.next('the first request')
    await turns()
    client.resume()
    for (const body of bodies) expect((await client.response()).body.equals(body)).toBe(true)
    expect((await client.response()).status).toBe(404)
  })

  test('behind a body that is too large are never looked at, a handshake neither', async () => {
    const errors: Error[] = []
    const { served } = await recording(engine, { maxRequestBodySize: 10, onError: (error) => errors.push(error) })
    const client = await RawClient.connect(served)
    client.write(request('POST', '/1', 'Content-Length: 1000'))
    expect((await client.response()).status).toBe(413)
    client.write('x'.repeat(1000), get('/2'), handshake({ path: '/nowhere' }), handshake({ path: '/socket' }))
    client.end()
    expect((await client.rest()).toString('latin1')).toBe('')
    expect(errors).toEqual([])
    expect((await http(served, '/health')).status).toBe(200)
  })

  for (const value of ['Close', 'keep-alive, close', 'TE,close', 'close, TE']) {
    test(`end with "Connection: ${value}", too`, async () => {
      const { served, seen } = await recording(engine)
      const client = await RawClient.connect(served)
      client.write(request('GET', '/8', `Connection: ${value}`))
      expect((await client.response()).body.toString()).toBe('GET /8')
      await client.closed()
      expect(seen).toEqual(['GET /8'])
    })
  }

  test('end with "Connection: close": what follows it is never looked at', async () => {
    const { served, seen } = await recording(engine)
    const client = await RawClient.connect(served)
    client.write(get('/1'))
    expect(await bodies(client, 1)).toEqual(['GET /1'])
    client.write(request('GET', '/2', 'Connection: close'), get('/evil'))
    expect((await client.rest()).toString('latin1')).not.toContain('evil')
    expect(seen).toEqual(['GET /1', 'GET /2'])
  })

  test('may be abandoned by their client', async () => {
    for (const leave of ['vanish', 'reset'] as const) {
      const started = new Queue<AbortSignal>()
      const served = await serve(
        engine,
        {},
        {
          path: '/socket',
          routes: (server) =>
            server.get('/never', ({ signal }) => {
              started.push(signal)
              return new Promise(() => {})
            }),
        },
      )
      const client = await RawClient.connect(served)
      client.write(get('/never'), get('/never'), get('/never'))
      const signal = await started.next('the first request')
      const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
      client[leave]()
      await within(aborted, 'the abort signal')
      expect((await http(served, '/health')).status).toBe(200)
      await within(served.server.close({ timeout: 60_000 }), 'close, which has nothing to wait for')
    }
  })

  test('may be abandoned behind more than the server keeps', async () => {
    const started = new Queue<AbortSignal>()
    const never = ({ signal }: { signal: AbortSignal }): Promise<never> => {
      started.push(signal)
      return new Promise(() => {})
    }
    const handlers = { upgrade: never }
    const served = await serve(engine, handlers, { path: '/socket', routes: (server) => server.any('/never', never) })
    // Behind the last request comes a body that its handler does not read, in which FIN has its place.
    const body = request('POST', '/never', 'Content-Length: 1000000')
    for (const first of [get('/never'), handshake({ path: '/socket' }), body]) {
      for (const leave of ['vanish', 'reset'] as const) {
        // Node tells nothing of a FIN to a server that does not read.
        if (leave === 'vanish' && (engine === 'portable' || first === body)) continue
        const client = await RawClient.connect(served)
        client.write(first, 'x'.repeat(150_000))
        const signal = await started.next('the request')
        const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
        await client.flushed()
        client[leave]()
        await within(aborted, 'the abort signal')
      }
    }
  })

  // The portable engine forgets what waits when it sees the FIN.
  test.runIf(engine === 'native')(
    'are all answered before the FIN behind them counts, where the handlers answer at once',
    async () => {
      const count = 5000
      const served = await serve(engine, {}, { path: '/socket', routes: (server) => server.get('/', () => new Response('x')) })
      const client = await RawClient.connect(served, { allowHalfOpen: true })
      client.socket.end(get('/').repeat(count))
      expect((await client.rest()).toString().split('HTTP/1.1 200 OK')).toHaveLength(count + 1)
    },
  )

  test('that are too many to keep do not fill the memory, and disturb no other client', async () => {
    const gate = new Deferred()
    const started = new Queue<true>()
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.get('/slow', async () => {
            started.push(true)
            await gate.promise
            return new Response('slow')
          }),
      },
    )
    const client = await RawClient.connect(served)
    client.write(get('/slow'))
    await started.next('the first request')
    // Whether the server stops reading or cuts the client is its choice; the rest of this may never be taken.
    for (let n = 0; n < 1000; n++) client.socket.write(get(`/slow?${'x'.repeat(10_000)}`))
    expect((await http(served, '/health')).status).toBe(200)
    client.reset()
    gate.resolve()
    expect((await http(served, '/health')).status).toBe(200)
  })
})

describeEngines('the last request of a connection', (engine) => {
  const head = 'GET /last HTTP/1.1\r\n'
  const last: [what: string, request: string, status: number][] = [
    ['with a bad Host', `${head}Host: a b\r\n\r\n`, 400],
    ['with a bad length', `${head}Host: localhost\r\nContent-Length: x\r\n\r\n`, 400],
    ['with a head that is too long', `${head}Host: localhost\r\nCookie: ${'c'.repeat(20_000)}\r\n\r\n`, 431],
    ['with a body that is too long', `${request('POST', '/last', 'Content-Length: 1000000')}`, 413],
    ['with broken chunks', `${request('POST', '/last', 'Transfer-Encoding: chunked')}what\r\n`, 400],
    ['that is none', '\x16\x03\x01', 400],
    ['with "Connection: close"', request('GET', '/last', 'Connection: close'), 200],
  ]
  for (const secure of [false, true]) {
    test.each(last)(
      `${secure ? 'over TLS ' : ''}%s is answered behind those before, whatever follows`,
      async (_what, bytes, status) => {
        const served = await serve(
          engine,
          {},
          {
            path: '/socket',
            server: { onError: () => {}, maxRequestBodySize: 1000, ...(secure && { tls: true }) },
            routes: (server) => {
              server.get('/*', () => new Response('x'.repeat(50_000)))
              server.post('/last', async (request) => new Response(await request.text()))
            },
          },
        )
        const client = await RawClient.connect(served)
        client.socket.pause()
        client.write(get('/1'), get('/2'), bytes, 'x'.repeat(300_000))
        await client.flushed()
        // A reset would have come by now.
        for (let n = 0; n < 5; n++) expect((await http(served, '/health')).status).toBe(200)
        client.socket.resume()
        expect((await bodies(client, 2)).map((body) => body.length)).toEqual([50_000, 50_000])
        expect((await client.response()).status).toBe(status)
        await client.rest()
      },
    )
  }
})

describeEngines('a client that sends something when it has been sent its last response', (engine) => {
  const LENGTH = 2 ** 20
  const body = () => 'x'.repeat(LENGTH)
  const streamed = () =>
    new ReadableStream({
      pull(controller) {
        controller.enqueue(Buffer.from(body()))
        controller.close()
      },
    })
  const lasts: [what: string, response: () => Response, request: string, then: (server: WebSocketServer) => void][] = [
    ['with "Connection: close"', () => new Response(body()), request('GET', '/last', 'Connection: close'), () => {}],
    [
      'with "Connection: close", streamed',
      () => new Response(streamed(), { headers: { 'content-length': String(LENGTH) } }),
      request('GET', '/last', 'Connection: close'),
      () => {},
    ],
    [
      'behind which the server has stopped to listen',
      () => new Response(body()),
      get('/last'),
      (server) => server.stopListening(),
    ],
    // Node does not tell what a client's system has acknowledged.
    ...(engine === 'native' && process.platform === 'linux'
      ? ([
          [
            'behind which the server closes (only native, on Linux, knows what has arrived)',
            () => new Response(body()),
            get('/last'),
            (server) => void server.close({ timeout: 60_000 }),
          ],
        ] satisfies typeof lasts)
      : []),
  ]
  for (const secure of [false, true]) {
    test.each(lasts)(`${secure ? 'over TLS ' : ''}gets that response whole: one %s`, async (_what, response, bytes, then) => {
      const responded = new Deferred()
      const served = await serve(
        engine,
        {},
        {
          path: '/socket',
          server: secure ? { tls: true } : {},
          routes: (server) =>
            server.get('/last', () => {
              setImmediate(responded.resolve)
              return response()
            }),
        },
      )
      const client = await RawClient.connect(served)
      client.pause()
      client.write(bytes)
      await responded.promise
      await turns()
      then(served.server)
      for (let n = 0; n < 3; n++) {
        client.write(get('/late'))
        await client.flushed()
        await turns()
      }
      client.resume()
      expect((await client.response()).body.length).toBe(LENGTH)
      await client.rest()
    })
  }
})

describeEngines('a request whose end is in doubt', (engine) => {
  const evil = get('/evil')
  const doubtful: Record<string, string> = {
    'a length and chunks': `${request('POST', '/1', 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n${evil}`,
    'chunks and a length': `${request('POST', '/1', 'Transfer-Encoding: chunked', 'Content-Length: 5')}0\r\n\r\n${evil}`,
    'two lengths': `${request('POST', '/1', 'Content-Length: 0', `Content-Length: ${evil.length}`)}${evil}`,
    'a list of lengths': `${request('POST', '/1', `Content-Length: 0, ${evil.length}`)}${evil}`,
    'a negative length': `${request('POST', '/1', 'Content-Length: -1')}${evil}`,
    'a length with a sign': `${request('POST', '/1', 'Content-Length: +0')}${evil}`,
    'a hexadecimal length': `${request('POST', '/1', 'Content-Length: 0x0')}${evil}`,
    'a length beyond all numbers': `${request('POST', '/1', 'Content-Length: 99999999999999999999999')}${evil}`,
    'an empty length': `${request('POST', '/1', 'Content-Length: ')}${evil}`,
    'an unknown coding': `${request('POST', '/1', 'Transfer-Encoding: gzip')}${evil}`,
    'a coding on top of chunks': `${request('POST', '/1', 'Transfer-Encoding: chunked, gzip')}0\r\n\r\n${evil}`,
    'a space before the colon': `${request('POST', '/1', 'Content-Length : 0')}${evil}`,
    'a length on a folded line': `${request('POST', '/1', 'X-Folded: a', ' Content-Length: 0')}${evil}`,
    'a chunk size that is no number': `${request('POST', '/1', 'Transfer-Encoding: chunked')}zz\r\n${evil}`,
    'a chunk size beyond all numbers': `${request('POST', '/1', 'Transfer-Encoding: chunked')}fffffffffffffffff\r\n${evil}`,
    'a trailer without a colon': `${request('POST', '/1', 'Transfer-Encoding: chunked')}0\r\nX\r\n\r\n${evil}`,
    'a trailer that is a request': `${request('POST', '/1', 'Transfer-Encoding: chunked')}0\r\nGET / HTTP/1.1\r\n\r\n${evil}`,
    'a blank in the name of a trailer': `${request('POST', '/1', 'Transfer-Encoding: chunked')}0\r\nX : y\r\n\r\n${evil}`,
    'a folded trailer': `${request('POST', '/1', 'Transfer-Encoding: chunked')}0\r\nX: y\r\n z\r\n\r\n${evil}`,
    'a trailer without a name': `${request('POST', '/1', 'Transfer-Encoding: chunked')}0\r\n: y\r\n\r\n${evil}`,
    'a DEL in a trailer': `${request('POST', '/1', 'Transfer-Encoding: chunked')}0\r\nX: \x7f\r\n\r\n${evil}`,
    'a DEL in a chunk extension': `${request('POST', '/1', 'Transfer-Encoding: chunked')}1;\x7f\r\na\r\n0\r\n\r\n${evil}`,
    'an empty coding and chunks': `${request('POST', '/1', 'Transfer-Encoding: ,chunked')}0\r\n\r\n${evil}`,
    'a chunk that is longer than it says': `${request('POST', '/1', 'Transfer-Encoding: chunked')}1\r\nabcdef\r\n0\r\n\r\n${evil}`,
  }
  for (const [what, bytes] of Object.entries(doubtful)) {
    test(`because of ${what} is the last of its connection`, async () => {
      const { served, seen } = await recording(engine)
      const client = await RawClient.connect(served)
      client.write(bytes)
      client.end()
      const answers = (await client.rest()).toString('latin1')
      expect(seen).not.toContain('GET /evil')
      expect(answers).not.toContain('GET /evil')
      expect((await http(served, '/health')).status).toBe(200)
    })
  }

  const malformed: Record<string, string> = {
    'a field without a name': request('POST', '/1', ': x', `Content-Length: ${evil.length}`),
    'a field without a name, and chunks': request('POST', '/1', ': x', 'Transfer-Encoding: chunked'),
    'a CR within a field': request('GET', '/1', 'X-Field: a\rContent-Length: 5'),
    'a CR at the end of a field': request('GET', '/1', 'X-Field: a\r'),
    'a CR in the request line': request('GET', '/1\r'),
  }
  for (const [what, head] of Object.entries(malformed)) {
    test(`because of ${what} is answered with 400, and what follows is never looked at`, async () => {
      const { served, seen } = await recording(engine)
      const client = await RawClient.connect(served)
      client.write(head)
      expect((await client.response()).status).toBe(400)
      client.write(evil)
      await client.closed()
      expect(seen).toEqual([])
    })
  }
})
