/** HTTP routes: what a handler gets, and what its Response becomes on the wire. */
import { expect, test } from 'vitest'
import type { ServerRequest } from '../../src/index.js'
import { Client } from '../support/client.js'
import { describeEngines } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { get, withRoutes } from '../support/routes.js'
import { Deferred, Queue, within } from '../support/waiting.js'

describeEngines('routes', (engine) => {
  test('get answers GET on its path with status, status text, headers and body', async () => {
    const served = await withRoutes(engine, (server) =>
      server.get(
        '/hello',
        () => new Response('Hello, wörld', { status: 201, statusText: 'Made', headers: { 'X-Color': 'green' } }),
      ),
    )
    const answer = await http(served, '/hello')
    expect(answer).toMatchObject({ status: 201, statusText: 'Made' })
    expect(answer.headers).toMatchObject({
      'x-color': 'green',
      'content-type': 'text/plain;charset=UTF-8',
      'content-length': '13',
    })
    expect(answer.body.toString()).toBe('Hello, wörld')
  })

  test('the handler sees the method, the address, the path, the query and the headers', async () => {
    const seen = new Queue<ServerRequest>()
    const served = await withRoutes(engine, (server) =>
      server.get('/a%20b/c', (request) => {
        seen.push(request)
        return new Response()
      }),
    )
    await http(served, '/a%20b/c?x=1&y=two%20words&x=3', { headers: { 'X-Mixed-Case': 'Kept As Is', Host: 'example.test:81' } })
    const request = await seen.next('the request')
    expect(request).toMatchObject({
      method: 'GET',
      url: 'http://example.test:81/a%20b/c?x=1&y=two%20words&x=3',
      path: '/a%20b/c',
      remoteAddress: '127.0.0.1',
    })
    expect(request.query.getAll('x')).toEqual(['1', '3'])
    expect(request.query.get('y')).toBe('two words')
    expect(request.headers.get('x-mixed-case')).toBe('Kept As Is')
  })

  test('the handler sees values of headers whole, whatever bytes they begin and end with', async () => {
    const seen = new Queue<ServerRequest>()
    const served = await withRoutes(engine, (server) =>
      server.get('/', (request) => {
        seen.push(request)
        return new Response()
      }),
    )
    const client = await RawClient.connect(served)
    client.write(Buffer.from(get('/', 'X-A: Jos\xe9', 'X-B:\xe9tudes', 'X-C: \xe9 ', 'X-D: \t a:b\t '), 'latin1'))
    const { headers } = await seen.next('the request')
    expect(['x-a', 'x-b', 'x-c', 'x-d'].map((name) => headers.get(name))).toEqual(['Jos\xe9', '\xe9tudes', '\xe9', 'a:b'])
  })

  test('the request stays valid after an await', async () => {
    const gate = new Deferred()
    const served = await withRoutes(engine, (server) =>
      server.get('/slow/:id', async (request) => {
        await gate.promise
        return new Response(`${request.method} ${request.params.id} ${request.headers.get('x-token')} ${request.query.get('q')}`)
      }),
    )
    const first = http(served, '/slow/1?q=a', { headers: { 'X-Token': 'one' } })
    const second = http(served, '/slow/2?q=b', { headers: { 'X-Token': 'two' } })
    await http(served, '/health')
    gate.resolve()
    expect((await first).body.toString()).toBe('GET 1 one a')
    expect((await second).body.toString()).toBe('GET 2 two b')
  })

  test('parameters are named in the path, and percent-decoded', async () => {
    const served = await withRoutes(engine, (server) =>
      server.get('/room/:room/user/:user', ({ params }) => Response.json({ room: params.room, user: params.user })),
    )
    const answer = await http(served, '/room/caf%C3%A9/user/a%2Fb')
    expect(answer.headers['content-type']).toBe('application/json')
    expect(JSON.parse(answer.body.toString())).toEqual({ room: 'café', user: 'a/b' })
    expect((await http(served, '/room//user/x')).status).toBe(404)
    expect((await http(served, '/room/x/user')).status).toBe(404)
  })

  test('a malformed percent escape in a parameter disturbs no other request', async () => {
    const served = await withRoutes(engine, (server) => server.get('/item/:id', ({ params }) => new Response(params.id)))
    expect((await http(served, '/item/%E0%A4%A')).status).toBeLessThan(500)
    expect((await http(served, '/item/7')).body.toString()).toBe('7')
  })

  test('a wildcard takes what more precise routes leave', async () => {
    const served = await withRoutes(engine, (server) =>
      server
        .get('/files/*', ({ path }) => new Response(`files ${path}`))
        .get('/files/index', () => new Response('index'))
        .get('/files/:name', ({ params }) => new Response(`name ${params.name}`)),
    )
    expect((await http(served, '/files/index')).body.toString()).toBe('index')
    expect((await http(served, '/files/x')).body.toString()).toBe('name x')
    expect((await http(served, '/files/x/y')).body.toString()).toBe('files /files/x/y')
  })

  test('any answers every method', async () => {
    const served = await withRoutes(engine, (server) => server.any('/any', ({ method }) => new Response(method)))
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      expect((await http(served, '/any', { method })).body.toString()).toBe(method)
    }
  })

  test('get does not answer POST', async () => {
    const served = await withRoutes(engine, (server) => server.get('/only-get', () => new Response('got')))
    const { status } = await http(served, '/only-get', { method: 'POST' })
    expect([404, 405]).toContain(status)
  })

  test('HEAD gives the headers of GET, its length, and no body', async () => {
    const served = await withRoutes(engine, (server) =>
      server.get('/page', () => new Response('12345', { headers: { 'X-Page': 'yes' } })),
    )
    const client = await RawClient.connect(served)
    client.write('HEAD /page HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const head = await client.response({ head: true })
    expect(head.status).toBe(200)
    expect(head.header('content-length')).toBe('5')
    expect(head.header('x-page')).toBe('yes')
    client.write(get('/page'))
    // Had HEAD sent a body, this would not be in step.
    expect((await client.response()).body.toString()).toBe('12345')
  })

  test('a path without a route is 404', async () => {
    const served = await withRoutes(engine, (server) => server.get('/there', () => new Response()))
    expect((await http(served, '/not-there')).status).toBe(404)
    expect((await http(served, '/there/')).status).toBe(404)
    expect((await http(served, '/there?with=query')).status).toBe(200)
  })

  test('every Set-Cookie stays a field of its own', async () => {
    const headers = new Headers([
      ['Set-Cookie', 'a=1; Path=/'],
      ['Set-Cookie', 'b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT'],
    ])
    const served = await withRoutes(engine, (server) => server.get('/cookies', () => new Response('', { headers })))
    const answer = await http(served, '/cookies')
    expect(answer.headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT'])
  })

  test('headers that speak of the connection, or of trailers, are left out', async () => {
    const headers = { Connection: 'X-Own', 'Keep-Alive': 'timeout=1', Trailer: 'X-Sum', 'X-Own': 'stays' }
    const stream = () => ReadableStream.from([new TextEncoder().encode('streamed')])
    const served = await withRoutes(engine, (server) =>
      server.get('/whole', () => new Response('whole', { headers })).get('/streamed', () => new Response(stream(), { headers })),
    )
    const client = await RawClient.connect(served)
    for (const path of ['/whole', '/streamed']) {
      client.write(get(path))
      const answer = await client.response()
      expect([answer.status, answer.header('trailer'), answer.header('x-own')]).toEqual([200, undefined, 'stays'])
      expect(answer.header('connection') ?? '').not.toContain('X-Own')
      expect(answer.header('keep-alive') ?? '').not.toBe('timeout=1')
    }
  })

  test('a binary body arrives byte for byte', async () => {
    const bytes = Buffer.from(Array.from({ length: 1024 }, (_, index) => index & 255))
    const served = await withRoutes(engine, (server) => server.get('/bytes', () => new Response(bytes)))
    expect((await http(served, '/bytes')).body).toEqual(bytes)
  })

  test('a streamed body arrives whole', async () => {
    const parts = ['one ', 'two ', 'three']
    const stream = () => ReadableStream.from(parts.map((part) => new TextEncoder().encode(part)))
    const served = await withRoutes(engine, (server) => server.get('/stream', () => new Response(stream())))
    expect((await http(served, '/stream')).body.toString()).toBe('one two three')
  })

  test('answers without a body have none', async () => {
    const served = await withRoutes(engine, (server) =>
      server
        .get('/204', () => new Response(null, { status: 204 }))
        .get('/304', () => new Response(null, { status: 304, headers: { ETag: '"1"' } }))
        .get('/200', () => new Response()),
    )
    const client = await RawClient.connect(served)
    for (const status of [204, 304, 200]) {
      client.write(get(`/${status}`))
      const answer = await client.response({ head: status !== 200 })
      expect(answer.status).toBe(status)
      expect(answer.body.length).toBe(0)
    }
    client.write(get('/health'))
    expect((await client.response()).body.toString()).toBe('{"status":"healthy"}')
  })

  test('a header value cannot add a header', async () => {
    // Response itself refuses line breaks; an address that is reflected is the usual way in.
    const served = await withRoutes(
      engine,
      (server) =>
        server.get('/go', ({ query }) => new Response(null, { status: 302, headers: { Location: query.get('to') ?? '/' } })),
      { onError: () => {} },
    )
    const answer = await http(served, '/go?to=/x%0d%0aSet-Cookie:%20evil=1')
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.status).toBe(500)
  })
})

describeEngines('handlers that fail', (engine) => {
  const failure = new Error('the handler failed')
  const kinds: Record<string, () => Response | Promise<Response>> = {
    throws: () => {
      throw failure
    },
    rejects: async () => Promise.reject(failure),
  }
  for (const [kind, handler] of Object.entries(kinds)) {
    test(`one that ${kind} gives 500 without the message, and the error to onError`, async () => {
      const errors = new Queue<Error>()
      const served = await withRoutes(engine, (server) => server.get('/fails', handler), {
        onError: (error) => errors.push(error),
      })
      const client = await RawClient.connect(served)
      client.write(get('/fails'))
      const answer = await client.response()
      expect(answer.status).toBe(500)
      expect(answer.body.toString()).not.toContain(failure.message)
      expect(await errors.next('onError')).toBe(failure)
      client.write(get('/health'))
      expect((await client.response()).status).toBe(200)
    })
  }

  test('one whose body fails midway gives 500, and the error to onError', async () => {
    const errors = new Queue<Error>()
    const body = () =>
      new ReadableStream({
        pull: (controller) => controller.error(failure),
      })
    const served = await withRoutes(engine, (server) => server.get('/fails', () => new Response(body())), {
      onError: (error) => errors.push(error),
    })
    expect((await http(served, '/fails')).status).toBe(500)
    expect(await errors.next('onError')).toBe(failure)
  })

  test('one that gives no Response gives 500, and an error that says so', async () => {
    const errors = new Queue<Error>()
    // The cast lets through what TypeScript would refuse and JavaScript would not.
    const served = await withRoutes(engine, (server) => server.get('/nothing', () => undefined as unknown as Response), {
      onError: (error) => errors.push(error),
    })
    expect((await http(served, '/nothing')).status).toBe(500)
    expect(String(await errors.next('onError'))).toContain('Response')
  })

  test('a Response that is given twice fails the second time only', async () => {
    const errors = new Queue<Error>()
    const response = new Response('once')
    const served = await withRoutes(engine, (server) => server.get('/again', () => response), {
      onError: (error) => errors.push(error),
    })
    expect((await http(served, '/again')).body.toString()).toBe('once')
    expect((await http(served, '/again')).status).toBe(500)
    expect(await errors.next('onError')).toBeInstanceOf(Error)
  })
})

describeEngines('connections', (engine) => {
  test('one serves several requests, one after the other', async () => {
    const served = await withRoutes(engine, (server) => server.get('/n/:n', ({ params }) => new Response(params.n)))
    const client = await RawClient.connect(served)
    for (const n of ['1', '2', '3']) {
      client.write(get(`/n/${n}`))
      const answer = await client.response()
      expect(answer.body.toString()).toBe(n)
      expect(answer.header('connection')?.toLowerCase()).not.toBe('close')
    }
  })

  test('"Connection: close" closes it after the answer', async () => {
    const served = await withRoutes(engine, () => {})
    const client = await RawClient.connect(served)
    client.write(get('/health', 'Connection: close'))
    expect((await client.response()).status).toBe(200)
    await client.closed()
  })

  test('a request body that its handler does not read does not get in the way of the next request', async () => {
    const served = await withRoutes(engine, (server) => server.any('/any', ({ method }) => new Response(method)))
    const client = await RawClient.connect(served)
    const body = 'x'.repeat(100_000)
    client.write(`POST /any HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    expect((await client.response()).body.toString()).toBe('POST')
    client.write('PUT /any HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n')
    expect((await client.response()).body.toString()).toBe('PUT')
    client.write(get('/any'))
    expect((await client.response()).body.toString()).toBe('GET')
  })

  test('a request that comes byte by byte is understood', async () => {
    const served = await withRoutes(engine, () => {})
    const client = await RawClient.connect(served)
    for (const byte of get('/health')) {
      client.write(byte)
      await client.flushed()
    }
    expect((await client.response()).body.toString()).toBe('{"status":"healthy"}')
  })

  test('5 MiB reach a client that reads slowly', async () => {
    const body = Buffer.alloc(5 * 1024 * 1024, 'slow reader ')
    const served = await withRoutes(engine, (server) => server.get('/large', () => new Response(body)))
    const client = await RawClient.connect(served)
    client.pause()
    client.write(get('/large'))
    await http(served, '/health')
    let turns = 0
    client.socket.on('data', () => {
      client.pause()
      turns++
      setImmediate(() => client.resume())
    })
    client.resume()
    const answer = await client.response()
    expect(answer.body.equals(body)).toBe(true)
    expect(turns).toBeGreaterThan(1)
    client.write(get('/health'))
    expect((await client.response()).status).toBe(200)
  })

  test('the signal aborts when the client leaves, and a late response does no harm', async () => {
    const requests = new Queue<ServerRequest>()
    const gate = new Deferred()
    const answered = new Deferred()
    const served = await withRoutes(engine, (server) =>
      server.get('/wait', async (request) => {
        requests.push(request)
        await gate.promise
        setImmediate(() => answered.resolve())
        return new Response('too late')
      }),
    )
    const client = await RawClient.connect(served)
    client.write(get('/wait'))
    const { signal } = await requests.next('the request')
    expect(signal.aborted).toBe(false)
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
    client.vanish()
    await within(aborted, 'the abort signal')
    gate.resolve()
    await within(answered.promise, 'the late answer')
    expect((await http(served, '/health')).status).toBe(200)
  })

  test('terminate cuts the connection, before and in the middle of a response, and does nothing later', async () => {
    const order = new Queue<string>()
    const served = await withRoutes(engine, (server) => {
      server.get('/at-once', (request) => {
        request.signal.addEventListener('abort', () => order.push('aborted'))
        request.terminate()
        order.push('returned')
        return new Response('thrown away')
      })
      server.get('/begun', (request) => {
        const body = new ReadableStream({
          start: (controller) => controller.enqueue(Buffer.from('a part')),
          pull: () => request.terminate(),
        })
        return new Response(body)
      })
      server.post('/body', async (request) => {
        request.terminate()
        await request.text().catch((error) => order.push(error.name))
        return new Response('thrown away')
      })
      server.get('/late', (request) => {
        setImmediate(() => order.push(`late ${request.terminate()}`))
        return new Response('whole')
      })
    })
    const cut = await RawClient.connect(served)
    cut.write(get('/at-once'))
    expect(String(await cut.rest())).toBe('')
    expect(await order.take(2, 'the order')).toEqual(['aborted', 'returned'])
    const begun = await RawClient.connect(served)
    begun.write(get('/begun'))
    expect(String(await begun.rest())).not.toMatch(/\r\n0\r\n\r\n$/)
    const body = await RawClient.connect(served)
    body.write('POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc')
    expect(String(await body.rest())).toBe('')
    expect(await order.next('the error of the body')).toBe('AbortError')
    const late = await RawClient.connect(served)
    late.write(get('/late'))
    expect(String((await late.response()).body)).toBe('whole')
    expect(await order.next('the late call')).toBe('late undefined')
    late.write(get('/health'))
    expect((await late.response()).status).toBe(200)
  })

  test('the signal of a request that was answered stays quiet', async () => {
    const requests = new Queue<ServerRequest>()
    const served = await withRoutes(engine, (server) =>
      server.get('/quick', (request) => {
        requests.push(request)
        return new Response('done')
      }),
    )
    const client = await RawClient.connect(served)
    client.write(get('/quick'))
    await client.response()
    const { signal } = await requests.next('the request')
    client.vanish()
    await http(served, '/health')
    expect(signal.aborted).toBe(false)
  })

  test('a client that leaves in the middle of a request disturbs no other client', async () => {
    const served = await withRoutes(engine, () => {})
    for (const part of ['G', 'GET /health HTTP/1.1\r\nHo', 'POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123']) {
      const client = await RawClient.connect(served)
      client.write(part)
      await client.flushed()
      client.reset()
    }
    expect((await http(served, '/health')).status).toBe(200)
  })

  const malformed: Record<string, string | Buffer> = {
    'what is not HTTP': 'hello server\r\n\r\n',
    'binary noise': Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 0, 1, 2, 3, 4, 13, 10, 13, 10]),
    'a header without a colon': 'GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n',
    'a header without a name': 'GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n',
    'a header with half a line break': 'GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n',
    'a length that is not a number': 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n',
    'headers of 1 MiB': `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(1024 * 1024)}\r\n\r\n`,
  }
  for (const [what, bytes] of Object.entries(malformed)) {
    test(`${what} ends the connection with at most an error response, and disturbs no other client`, async () => {
      const served = await withRoutes(engine, () => {})
      const witness = await Client.open(served, '/socket')
      const client = await RawClient.connect(served)
      client.write(bytes)
      const answer = (await client.rest()).toString('latin1')
      if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 (4\d\d|505) /)
      await client.closed()
      expect((await http(served, '/health')).status).toBe(200)
      expect(witness.socket.readyState).toBe(witness.socket.OPEN)
    })
  }

  test('TLS serves the same', async () => {
    const served = await withRoutes(engine, (server) => server.get('/where', ({ url }) => new Response(url)), { tls: true })
    const answer = await http(served, '/where?q=1', { headers: { Host: 'localhost' } })
    expect(answer.body.toString()).toBe('https://localhost/where?q=1')
  })
})

describeEngines('health', (engine) => {
  for (const tls of [false, true]) {
    test(`is answered by default, exactly (${tls ? 'TLS' : 'plain'})`, async () => {
      const served = await withRoutes(engine, () => {}, tls ? { tls: true } : {})
      const answer = await http(served, '/health')
      expect(answer.status).toBe(200)
      expect(answer.headers['content-type']).toBe('application/json')
      expect(answer.body.toString()).toBe('{"status":"healthy"}')
    })
  }

  test('can be elsewhere', async () => {
    const served = await withRoutes(engine, () => {}, { health: '/alive' })
    expect((await http(served, '/alive')).body.toString()).toBe('{"status":"healthy"}')
    expect((await http(served, '/health')).status).toBe(404)
  })

  test('can be turned off', async () => {
    const served = await withRoutes(engine, () => {}, { health: false })
    expect((await http(served, '/health')).status).toBe(404)
  })

  test('is answered although a wildcard would take the path', async () => {
    const served = await withRoutes(engine, (server) => server.any('/*', () => new Response('everything else')))
    expect((await http(served, '/health')).body.toString()).toBe('{"status":"healthy"}')
    expect((await http(served, '/other')).body.toString()).toBe('everything else')
  })

  test('says 503 and "closing" on connections that are open while the server closes', async () => {
    const served = await withRoutes(engine, () => {})
    const holdout = await RawClient.open(served, { path: '/socket' }) // never answers the Close frame
    const half = await RawClient.connect(served)
    half.write('GET /health HTTP/1.1\r\nHost: loc')
    const kept = await RawClient.connect(served)
    kept.write(get('/health'))
    expect((await kept.response()).status).toBe(200)
    const closing = served.server.close({ timeout: 2000 })
    await holdout.frame('the Close frame')
    half.write('alhost\r\n\r\n')
    const answer = await half.response()
    expect(answer.status).toBe(503)
    expect(answer.header('content-type')).toBe('application/json')
    expect(answer.body.toString()).toBe('{"status":"closing"}')
    holdout.vanish()
    await within(closing, 'close')
  })
})
