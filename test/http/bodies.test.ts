/** Bodies of requests: read in every way, refused, abandoned, and what comes behind them. */
import { expect, test } from 'vitest'
import type { ServerRequest } from '../../src/index.js'
import { describeEngines } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { type Routes, request, watched, withRoutes } from '../support/routes.js'
import { Deferred, Queue, within } from '../support/waiting.js'

const post = (path: string, body: string, ...headers: string[]): string =>
  request('POST', path, `Content-Length: ${Buffer.byteLength(body)}`, ...headers) + body
const chunked = (path: string, ...chunks: string[]): string =>
  `${request('POST', path, 'Transfer-Encoding: chunked')}${chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('')}0\r\n\r\n`

const echo: Routes = (server) => server.any('/echo', async (incoming) => new Response(await incoming.text()))

/** Runs `body` of a request until it is done, and gives what it rejected with. */
const failureOf = async (reading: Promise<unknown>): Promise<unknown> => {
  try {
    await reading
  } catch (error) {
    return error
  }
  throw new Error('reading did not fail')
}

describeEngines('a request body', (engine) => {
  test('is read as text, JSON, bytes, a form, or a stream', async () => {
    const { served, errors } = await watched(engine, (server) =>
      server
        .post('/text', async (incoming) => new Response(await incoming.text()))
        .post('/json', async (incoming) => Response.json((await incoming.json<{ a: number }>()).a + 1))
        .post('/bytes', async (incoming) => Response.json([...(await incoming.bytes())]))
        .post('/form', async (incoming) => Response.json(Object.fromEntries(await incoming.formData())))
        .post('/stream', async ({ body }) => {
          let size = 0
          for await (const chunk of body ?? []) size += chunk.byteLength
          return Response.json(size)
        }),
    )
    const answer = async (path: string, body: string | Uint8Array | FormData | URLSearchParams) =>
      (await fetch(served.httpUrl(path), { method: 'POST', body })).text()
    expect(await answer('/text', 'wörld')).toBe('wörld')
    expect(await answer('/json', '{"a":1}')).toBe('2')
    expect(await answer('/bytes', new Uint8Array([0, 255, 7]))).toBe('[0,255,7]')
    expect(await answer('/form', new URLSearchParams({ a: 'b c' }))).toBe('{"a":"b c"}')
    const form = new FormData()
    form.set('field', 'väl')
    expect(await answer('/form', form)).toBe('{"field":"väl"}')
    expect(await answer('/stream', new Uint8Array(300_000))).toBe('300000')
    expect(errors).toEqual([])
  })

  test('is null when there is none, and reads as empty', async () => {
    const served = await withRoutes(engine, (server) =>
      server.any('/body', async (incoming) => Response.json([incoming.body === null, await incoming.text()])),
    )
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      expect((await http(served, '/body', { method })).body.toString()).toBe('[true,""]')
    }
    const client = await RawClient.connect(served)
    client.write(post('/body', ''))
    expect((await client.response()).body.toString()).toBe('[true,""]')
    client.write(chunked('/body'))
    expect((await client.response()).body.toString()).toBe('[false,""]')
  })

  test('of GET is thrown away', async () => {
    const served = await withRoutes(engine, (server) => server.get('/', ({ body }) => Response.json(body)))
    const client = await RawClient.connect(served)
    for (let n = 0; n < 2; n++) {
      client.write(request('GET', '/', 'Content-Length: 100000'), 'x'.repeat(100_000))
      expect((await client.response()).body.toString()).toBe('null')
    }
  })

  test.each(['text', 'json', 'bytes', 'arrayBuffer'] as const)('is read once: %s rejects the second time', async (method) => {
    const served = await withRoutes(engine, (server) =>
      server.post('/', async (incoming) => {
        await incoming.text()
        expect(incoming.bodyUsed).toBe(true)
        return new Response((await failureOf(incoming[method]())) instanceof TypeError ? 'TypeError' : 'something else')
      }),
    )
    expect((await http(served, '/', { method: 'POST', body: 'once' })).body.toString()).toBe('TypeError')
  })

  test('that is no JSON rejects, and the client gets 500', async () => {
    const { served, errors } = await watched(engine, (server) => server.post('/', async (r) => Response.json(await r.json())))
    expect((await http(served, '/', { method: 'POST', body: '{' })).status).toBe(500)
    expect(errors).toEqual([expect.any(SyntaxError)])
  })

  test('can be read after an await, however it comes', async () => {
    const gate = new Deferred()
    const started = new Queue<true>()
    const served = await withRoutes(engine, (server) =>
      server.post('/', async (incoming) => {
        started.push(true)
        await gate.promise
        return new Response(await incoming.text())
      }),
    )
    const client = await RawClient.connect(served)
    client.write(request('POST', '/', 'Content-Length: 10'), '12345')
    await started.next('the handler')
    client.write('67890')
    await client.flushed()
    gate.resolve()
    expect((await client.response()).body.toString()).toBe('1234567890')
  })

  test('can be read after the answer when it is short, or by who reads already', async () => {
    const read = new Queue<string>()
    const served = await withRoutes(engine, (server) =>
      server
        .post('/whole', (incoming) => {
          setTimeout(() => void incoming.text().then((text) => read.push(text)), 20)
          return new Response('later')
        })
        .post('/reading', (incoming) => {
          void incoming.text().then((text) => read.push(text))
          return new Response('meanwhile')
        }),
    )
    const client = await RawClient.connect(served)
    client.write(post('/whole', 'all of it'))
    expect((await client.response()).body.toString()).toBe('later')
    expect(await read.next('the body')).toBe('all of it')
    client.write(request('POST', '/reading', 'Content-Length: 9'), 'all ')
    expect((await client.response()).body.toString()).toBe('meanwhile')
    client.write('of it')
    expect(await read.next('the body')).toBe('all of it')
    // The connection goes on.
    client.write(post('/whole', 'and more'))
    expect((await client.response()).body.toString()).toBe('later')
    expect(await read.next('the body')).toBe('and more')
  })

  test('that its handler does not read is thrown away, and the connection goes on', async () => {
    const seen = new Queue<ServerRequest>()
    const served = await withRoutes(engine, (server) =>
      server.post('/ignore', (incoming) => {
        seen.push(incoming)
        return new Response('ignored')
      }),
    )
    const client = await RawClient.connect(served)
    for (const body of ['x'.repeat(10), 'x'.repeat(900_000)]) {
      client.write(post('/ignore', body), post('/missing', body), post('/ignore', body))
      expect((await client.response()).body.toString()).toBe('ignored')
      expect((await client.response()).status).toBe(404)
      expect((await client.response()).body.toString()).toBe('ignored')
    }
    // What is longer, and was not being read when it was answered, cannot be read any more.
    client.write(request('POST', '/ignore', 'Content-Length: 100000'), 'x')
    await client.response()
    for (let n = 0; n < 4; n++) await seen.next('a request')
    const last = await seen.next('the last request')
    client.write('x'.repeat(99_999), post('/ignore', ''))
    expect((await client.response()).body.toString()).toBe('ignored')
    expect(await failureOf(last.text())).toBeInstanceOf(TypeError)
  })

  test('comes in chunks with extensions and trailers, cut anywhere', async () => {
    const served = await withRoutes(engine, echo)
    const bytes =
      request('POST', '/echo', 'Transfer-Encoding: Chunked') +
      '5;name=value;other="x"\r\nhello\r\n006;x\r\n world\r\n1\r\n!\r\n0;last\r\nTrailer: yes\r\nAnother: one\r\n\r\n' +
      post('/echo', 'next')
    for (const step of [1, 2, 7, bytes.length]) {
      const client = await RawClient.connect(served)
      for (let at = 0; at < bytes.length; at += step) {
        client.write(bytes.slice(at, at + step))
        if (step < 7 && at % 16 === 0) await client.flushed()
      }
      expect((await client.response()).body.toString()).toBe('hello world!')
      expect((await client.response()).body.toString()).toBe('next')
    }
  })

  test('keeps requests behind it waiting, chunked or not, and they are answered in order', async () => {
    const served = await withRoutes(engine, (server) =>
      server.any('/*', async (incoming) => new Response(`${incoming.path} ${await incoming.text()}`)),
    )
    const client = await RawClient.connect(served)
    client.write(chunked('/1', 'a', 'bc'), post('/2', 'def'), request('GET', '/3'), chunked('/4'), post('/5', 'g'))
    const bodies: string[] = []
    for (let n = 0; n < 5; n++) bodies.push((await client.response()).body.toString())
    expect(bodies).toEqual(['/1 abc', '/2 def', '/3 ', '/4 ', '/5 g'])
  })

  test('of 16 MiB comes through unharmed', async () => {
    const served = await withRoutes(
      engine,
      (server) => server.post('/', async (r) => new Response(await r.bytes())).post('/pipe', ({ body }) => new Response(body)),
      { maxRequestBodySize: 2 ** 24 },
    )
    const body = Buffer.alloc(2 ** 24)
    for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(at, at)
    for (const path of ['/', '/pipe']) {
      const answer = await http(served, path, { method: 'POST', body })
      expect([answer.status, answer.body.equals(body)]).toEqual([200, true])
    }
  })
})

describeEngines('maxRequestBodySize', (engine) => {
  const limited = (more: Routes = () => {}) =>
    watched(
      engine,
      (server) => {
        echo(server)
        more(server)
      },
      { maxRequestBodySize: 1000 },
    )

  test('refuses a longer body by its Content-Length, before the handler and before the body', async () => {
    const calls = new Queue<true>()
    const { served, errors } = await limited((server) =>
      server.post('/never', () => {
        calls.push(true)
        return new Response()
      }),
    )
    for (const path of ['/never', '/missing']) {
      const client = await RawClient.connect(served)
      client.write(request('POST', path, 'Content-Length: 1001'))
      const answer = await client.response()
      expect([answer.status, answer.header('connection')]).toEqual([413, 'close'])
    }
    expect(calls.size).toBe(0)
    expect(errors).toEqual([])
    expect((await http(served, '/echo', { method: 'POST', body: 'x'.repeat(1000) })).status).toBe(200)
  })

  test('is told to HEAD without a body', async () => {
    const { served } = await limited()
    const client = await RawClient.connect(served)
    client.write(request('HEAD', '/echo', 'Content-Length: 1001'))
    const answer = await client.response({ head: true })
    expect([answer.status, answer.header('connection')]).toEqual([413, 'close'])
    client.end()
    expect((await client.rest()).toString()).toBe('')
  })

  test('can be 0', async () => {
    const { served } = await watched(engine, echo, { maxRequestBodySize: 0 })
    expect((await http(served, '/echo', { method: 'POST', body: '' })).status).toBe(200)
    expect((await http(served, '/echo', { method: 'POST', body: 'x' })).status).toBe(413)
  })

  test('a client that sends all of a refused body gets to read the answer', async () => {
    const { served } = await limited()
    const answer = await http(served, '/echo', { method: 'POST', body: Buffer.alloc(5_000_000) })
    expect(answer.status).toBe(413)
  })

  test('rejects reading a chunked body past it, and answers 413', async () => {
    const { served, errors } = await limited()
    const client = await RawClient.connect(served)
    client.write(request('POST', '/echo', 'Transfer-Encoding: chunked'), '3e8\r\n', 'x'.repeat(1000), '\r\n')
    client.write('1\r\nx\r\n')
    const answer = await client.response()
    expect([answer.status, answer.header('connection')]).toEqual([413, 'close'])
    expect(errors).toEqual([])
  })

  test('tells a handler that catches it by its code, and lets it answer otherwise', async () => {
    const { served, errors } = await limited((server) =>
      server.post('/catch', async (incoming) => {
        const error = await failureOf(incoming.text())
        return Response.json(error instanceof Error && 'code' in error ? error.code : error, { status: 422 })
      }),
    )
    const client = await RawClient.connect(served)
    client.write(request('POST', '/catch', 'Transfer-Encoding: chunked'), `7d0\r\n${'x'.repeat(2000)}\r\n`)
    const answer = await client.response()
    expect([answer.status, answer.body.toString()]).toEqual([422, '"ERR_BODY_TOO_LARGE"'])
    expect(answer.header('connection')).toBe('close')
    expect(errors).toEqual([])
  })

  test('cuts a client that goes on after the answer', async () => {
    const { served } = await limited((server) => server.post('/now', () => new Response('early')))
    const client = await RawClient.connect(served)
    client.write(request('POST', '/now', 'Transfer-Encoding: chunked'), '5\r\nhello\r\n')
    expect((await client.response()).body.toString()).toBe('early')
    client.write(`7d0\r\n${'x'.repeat(2000)}\r\n`)
    await client.rest()
    expect((await http(served, '/health')).status).toBe(200)
  })
})

describeEngines('Expect: 100-continue', (engine) => {
  test('is answered when the handler begins to read', async () => {
    const gate = new Deferred()
    const started = new Queue<true>()
    const served = await withRoutes(engine, (server) =>
      server.post('/', async (incoming) => {
        started.push(true)
        await gate.promise
        return new Response(await incoming.text())
      }),
    )
    const client = await RawClient.connect(served)
    client.write(request('POST', '/', 'Content-Length: 5', 'Expect: 100-continue'))
    await started.next('the handler')
    gate.resolve()
    expect((await client.response()).status).toBe(100)
    client.write('hello')
    expect((await client.response()).body.toString()).toBe('hello')
    client.write(post('/', 'again'))
    expect((await client.response()).body.toString()).toBe('again')
  })

  test('is not sent for a body that the handler does not read, and the connection ends', async () => {
    const served = await withRoutes(engine, (server) => server.post('/', () => new Response('no', { status: 403 })), {
      maxRequestBodySize: 1000,
    })
    for (const [path, length, status] of [
      ['/', 5, 403],
      ['/', 5000, 413],
      ['/missing', 5, 404],
    ] as const) {
      const client = await RawClient.connect(served)
      client.write(request('POST', path, `Content-Length: ${length}`, 'Expect: 100-continue'))
      const answer = await client.response()
      expect([answer.status, answer.header('connection')]).toEqual([status, 'close'])
    }
  })

  test('is answered once where a body is wanted, and else not, however the head comes', async () => {
    const served = await withRoutes(engine, (server) => {
      echo(server)
      server.post('/no', () => new Response('no', { status: 403 }))
    })
    const expecting = 'Expect: 100-continue'
    for (const [head, body, statuses] of [
      [request('POST', '/echo', 'Content-Length: 5', expecting), 'hello', [100, 200]],
      [request('POST', '/no', 'Content-Length: 5', expecting), '', [403]],
      [request('GET', '/echo', expecting), '', [200]],
      [handshake({ path: '/socket', headers: [expecting] }), '', [101]],
    ] as const) {
      for (const step of [1, 40, head.length]) {
        const client = await RawClient.connect(served)
        for (let at = 0; at < head.length; at += step) {
          client.write(head.slice(at, at + step))
          await client.flushed()
        }
        const answers = [(await client.response()).status]
        client.write(body)
        while (answers.length < statuses.length) answers.push((await client.response()).status)
        expect(answers).toEqual(statuses)
      }
    }
  })

  test('does not wait for a client that does not', async () => {
    const served = await withRoutes(engine, echo)
    const client = await RawClient.connect(served)
    client.write(post('/echo', 'at once', 'Expect: 100-continue'))
    let answer = await client.response()
    if (answer.status === 100) answer = await client.response()
    expect(answer.body.toString()).toBe('at once')
  })
})

describeEngines('a slow reader of a body', (engine) => {
  test('stops the client, and costs no memory', async () => {
    const gate = new Deferred()
    const started = new Queue<ServerRequest>()
    const served = await withRoutes(
      engine,
      (server) =>
        server.post('/', async (incoming) => {
          started.push(incoming)
          await gate.promise
          let size = 0
          for await (const chunk of incoming.body ?? []) size += chunk.byteLength
          return Response.json(size)
        }),
      { maxRequestBodySize: 2 ** 30 },
    )
    const size = 100 * 2 ** 20
    const client = await RawClient.connect(served)
    client.write(request('POST', '/', `Content-Length: ${size}`))
    await started.next('the request')
    const before = process.memoryUsage.rss()
    const piece = Buffer.alloc(2 ** 20)
    let sent = 0
    // What the kernels and the server hold together; then nothing more is taken.
    while (client.socket.write(piece)) sent += piece.length
    sent += piece.length
    await expect(within(new Promise((resolve) => client.socket.once('drain', resolve)), 'a drain', 300)).rejects.toThrow()
    gate.resolve()
    while (sent < size) {
      if (!client.socket.write(piece)) await within(new Promise((resolve) => client.socket.once('drain', resolve)), 'a drain')
      sent += piece.length
    }
    const answer = await client.response()
    expect(answer.body.toString()).toBe(String(size))
    expect(process.memoryUsage.rss() - before).toBeLessThan(80 * 2 ** 20)
  })
})

/** Chunks of one byte each. */
const tiny = (count: number): Buffer => Buffer.from('1\r\nx\r\n'.repeat(count))

describeEngines('a body in chunks of one byte', (engine) => {
  test('waits for its reader in few pieces, and stops the client', async () => {
    const gate = new Deferred()
    const started = new Queue<true>()
    const served = await withRoutes(engine, (server) =>
      server.post('/', async ({ body }) => {
        started.push(true)
        await gate.promise
        const first: number[] = []
        let size = 0
        for await (const chunk of body ?? []) {
          // What comes later is given as it comes.
          if (size < 60_000) first.push(chunk.length)
          size += chunk.length
        }
        return Response.json([first.length, size])
      }),
    )
    const client = await RawClient.connect(served)
    client.write(request('POST', '/', 'Transfer-Encoding: chunked'), tiny(1_000_000))
    await started.next('the handler')
    // That the server takes no more tells no event; on a busy machine it gets there late.
    await expect(within(client.flushed(), 'all of it to be taken', 4000)).rejects.toThrow()
    gate.resolve()
    client.write('0\r\n\r\n')
    const [pieces, size] = JSON.parse((await client.response()).body.toString()) as [number, number]
    expect(size).toBe(1_000_000)
    expect(pieces).toBeLessThan(30)
  })

  test('reaches who waits for it at once', async () => {
    const read = new Queue<number>()
    const served = await withRoutes(engine, (server) =>
      server.post('/', async ({ body }) => {
        for await (const chunk of body ?? []) read.push(chunk.length)
        return new Response()
      }),
    )
    const client = await RawClient.connect(served)
    client.write(request('POST', '/', 'Transfer-Encoding: chunked'))
    for (let n = 0; n < 3; n++) {
      client.write(tiny(1))
      expect(await read.next('a byte')).toBe(1)
    }
    client.write('0\r\n\r\n')
    expect((await client.response()).status).toBe(200)
  })

  test('that was given stays as it is', async () => {
    const served = await withRoutes(engine, (server) =>
      server.post('/', async ({ body }) => {
        const kept: Uint8Array[] = []
        for await (const chunk of body ?? []) kept.push(chunk)
        return new Response(Buffer.concat(kept))
      }),
    )
    const client = await RawClient.connect(served)
    const pieces = Array.from({ length: 5000 }, (_, n) => `${n},`.padEnd(n % 50 === 0 ? 5000 : 0, '.'))
    client.write(chunked('/', ...pieces))
    expect((await client.response()).body.toString()).toBe(pieces.join(''))
  })
})

describeEngines('a client that goes away in its body', (engine) => {
  test.each(['vanish', 'reset'] as const)('aborts the signal and rejects the reading: %s', async (leave) => {
    const started = new Queue<AbortSignal>()
    const failed = new Queue<unknown>()
    const { served, errors } = await watched(engine, (server) =>
      server.post('/', async (incoming) => {
        const reading = incoming.text()
        started.push(incoming.signal)
        const error = await failureOf(reading)
        failed.push(error)
        throw error
      }),
    )
    for (const start of [
      request('POST', '/', 'Content-Length: 100'),
      `${request('POST', '/', 'Transfer-Encoding: chunked')}5\r\nhello\r\n`,
    ]) {
      const client = await RawClient.connect(served)
      client.write(start)
      const signal = await started.next('the handler')
      client[leave]()
      const error = await failed.next('the failure')
      expect([signal.aborted, error === signal.reason]).toEqual([true, true])
    }
    expect(errors).toEqual([])
    await within(served.server.close({ timeout: 60_000 }), 'close, which has nothing to wait for')
  })

  test('aborts the signal and rejects the reading after the answer', async () => {
    const failed = new Queue<boolean>()
    const served = await withRoutes(engine, (server) =>
      server.post('/', (incoming) => {
        const { signal } = incoming
        void failureOf(incoming.text()).then((error) => failed.push(signal.aborted && error === signal.reason))
        return new Response('early')
      }),
    )
    const client = await RawClient.connect(served)
    client.write(request('POST', '/', 'Content-Length: 100'), 'some')
    expect((await client.response()).body.toString()).toBe('early')
    client.vanish()
    expect(await failed.next('the failure')).toBe(true)
  })
})

describeEngines('a body with TLS', (engine) => {
  test('comes through in every size', async () => {
    const served = await withRoutes(
      engine,
      (server) => server.post('/', async (r) => new Response(await r.bytes())).post('/pipe', ({ body }) => new Response(body)),
      { tls: true, maxRequestBodySize: 2 ** 24 },
    )
    for (const size of [1, 20_000, 2 ** 23]) {
      const body = Buffer.alloc(size, 'abc')
      for (const path of ['/', '/pipe']) {
        const answer = await http(served, path, { method: 'POST', body })
        expect([answer.status, answer.body.equals(body)]).toEqual([200, true])
      }
    }
  })
})
