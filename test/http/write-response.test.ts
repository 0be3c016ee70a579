/** `writeResponse`: a body that a function writes, with backpressure and without a stream. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import process from 'node:process'
import { expect, onTestFinished, test } from 'vitest'
import { type BodyWriter, DIAGNOSTICS_CHANNELS, NotSupportedError, OptionError, writeResponse } from '../../src/index.js'
import { describeEngines, listen, makeServer, type Served, type ServeOptions, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'
import { Queue, turns, within } from '../support/waiting.js'

type EngineName = 'native' | 'portable'
type Write = (body: BodyWriter) => unknown
const MiB = 1024 * 1024

const get = (path = '/', more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`

/** A server whose route is written by the function, and its errors. */
async function written(
  engine: EngineName,
  write: Write,
  init?: ResponseInit,
  options: ServeOptions = {},
): Promise<Served & { errors: Queue<Error> }> {
  const errors = new Queue<Error>()
  const server = makeServer(engine, { ...options, server: { ...options.server, onError: (error) => errors.push(error) } })
  server.get('/', () => writeResponse(write, init)).get('/other', () => new Response('other'))
  return { ...(await listen(server, options)), errors }
}

async function ofRoutes(engine: EngineName, routes: Record<string, () => Response>): Promise<Served> {
  const server = makeServer(engine)
  for (const [path, handler] of Object.entries(routes)) server.get(path, handler)
  return listen(server)
}

/** Writes pieces as fast as the client reads. */
async function writeAll(body: BodyWriter, pieces: Iterable<string | Uint8Array>): Promise<void> {
  for (const piece of pieces) if (!body.write(piece)) await body.ready()
}

describeEngines('writeResponse', (engine) => {
  test('sends what is written, text and bytes, at once and later, in chunks', async () => {
    const served = await written(
      engine,
      async (body) => {
        body.write('grüße, ')
        body.write('')
        await turns(2)
        body.write(new Uint8Array([0x62, 0x79]).buffer)
        body.write(Buffer.from('tes'))
      },
      { status: 201, headers: { 'x-mine': '1' } },
    )
    const client = await RawClient.connect(served)
    client.write(get())
    const response = await client.response()
    expect([response.status, response.header('x-mine'), String(response.body)]).toEqual([201, '1', 'grüße, bytes'])
    expect(response.header('transfer-encoding')).toBe('chunked')
    // The connection goes on.
    client.write(get('/other'))
    expect(String((await client.response()).body)).toBe('other')
  })

  test('says in the head that the body is empty where nothing is written', async () => {
    const served = await written(engine, () => {})
    const client = await RawClient.connect(served)
    client.write(get())
    const response = await client.response()
    expect([response.status, response.header('content-length')]).toEqual([200, '0'])
  })

  test('sends a known length, and no chunks', async () => {
    const served = await written(engine, (body) => writeAll(body, ['12345', '67890']), { headers: { 'content-length': '10' } })
    const client = await RawClient.connect(served)
    client.write(get())
    const response = await client.response()
    expect([response.header('content-length'), response.header('transfer-encoding')]).toEqual(['10', undefined])
    expect(String(response.body)).toBe('1234567890')
    client.write(get('/other'))
    expect(String((await client.response()).body)).toBe('other')
  })

  test.each<[what: string, length: string, write: Write]>([
    ['more at once', '3', (body) => body.write('1234')],
    ['less at once', '3', () => {}],
  ])('answers 500 where the length turns out wrong before anything was sent: %s', async (_what, length, write) => {
    const served = await written(engine, write, { headers: { 'content-length': length } })
    expect((await http(served, '/')).status).toBe(500)
    expect(await served.errors.next('the error')).toMatchObject({ code: 'ERR_CONTENT_LENGTH' })
  })

  test.each<[what: string, write: Write]>([
    ['more', (body) => writeAll(body, ['12', '34'])],
    ['more, behind all that was announced', (body) => writeAll(body, ['123', '4'])],
    [
      'more, with an error that the function ignores',
      (body) => {
        body.write('12')
        try {
          body.write('34')
        } catch {}
      },
    ],
    ['less', (body) => writeAll(body, ['12'])],
  ])(
    'cuts the connection where the length turns out wrong later, so that nobody takes it for whole: %s',
    async (_what, write) => {
      const served = await written(engine, write, { headers: { 'content-length': '3' } })
      const client = await RawClient.connect(served)
      client.write(get())
      const all = String(await client.rest())
      expect(all).toMatch(/\r\ncontent-length: 3\r\n/i)
      expect(all.slice(all.indexOf('\r\n\r\n') + 4).length).toBeLessThan(3)
      expect(await served.errors.next('the error')).toMatchObject({ code: 'ERR_CONTENT_LENGTH' })
    },
  )

  test('answers 500 where the function fails before it has written, and cuts the connection afterwards', async () => {
    let fails = 'at once'
    const served = await written(engine, async (body) => {
      if (fails === 'later') body.write('a part')
      await turns(1)
      throw new Error(fails)
    })
    expect((await http(served, '/')).status).toBe(500)
    expect(String(await served.errors.next('the error'))).toBe('Error: at once')
    fails = 'later'
    const client = await RawClient.connect(served)
    client.write(get())
    expect(String(await client.rest())).not.toMatch(/\r\n0\r\n\r\n$/)
    expect(String(await served.errors.next('the error'))).toBe('Error: later')
  })

  test('does not call the function for HEAD, nor for a status without content', async () => {
    let calls = 0
    const count = () => {
      calls += 1
    }
    const served = await written(engine, count, { headers: { 'content-length': '7' } })
    const client = await RawClient.connect(served)
    client.write(get().replace('GET', 'HEAD'))
    expect((await client.response({ head: true })).header('content-length')).toBe('7')
    const without = await written(engine, count, { status: 204 })
    expect((await http(without, '/')).status).toBe(204)
    expect(calls).toBe(0)
  })

  test.each([false, true])(
    'waits for a client that does not read, and no more than a piece is in memory (TLS: %s)',
    async (tls) => {
      const counts = { written: 0 }
      const piece = Buffer.alloc(64 * 1024, 7)
      const served = await written(
        engine,
        async (body) => {
          for (let n = 0; n < 512; n++) {
            counts.written += 1
            if (!body.write(piece)) await body.ready()
          }
        },
        { headers: { 'content-length': String(512 * piece.length) } },
        tls ? { server: { tls: true } } : {},
      )
      const client = await RawClient.connect(served)
      client.pause()
      client.write(get())
      let before = -1
      // Until nothing is written any more.
      while (before !== counts.written || counts.written === 0) {
        before = counts.written
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      expect(counts.written).toBeLessThan(512)
      client.resume()
      const { body } = await client.response()
      expect(body.length).toBe(512 * piece.length)
      expect(body.every((byte) => byte === 7)).toBe(true)
    },
  )

  test('refuses what is written before the client has read, and goes on when it has', async () => {
    const seen = new Queue<unknown>()
    const served = await written(engine, async (body) => {
      while (body.write(Buffer.alloc(MiB))) {
        // As much as the kernel takes.
      }
      await turns(5)
      try {
        body.write('too early')
      } catch (error) {
        seen.push(error)
      }
      await body.ready()
      body.write('the end')
    })
    const client = await RawClient.connect(served)
    client.pause()
    client.write(get())
    expect(await seen.next('the error')).toMatchObject({ code: 'ERR_NOT_READY' })
    client.resume()
    expect((await client.response()).body.subarray(-7).toString()).toBe('the end')
  })

  test('sends one piece that is longer than everything on the way', async () => {
    const served = await written(engine, (body) => void body.write(Buffer.alloc(32 * MiB, 'ab')))
    const client = await RawClient.connect(served)
    client.write(get())
    const { body } = await client.response()
    expect(body.equals(Buffer.alloc(32 * MiB, 'ab'))).toBe(true)
  })

  test('tells the function that its client has gone, and reports no error', async () => {
    const seen = new Queue<unknown>()
    const served = await written(engine, async (body) => {
      try {
        for (;;) if (!body.write(Buffer.alloc(MiB))) await body.ready()
      } catch (error) {
        seen.push(error)
        seen.push(body.write('late'))
        throw error
      }
    })
    const client = await RawClient.connect(served)
    client.pause()
    client.write(get())
    await turns(5)
    client.reset()
    expect(await seen.next('the rejection of ready')).toMatchObject({ name: 'AbortError' })
    expect(await seen.next('a late write')).toBe(false)
    await turns(5)
    expect(served.errors.size).toBe(0)
  })

  test('ends with terminate, and with the server, in the middle', async () => {
    const seen = new Queue<string>()
    const server = makeServer(engine)
    server.get('/', (request) =>
      writeResponse(async (body) => {
        body.write('a part')
        if (request.search === '?cut') request.terminate()
        await body.ready().catch((error: Error) => seen.push(error.name))
        const endless = Buffer.alloc(MiB)
        try {
          for (;;) if (!body.write(endless)) await body.ready()
        } catch (error) {
          seen.push((error as Error).name)
        }
      }),
    )
    const served = await listen(server)
    const cut = await RawClient.connect(served)
    cut.write(get('/?cut'))
    expect(String(await cut.rest())).not.toMatch(/\r\n0\r\n\r\n$/)
    expect(await seen.take(2, 'rejections')).toEqual(['AbortError', 'AbortError'])
    const other = await RawClient.connect(served)
    other.pause()
    other.write(get())
    await turns(20)
    await server.close({ timeout: 100 })
    expect(await seen.next('the rejection')).toBe('AbortError')
  })

  test('of a client that always reads leaves the event loop to others', async () => {
    const served = await written(engine, async (body) => {
      for (;;) if (!body.write('x')) await body.ready()
    })
    const client = await RawClient.connect(served)
    client.socket.on('data', () => {})
    client.write(get())
    expect((await http(served, '/other')).body.toString()).toBe('other')
    client.vanish()
  })

  test('cannot be written to when it has ended', async () => {
    let kept: BodyWriter | undefined
    const served = await written(engine, (body) => {
      kept = body
      body.write('all')
    })
    expect((await http(served, '/')).body.toString()).toBe('all')
    expect(() => kept?.write('more')).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })

  test('refuses an upgrade, too', async () => {
    const served = await serve(engine, { upgrade: () => writeResponse((body) => body.write('not you'), { status: 403 }) })
    const client = await RawClient.connect(served)
    client.write(handshake())
    const response = await client.response()
    expect([response.status, String(response.body)]).toEqual([403, 'not you'])
  })

  test('leaves no unhandled rejection behind where nobody waits for ready', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown) => void unhandled.push(error)
    process.on('unhandledRejection', note)
    onTestFinished(() => void process.off('unhandledRejection', note))
    const gone = new Queue<void>()
    const server = makeServer(engine)
    server.get('/', (request) =>
      writeResponse((body) => {
        while (body.write(Buffer.alloc(MiB))) {
          // As much as the kernel takes.
        }
        void body.ready()
        return new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve(gone.push())))
      }),
    )
    const client = await RawClient.connect(await listen(server))
    client.pause()
    client.write(get())
    await turns(5)
    client.reset()
    await within(gone.next('the abort'), 'the abort')
    await turns(5)
    expect(unhandled).toEqual([])
  })

  test('refuses an upgrade with 500 where its function fails before it has written', async () => {
    const errors = new Queue<Error>()
    const refusals: unknown[] = []
    const server = makeServer(engine, { server: { onError: (error) => errors.push(error) } })
    const subscriber = (message: unknown) => refusals.push(message)
    subscribe(DIAGNOSTICS_CHANNELS.upgradeRefused, subscriber)
    onTestFinished(() => void unsubscribe(DIAGNOSTICS_CHANNELS.upgradeRefused, subscriber))
    const fail = () => {
      throw new Error('no list')
    }
    server.ws('/', { upgrade: () => writeResponse(fail, { status: 403 }) })
    server.ws('/short', { upgrade: () => writeResponse(() => {}, { status: 403, headers: { 'content-length': '5' } }) })
    const served = await listen(server)
    for (const [path, message] of [
      ['/', 'no list'],
      ['/short', '0 bytes'],
    ] as const) {
      const client = await RawClient.connect(served)
      client.write(handshake({ path }))
      expect((await client.response()).status).toBe(500)
      expect((await errors.next('the error')).message).toContain(message)
    }
    expect(refusals).toHaveLength(2)
  })

  test('sends text and bytes whole, as a Response with that body', async () => {
    const bytes = Buffer.from('bytes')
    const served = await ofRoutes(engine, {
      '/text': () => writeResponse('grüße'),
      '/named': () => writeResponse('<p>', { headers: { 'content-type': 'text/html' } }),
      '/bytes': () => {
        const response = writeResponse(bytes, { status: 201, statusText: 'Made' })
        // They are the handler's again.
        queueMicrotask(() => bytes.fill(0))
        return response
      },
      '/view': () => writeResponse(new Uint8Array([0x61, 0x62, 0x63, 0x64]).subarray(1, 3)),
      '/empty': () => writeResponse(''),
      '/none': () => writeResponse('no content', { status: 204 }),
      '/large': () => writeResponse(Buffer.alloc(3 * MiB, 'x')),
    })
    const ask = async (path: string, method = 'GET') => {
      const { status, statusText, headers, body } = await http(served, path, { method })
      return [status, statusText, headers['content-type'], headers['content-length'], String(body)]
    }
    expect(await ask('/text')).toEqual([200, 'OK', 'text/plain;charset=UTF-8', '7', 'grüße'])
    expect(await ask('/named')).toEqual([200, 'OK', 'text/html', '3', '<p>'])
    expect(await ask('/bytes')).toEqual([201, 'Made', undefined, '5', 'bytes'])
    expect(await ask('/view')).toEqual([200, 'OK', undefined, '2', 'bc'])
    expect(await ask('/empty')).toEqual([200, 'OK', 'text/plain;charset=UTF-8', '0', ''])
    expect(await ask('/none')).toEqual([204, 'No Content', 'text/plain;charset=UTF-8', undefined, ''])
    expect(await ask('/text', 'HEAD')).toEqual([200, 'OK', 'text/plain;charset=UTF-8', '7', ''])
    expect((await ask('/large'))[3]).toBe(String(3 * MiB))
  })

  test('with a content-length that is not that of the text is an error', async () => {
    const errors = new Queue<Error>()
    const server = makeServer(engine, { server: { onError: (error) => errors.push(error) } })
    server.get('/', () => writeResponse('four', { headers: { 'content-length': '5' } }))
    const served = await listen(server)
    expect((await http(served, '/')).status).toBe(500)
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_CONTENT_LENGTH' })
  })

  test('is a Response that can only be returned, made of a function, text or bytes', () => {
    const response = writeResponse(() => {}, { status: 202 })
    expect(response.status).toBe(202)
    expect(() => response.body).toThrow(NotSupportedError)
    expect(() => response.clone()).toThrow(NotSupportedError)
    expect(() => response.text()).toThrow(NotSupportedError)
    // @ts-expect-error: a number is no body
    expect(() => writeResponse(5)).toThrow(OptionError)
    expect(() => writeResponse('body').text()).toThrow(NotSupportedError)
    expect(writeResponse('body')).toBeInstanceOf(Response)
  })
})
