/**
 * The Content-Length that a handler gives: what is sent for it, and what becomes of a body of another length.
 */

import { expect, test } from 'vitest'
import { type ContentLengthError, WebSocketServerError } from '../../src/index.js'
import { describeEngines, type EngineName, type ServeOptions, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, turns, within } from '../support/waiting.js'

type Handler = (request: Request) => Response
type Body = string | ReadableStream<Uint8Array> | null

const encode = (text: string) => new TextEncoder().encode(text)

const request = (path: string, method = 'GET', ...fields: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`

/** Pieces that come in later turns of the event loop. */
function streamOf(...pieces: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      await turns(2)
      const piece = pieces.shift()
      if (piece === undefined) controller.close()
      else controller.enqueue(encode(piece))
    },
  })
}

const announcing = (length: string | number, body: Body, init: ResponseInit = {}): Response =>
  new Response(body, { ...init, headers: { ...init.headers, 'content-length': String(length) } })

describeEngines('a Content-Length of the handler', (engine: EngineName) => {
  /** A server with one handler at `/`, and what has reached its `onError`. */
  const serveAt = async (handler: Handler, server: ServeOptions['server'] = {}) => {
    const errors = new Queue<Error>()
    const options = { onError: (error: Error) => errors.push(error), ...server }
    const served = await serve(engine, {}, { path: '/socket', routes: (routes) => routes.any('/', handler), server: options })
    return { served, errors }
  }

  test('is sent with a stream, which then goes without chunks, and leaves the connection open', async () => {
    const { served } = await serveAt(() => announcing(10, streamOf('01', '', '234', '56789')))
    const client = await RawClient.connect(served)
    client.write(request('/'), request('/health'))
    const answer = await client.response()
    expect([answer.header('content-length'), answer.header('transfer-encoding')]).toEqual(['10', undefined])
    expect(answer.body.toString()).toBe('0123456789')
    expect((await client.response()).body.toString()).toContain('healthy')
  })

  test('is sent at once with the head, before a stream has given anything', async () => {
    const { served } = await serveAt(() => announcing(3, new ReadableStream()))
    const answer = await within(fetch(served.httpUrl('/')), 'the head')
    expect(answer.headers.get('content-length')).toBe('3')
    await answer.body?.cancel()
  })

  test('is sent with a stream of 20 MB over TLS, which arrives whole', async () => {
    let left = 20
    const stream = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => (left-- > 0 ? controller.enqueue(new Uint8Array(1_000_000).fill(left)) : controller.close()),
      })
    const { served } = await serveAt(() => announcing(20_000_000, stream()), { tls: true })
    const { headers, body } = await http(served, '/')
    expect([headers['content-length'], body.length, body.at(-1)]).toEqual(['20000000', 20_000_000, 0])
  })

  test('is sent in one form, whatever zeros stand before it', async () => {
    const { served } = await serveAt(() => announcing('0005', streamOf('01234')))
    expect((await http(served, '/')).headers['content-length']).toBe('5')
  })

  test('and a body that is there at once agree', async () => {
    const { served } = await serveAt(() => announcing(5, 'there'))
    const { headers, body } = await http(served, '/')
    expect([headers['content-length'], body.toString()]).toEqual(['5', 'there'])
  })

  test('of 0 may stand beside a stream that turns out empty', async () => {
    const { served } = await serveAt(() => announcing(0, streamOf('', '')))
    const client = await RawClient.connect(served)
    client.write(request('/'), request('/health'))
    const answer = await client.response()
    expect([answer.status, answer.header('content-length'), answer.body.length]).toEqual([200, '0', 0])
    expect((await client.response()).status).toBe(200)
  })

  test('is kept for HEAD, whatever the body, which is not read', async () => {
    const cancelled = new Queue<unknown>()
    const bodies: Body[] = [null, '', 'short', new ReadableStream({ cancel: (reason) => cancelled.push(reason) })]
    const { served, errors } = await serveAt(() => announcing(123, bodies.shift() ?? null))
    const client = await RawClient.connect(served)
    for (let n = bodies.length; n > 0; n--) {
      client.write(request('/', 'HEAD'))
      const answer = await client.response({ head: true })
      expect([answer.status, answer.header('content-length'), answer.header('transfer-encoding')]).toEqual([
        200,
        '123',
        undefined,
      ])
    }
    await cancelled.next('the cancellation')
    client.write(request('/health'))
    expect((await client.response()).status).toBe(200)
    expect(errors.size).toBe(0)
  })

  test('is kept for 304, and left out for 204, which has none, and 205, which is empty', async () => {
    const { served } = await serveAt(({ headers }) => announcing(10, null, { status: Number(headers.get('x-status')) }))
    const client = await RawClient.connect(served)
    for (const [status, length] of [
      [304, '10'],
      [204, undefined],
      [205, '0'],
    ] as const) {
      client.write(request('/', 'GET', `X-Status: ${status}`))
      const answer = await client.response({ head: true })
      expect([answer.status, answer.header('content-length')]).toEqual([status, length])
    }
    client.write(request('/health'))
    expect((await client.response()).status).toBe(200)
  })

  test('has the say over Transfer-Encoding and Keep-Alive, which are the server’s own', async () => {
    const own = { 'transfer-encoding': 'chunked', connection: 'x-own', 'keep-alive': 'timeout=60', server: 'mine' }
    const { served } = await serveAt(() => announcing(5, streamOf('01234'), { headers: own }))
    const client = await RawClient.connect(served)
    client.write(request('/'), request('/health'))
    const { fields, body } = await client.response()
    expect(body.toString()).toBe('01234')
    const names = ['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'server']
    // What Node adds, unasked.
    const added = engine === 'portable' ? [['keep-alive'], ['timeout=5']] : [undefined, undefined]
    expect(names.map((name) => fields.get(name))).toEqual([['5'], undefined, ...added, ['mine']])
    expect((await client.response()).status).toBe(200)
  })

  /** Expects that the error was reported, once, and that others are served as before. */
  const expectReport = async (served: Awaited<ReturnType<typeof serve>>, errors: Queue<Error>, message: RegExp) => {
    const error = await errors.next('the error')
    expect(error).toBeInstanceOf(WebSocketServerError)
    expect((error as ContentLengthError).code).toBe('ERR_CONTENT_LENGTH')
    expect(error.message).toMatch(message)
    expect((await http(served, '/health')).status).toBe(200)
    expect(errors.size).toBe(0)
    expect(served.server.metrics().handlerErrors).toBe(1)
    await within(served.server.close({ timeout: 60_000 }), 'close, which has nothing to wait for')
  }

  test.each<[what: string, announced: number, pieces: string[], message: RegExp]>([
    ['too short', 10, ['01234'], /has 5 bytes, but its Content-Length says 10/],
    ['empty', 10, [], /has 0 bytes/],
    ['too long, within a piece', 10, ['012345', '6789X'], /has 11 bytes or more/],
    ['too long, behind a piece', 10, ['01234', '56789', 'X'], /has 11 bytes or more/],
    ['too long, from the first piece on', 2, ['012'], /has 3 bytes or more/],
    ['too long by a second request’s answer', 1, ['0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'], /bytes or more/],
    ['not empty', 0, ['', '0'], /has 1 bytes or more/],
  ])(
    'ends the connection when a stream turns out %s, so that the client does not take it for whole',
    async (_what, announced, pieces, message) => {
      const { served, errors } = await serveAt(() => announcing(announced, streamOf(...pieces)))
      const client = await RawClient.connect(served)
      client.write(request('/'), request('/health'))
      const [head = '', ...more] = (await client.rest()).toString().split('\r\n\r\n')
      const body = more.join('\r\n\r\n')
      if (announced === 0) {
        expect([head, body]).toEqual(['', ''])
      } else {
        expect(head).toMatch(new RegExp(`^content-length: ${announced}$`, 'im'))
        expect(body.length).toBeLessThan(announced)
        expect('0123456789'.startsWith(body)).toBe(true)
      }
      await expectReport(served, errors, message)
    },
  )

  test.each<[what: string, announced: number | string, body: Body, message: RegExp]>([
    ['is longer than a body that is there at once', 10, '01234', /has 5 bytes, but its Content-Length says 10/],
    ['is shorter than a body that is there at once', 3, '01234', /has 5 bytes, but its Content-Length says 3/],
    ['stands beside no body', 10, null, /has 0 bytes/],
    ['is none', '+5', '01234', /must be a number of bytes/],
    ['is two', '5, 5', streamOf('01234'), /must be a number of bytes/],
    ['is too large', '1'.repeat(20), streamOf('01234'), /must be a number of bytes/],
  ])('that %s is answered with 500, and ends the connection', async (_what, announced, body, message) => {
    const { served, errors } = await serveAt(() => announcing(announced, body))
    const client = await RawClient.connect(served)
    client.write(request('/'))
    const answer = await client.response()
    expect([answer.status, answer.header('connection')]).toEqual([500, 'close'])
    expect((await client.rest()).length).toBe(0)
    await expectReport(served, errors, message)
  })

  test('that is wrong ends the connection of a request whose body still comes, and the reader of that body gets an error', async () => {
    const readings = new Queue<{ reading: Promise<string> }>()
    const { served, errors } = await serveAt((incoming) => {
      const reading = incoming.text()
      reading.catch(() => {})
      readings.push({ reading })
      return announcing(10, streamOf('01234'))
    })
    const client = await RawClient.connect(served)
    client.write(request('/', 'POST', 'Content-Length: 100'), 'begun')
    expect((await client.rest()).toString()).toMatch(/01234$/)
    const { reading } = await readings.next('the request')
    await expect(within(reading, 'the end of the reading')).rejects.toThrow()
    await expectReport(served, errors, /has 5 bytes/)
  })

  test('is kept by a refused upgrade, and a wrong one reported', async () => {
    const errors = new Queue<Error>()
    const lengths = [5, 6, 4]
    const upgrade = () => announcing(lengths.shift() ?? 0, streamOf('01234'), { status: 401 })
    const served = await serve(engine, { upgrade }, { path: '/socket', server: { onError: (error) => errors.push(error) } })
    const ask = async () => {
      const client = await RawClient.connect(served)
      const fields = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13']
      client.write(request('/socket', 'GET', ...fields, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='))
      return client
    }
    const answer = await (await ask()).response()
    expect([answer.status, answer.header('content-length'), answer.body.toString()]).toEqual([401, '5', '01234'])
    expect((await (await ask()).rest()).toString()).toMatch(/content-length: 6\r\n(?:.|\s)*01234$/i)
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_CONTENT_LENGTH' })
    expect((await (await ask()).rest()).toString()).toMatch(/content-length: 4\r\n(.+\r\n)*\r\n$/i)
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_CONTENT_LENGTH' })
  })

  test.each(['before', 'behind'])(
    'does not keep a source from being cancelled when its client goes %s the last byte',
    async (when) => {
      const cancelled = new Queue<unknown>()
      const signals = new Queue<AbortSignal>()
      const stream = () =>
        new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(encode(when === 'before' ? '0123' : '01234')),
          cancel: (reason) => cancelled.push(reason),
        })
      const { served, errors } = await serveAt(({ signal }) => {
        signals.push(signal)
        return announcing(5, stream())
      })
      const client = await RawClient.connect(served)
      client.write(request('/'))
      const signal = await signals.next('the request')
      await turns(10)
      client.vanish()
      expect(await cancelled.next('the cancellation')).toBe(signal.reason)
      expect(errors.size).toBe(0)
      await within(served.server.close({ timeout: 60_000 }), 'close, which has nothing to wait for')
    },
  )
})

describeEngines('a Date of the handler', (engine: EngineName) => {
  test('is sent in place of the server’s, with bodies of every kind', async () => {
    const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
    const bodies = [() => null, () => 'text', () => streamOf('later')]
    const routes: ServeOptions['routes'] = (server) => {
      for (const [index, body] of bodies.entries()) {
        server.any(`/own/${index}`, () => new Response(body(), { headers: { date } }))
        server.any(`/none/${index}`, () => new Response(body()))
      }
    }
    const served = await serve(engine, {}, { path: '/socket', routes })
    const client = await RawClient.connect(served)
    for (const index of bodies.keys()) {
      for (const method of ['GET', 'HEAD']) {
        client.write(request(`/own/${index}`, method), request(`/none/${index}`, method))
        expect((await client.response({ head: method === 'HEAD' })).fields.get('date')).toEqual([date])
        const own = (await client.response({ head: method === 'HEAD' })).fields.get('date')
        expect(own).toEqual([expect.stringMatching(/ GMT$/)])
        expect(own).not.toEqual([date])
      }
    }
  })
})
