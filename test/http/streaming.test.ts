/**
 * Answers with bodies of every kind, streamed ones above all: how they are framed, how fast they go, and how
 * they end early.
 */
import { expect, test } from 'vitest'
import { describeEngines, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { get, watched, withRoutes } from '../support/routes.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

const encode = (text: string) => new TextEncoder().encode(text)

/** A body whose pieces are given from outside. */
class Tap {
  readonly cancelled = new Queue<unknown>()
  #controller!: ReadableStreamDefaultController<Uint8Array>
  readonly stream = new ReadableStream<Uint8Array>({
    start: (controller) => {
      this.#controller = controller
    },
    cancel: (reason) => this.cancelled.push(reason),
  })

  give(text: string): void {
    this.#controller.enqueue(encode(text))
  }
  end(): void {
    this.#controller.close()
  }
  fail(error: unknown): void {
    this.#controller.error(error)
  }
}

/** A body without end, and how often it was asked for more. */
class Endless {
  readonly cancelled = new Queue<unknown>()
  pulls = 0
  readonly stream = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      this.pulls += 1
      controller.enqueue(new Uint8Array(2 ** 16))
    },
    cancel: (reason) => this.cancelled.push(reason),
  })
}

describeEngines('the body of a Response', (engine) => {
  const kinds: Record<string, () => [body: string | Uint8Array | ArrayBuffer | URLSearchParams, expected: string]> = {
    'a string': () => ['wörld', 'wörld'],
    'an empty string': () => ['', ''],
    bytes: () => [encode('bytes'), 'bytes'],
    'an ArrayBuffer': () => [encode('buffer').buffer, 'buffer'],
    'a query': () => [new URLSearchParams({ a: 'b c' }), 'a=b+c'],
  }
  test.each(Object.keys(kinds))('that is %s is sent with its length', async (kind) => {
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(kinds[kind]?.()[0])))
    const answer = await http(served, '/')
    const expected = Buffer.from(kinds[kind]?.()[1] ?? '')
    expect(answer.headers['content-length']).toBe(String(expected.length))
    expect(answer.body).toEqual(expected)
  })

  test('may be a Blob, a form, an async generator, or a huge string', async () => {
    async function* generate() {
      for (const text of ['ge', 'ne', 'rated']) yield encode(text)
    }
    const form = new FormData()
    form.set('field', 'väl')
    const served = await withRoutes(engine, (server) =>
      server
        .get('/blob', () => new Response(new Blob(['a', 'blob'])))
        .get('/form', () => new Response(form))
        // Node's Response takes async iterables, which its types do not say.
        .get('/generator', () => new Response(generate() as unknown as ReadableStream))
        .get('/huge', () => new Response('x'.repeat(5_000_000))),
    )
    expect((await http(served, '/blob')).body.toString()).toBe('ablob')
    expect((await (await fetch(served.httpUrl('/form'))).formData()).get('field')).toBe('väl')
    expect((await http(served, '/generator')).body.toString()).toBe('generated')
    const huge = await http(served, '/huge')
    expect([huge.headers['content-length'], huge.body.length]).toEqual(['5000000', 5_000_000])
  })

  test('that comes piece by piece goes out piece by piece, in chunks, the head at once', async () => {
    const tap = new Tap()
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(tap.stream)))
    const answer = await within(fetch(served.httpUrl('/')), 'the head before any of the body')
    expect(answer.headers.get('transfer-encoding')).toBe('chunked')
    expect(answer.headers.get('content-length')).toBeNull()
    const reader = answer.body?.getReader()
    for (const text of ['first', 'second']) {
      tap.give(text)
      const piece = await within(reader?.read() ?? Promise.reject(), text)
      expect(new TextDecoder().decode(piece.value)).toBe(text)
    }
    tap.end()
    expect((await within(reader?.read() ?? Promise.reject(), 'the end')).done).toBe(true)
  })

  test('may turn out to be empty, however late', async () => {
    const tap = new Tap()
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(tap.stream)))
    const client = await RawClient.connect(served)
    client.write(get('/'), get('/health'))
    await turns(20)
    tap.end()
    expect((await client.response()).body.toString()).toBe('')
    expect((await client.response()).status).toBe(200)
  })

  test('may come from another implementation', async () => {
    const shape = (body: unknown) =>
      // What a polyfill's Response has in common with Node's.
      ({
        status: 200,
        statusText: '',
        headers: [['x-from', 'elsewhere']],
        bodyUsed: false,
        body,
        arrayBuffer: async () => encode('whole').buffer,
      }) as unknown as Response
    async function* strings() {
      yield 'it'
      yield encode('er')
      yield encode('able').buffer
    }
    const served = await withRoutes(engine, (server) =>
      server
        .get('/iterable', () => shape(strings()))
        .get('/stream', () => shape(new Response('stream').body))
        .get('/other', () => shape({}))
        .get('/none', () => shape(null)),
    )
    for (const [path, text] of [
      ['/iterable', 'iterable'],
      ['/stream', 'stream'],
      ['/other', 'whole'],
      ['/none', ''],
    ] as const) {
      const answer = await http(served, path)
      expect([answer.headers['x-from'], answer.body.toString()]).toEqual(['elsewhere', text])
    }
  })

  test.each([1, 3])('is measured by its memory, whatever its pieces say of their length: %i pieces', async (count) => {
    class Boastful extends Uint8Array {
      override get length(): number {
        return 1000
      }
      override get byteLength(): number {
        return 1000
      }
    }
    const served = await withRoutes(engine, (server) => {
      server.get('/', () => {
        const start = (controller: ReadableStreamDefaultController) => {
          for (let i = 0; i < count; i++) controller.enqueue(new Boastful(encode('ab')))
          controller.close()
        }
        return new Response(new ReadableStream({ start }))
      })
    })
    const { headers, body } = await http(served, '/')
    expect(body.toString()).toBe('ab'.repeat(count))
    expect(headers['content-length']).toBe(String(2 * count))
  })

  test('of other things than bytes is an error', async () => {
    const { served, errors } = await watched(engine, (server) =>
      // The cast lets through what TypeScript would refuse and JavaScript would not.
      server.get(
        '/',
        () => new Response(new ReadableStream<unknown>({ start: (c) => c.enqueue(5) }) as ReadableStream<Uint8Array>),
      ),
    )
    expect((await http(served, '/')).status).toBe(500)
    expect(errors).toEqual([expect.any(TypeError)])
  })
})

describeEngines('a streamed response', (engine) => {
  test('goes as fast as its client reads, and no faster', async () => {
    const endless = new Endless()
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(endless.stream)))
    const client = await RawClient.connect(served)
    client.pause()
    client.write(get('/'))
    // Until the kernels and the server hold all that they are willing to.
    let before = -1
    while (before !== endless.pulls) {
      before = endless.pulls
      await within(http(served, '/health'), 'a response to another client')
      await turns(50)
    }
    const bytes = endless.pulls * 2 ** 16
    expect(bytes).toBeLessThan(2 ** 25)
    let read = 0
    const more = new Promise<void>((resolve) => {
      client.socket.on('data', (chunk) => {
        read += chunk.length
        if (read > bytes + 2 ** 20) resolve()
      })
    })
    client.resume()
    await within(more, 'more than what was waiting')
    client.vanish()
    expect(await endless.cancelled.next('the cancellation')).toMatchObject({ name: 'AbortError' })
  })

  test('of 100 MB arrives whole', async () => {
    let left = 100
    const served = await withRoutes(engine, (server) =>
      server.get('/', () => {
        const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
          if (left-- > 0) controller.enqueue(new Uint8Array(1_000_000).fill(left))
          else controller.close()
        }
        return new Response(new ReadableStream({ pull }))
      }),
    )
    const answer = await fetch(served.httpUrl('/'))
    let size = 0
    let sum = 0
    for await (const chunk of answer.body ?? []) {
      sum += chunk[0] ?? 0
      size += chunk.byteLength
    }
    expect(size).toBe(100_000_000)
    expect(sum).toBeGreaterThan(0)
  })

  test.each(['vanish', 'reset'] as const)('is cancelled, and its signal aborted, when the client goes: %s', async (leave) => {
    const tap = new Tap()
    const signals = new Queue<AbortSignal>()
    const { served, errors } = await watched(engine, (server) =>
      server.get('/', ({ signal }) => {
        signals.push(signal)
        return new Response(tap.stream)
      }),
    )
    const client = await RawClient.connect(served)
    client.write(get('/'))
    const signal = await signals.next('the request')
    await turns(10)
    client[leave]()
    expect(await tap.cancelled.next('the cancellation')).toBe(signal.reason)
    expect(signal.aborted).toBe(true)
    expect(errors).toEqual([])
    await within(served.server.close({ timeout: 60_000 }), 'close, which has nothing to wait for')
  })

  test('is cancelled when the client had gone before it was there', async () => {
    const tap = new Tap()
    const gate = new Deferred()
    const signals = new Queue<AbortSignal>()
    const served = await withRoutes(engine, (server) =>
      server.get('/', async ({ signal }) => {
        signals.push(signal)
        await gate.promise
        return new Response(tap.stream)
      }),
    )
    const client = await RawClient.connect(served)
    client.write(get('/'))
    const signal = await signals.next('the request')
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
    client.vanish()
    await within(aborted, 'the signal')
    gate.resolve()
    await tap.cancelled.next('the cancellation')
  })

  test('that fails midway cuts the connection, so that the client does not take it for whole', async () => {
    const tap = new Tap()
    const { served, errors } = await watched(engine, (server) => server.get('/', () => new Response(tap.stream)))
    const answer = await fetch(served.httpUrl('/'))
    tap.give('some')
    const reader = answer.body?.getReader()
    await reader?.read()
    const error = new Error('the source failed')
    tap.fail(error)
    await expect(within(Promise.resolve(reader?.read()), 'the failure')).rejects.toThrow()
    expect(errors).toEqual([error])
    const raw = await RawClient.connect(served)
    raw.write(get('/health'))
    expect((await raw.response()).status).toBe(200)
  })

  test('that fails before its first piece gives 500', async () => {
    const { served, errors } = await watched(engine, (server) =>
      server.get('/', () => new Response(new ReadableStream({ start: (controller) => controller.error(new Error('at once')) }))),
    )
    expect((await http(served, '/')).status).toBe(500)
    expect(errors).toEqual([new Error('at once')])
  })

  test('to HEAD is cancelled, and leaves out the body', async () => {
    const endless = new Endless()
    const tap = new Tap()
    const served = await withRoutes(engine, (server) =>
      server
        .get('/endless', () => new Response(endless.stream))
        .get('/tap', () => new Response(tap.stream))
        .get('/known', () => new Response(null, { headers: { 'content-length': '123' } })),
    )
    const client = await RawClient.connect(served)
    const head = (path: string) => client.write(`HEAD ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    head('/endless')
    head('/tap')
    head('/known')
    client.write(get('/health'))
    for (const length of [undefined, undefined, '123']) {
      const answer = await client.response({ head: true })
      expect([answer.status, answer.header('content-length')]).toEqual([200, length])
    }
    expect((await client.response()).body.toString()).toContain('healthy')
    await endless.cancelled.next('the cancellation')
    await tap.cancelled.next('the cancellation')
  })

  test.each([204, 205, 304])('is cancelled for %s, which has no content', async (status) => {
    const tap = new Tap()
    const served = await withRoutes(engine, (server) =>
      server.get('/', () => {
        const response = new Response(tap.stream)
        Object.defineProperty(response, 'status', { value: status })
        return response
      }),
    )
    const client = await RawClient.connect(served)
    client.write(get('/'), get('/health'))
    const answer = await client.response({ head: true })
    expect([answer.status, answer.header('content-length')]).toEqual([status, status === 205 ? '0' : undefined])
    expect((await client.response()).status).toBe(200)
    await tap.cancelled.next('the cancellation')
  })

  test('keeps the requests behind it waiting', async () => {
    const tap = new Tap()
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(tap.stream)))
    const client = await RawClient.connect(served)
    client.write(get('/'), get('/health'))
    tap.give('a')
    await turns(10)
    tap.give('b')
    tap.end()
    expect((await client.response()).body.toString()).toBe('ab')
    expect((await client.response()).body.toString()).toContain('healthy')
  })

  test('is the last of a connection that its client wants to end', async () => {
    const tap = new Tap()
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(tap.stream)))
    const client = await RawClient.connect(served)
    client.write(get('/', 'Connection: close'))
    await turns(10)
    tap.give('x'.repeat(1_000_000))
    tap.end()
    const answer = await client.response()
    expect([answer.header('connection'), answer.body.length]).toEqual(['close', 1_000_000])
    expect((await client.rest()).length).toBe(0)
  })

  test('is waited for by close, until its timeout', async () => {
    const [quick, stuck] = [new Tap(), new Tap()]
    const served = await withRoutes(engine, (server) => server.get('/quick', () => new Response(quick.stream)))
    const answer = await fetch(served.httpUrl('/quick'))
    const closed = served.server.close({ timeout: 60_000 })
    quick.give('still ')
    await turns(10)
    quick.give('served')
    quick.end()
    expect(await answer.text()).toBe('still served')
    await within(closed, 'close')

    const other = await withRoutes(engine, (server) => server.get('/stuck', () => new Response(stuck.stream)))
    const started = await fetch(other.httpUrl('/stuck'))
    const reading = expect(started.text()).rejects.toThrow()
    await other.server.close({ timeout: 50 })
    await stuck.cancelled.next('the cancellation')
    await reading
  })

  test('with TLS goes as fast as its client reads', async () => {
    const endless = new Endless()
    const served = await withRoutes(engine, (server) => server.get('/', () => new Response(endless.stream)), { tls: true })
    const client = await RawClient.connect(served)
    client.write(get('/'))
    let read = 0
    await within(
      new Promise<void>((resolve) => {
        client.socket.on('data', (chunk) => {
          read += chunk.length
          if (read > 2 ** 24) resolve()
        })
      }),
      '16 MiB',
    )
    client.vanish()
    await endless.cancelled.next('the cancellation')
  })
})

describeEngines('a refused upgrade', (engine) => {
  test('may stream its answer', async () => {
    const tap = new Tap()
    const served = await serve(engine, { upgrade: () => new Response(tap.stream, { status: 401 }) }, { path: '/socket' })
    const client = await RawClient.connect(served)
    client.write(
      get(
        '/socket',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ),
    )
    await turns(10)
    tap.give('not ')
    await turns(10)
    tap.give('you')
    tap.end()
    const answer = await client.response()
    expect([answer.status, answer.body.toString()]).toEqual([401, 'not you'])
  })
})

describeEngines('methods', (engine) => {
  test('have routes of their own, and OPTIONS tells them', async () => {
    const answer = (name: string) => () => new Response(name)
    const served = await withRoutes(engine, (server) =>
      server
        .get('/all', answer('get'))
        .post('/all', answer('post'))
        .put('/all', answer('put'))
        .patch('/all', answer('patch'))
        .delete('/all', answer('delete'))
        .put('/put', answer('put'))
        .any('/any', ({ method }) => new Response(method)),
    )
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      expect((await http(served, '/all', { method })).body.toString()).toBe(method.toLowerCase())
    }
    const options = await http(served, '/all', { method: 'OPTIONS' })
    expect([options.status, options.headers.allow, options.headers['content-length']]).toEqual([
      204,
      'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
      undefined,
    ])
    expect((await http(served, '/put', { method: 'OPTIONS' })).headers.allow).toBe('PUT, OPTIONS')
    const refused = await http(served, '/put')
    expect([refused.status, refused.headers.allow]).toEqual([405, 'PUT, OPTIONS'])
    for (const method of ['OPTIONS', 'TRACE', 'PURGE']) {
      expect((await http(served, '/any', { method })).body.toString()).toBe(method)
    }
    expect((await http(served, '/missing', { method: 'OPTIONS' })).status).toBe(404)
  })
})
