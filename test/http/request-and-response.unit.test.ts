/** HTTP as text, and as web-standard objects. */
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import type { RequestHead } from '../../src/engine/contract.js'
import { IncomingBody } from '../../src/http/body.js'
import { elementsOf, headerOf, IncomingRequest } from '../../src/http/request.js'
import { plainResponse, readResponse } from '../../src/http/response.js'
import { readTarget } from '../../src/http/target.js'
import { isWebSocketUpgrade, refusalOf } from '../../src/websocket/handshake.js'

function head(headers: readonly string[] = [], overrides: Partial<RequestHead> = {}): RequestHead {
  const fields = headers.reduce((text, part, index) => text + part + (index % 2 === 0 ? ':' : '\n'), '\n')
  return {
    method: 'GET',
    url: '/',
    fields,
    hasBody: false,
    remoteAddress: '192.0.2.1',
    endpoints: '50000 198.51.100.1 443',
    proxiedAddress: '',
    ...overrides,
  }
}

/** The headers of a correct handshake, with some replaced (or left out: undefined). */
function handshake(replaced: Record<string, string | undefined> = {}): RequestHead {
  const headers = {
    host: 'localhost',
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...replaced,
  }
  return head(Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [name, value])))
}

function incoming(request: RequestHead, scheme: 'http' | 'https' = 'http'): IncomingRequest {
  const target = readTarget(request, scheme)
  if (target === undefined) throw new Error('no proper target')
  return new IncomingRequest(request, target, { room: 'a b' })
}

describe('a request', () => {
  test('shows what was sent', () => {
    const request = incoming(
      head(['host', 'example.com', 'x-a', '1', 'x-a', '2'], { method: 'PUT', url: '/chat/a%20b?since=3&since=4' }),
    )
    expect(request).toMatchObject({ method: 'PUT', path: '/chat/a%20b', params: { room: 'a b' }, remoteAddress: '192.0.2.1' })
    expect(request.url).toBe('http://example.com/chat/a%20b?since=3&since=4')
    expect(request.query.getAll('since')).toEqual(['3', '4'])
    expect([...request.headers]).toEqual([
      ['host', 'example.com'],
      ['x-a', '1, 2'],
    ])
    expect(request.headers).toBe(request.headers)
    expect(request.query).toBe(request.query)
  })

  test('has an absolute URL by TLS, without a Host header, and from an absolute target', () => {
    expect(incoming(head(['host', 'example.com'], { url: '/a' }), 'https').url).toBe('https://example.com/a')
    expect(incoming(head([], { url: '/a' })).url).toBe('http://localhost/a')
    expect(incoming(head(['host', 'other'], { url: 'http://example.com/a?b' })).url).toBe('http://example.com/a?b')
  })

  test('tells its signal that the client has gone, before and after it is first asked for', () => {
    const early = incoming(head())
    expect(early.signal.aborted).toBe(false)
    early.abort()
    expect(early.signal.aborted).toBe(true)
    const late = incoming(head())
    late.abort()
    expect(late.signal.aborted).toBe(true)
  })
})

test('a repeated header is joined, and a missing one is undefined', () => {
  expect(headerOf(head(['a', '1', 'b', '2', 'a', '3']), 'a')).toBe('1, 3')
  expect(headerOf(head(['a', '']), 'a')).toBe('')
  expect(headerOf(head(['a', '1']), 'b')).toBeUndefined()
})

test('a list has its elements without blanks around them, and no empty ones', () => {
  expect(elementsOf(' a\t,,b b , ,\u00a0c')).toEqual(['a', 'b b', '\u00a0c'])
  expect(elementsOf(' ')).toEqual([])
})

describe('a handshake', () => {
  test.each([
    [{}, true],
    [{ upgrade: 'WebSocket', connection: 'keep-alive, UPGRADE' }, true],
    [{ upgrade: 'h2c, websocket' }, true],
    [{ upgrade: 'h2c' }, false],
    [{ upgrade: 'websockets' }, false],
    [{ upgrade: undefined }, false],
    [{ connection: 'keep-alive' }, false],
    [{ connection: undefined }, false],
  ])('asks for the WebSocket protocol: with %j %s', (replaced, expected) => {
    expect(isWebSocketUpgrade(handshake(replaced))).toBe(expected)
  })

  test('that is correct is not refused', () => {
    expect(refusalOf(handshake())).toBeUndefined()
  })

  test.each([
    [{ 'sec-websocket-version': undefined }, 426],
    [{ 'sec-websocket-version': '8' }, 426],
    [{ 'sec-websocket-version': '13, 8' }, 426],
    [{ 'sec-websocket-key': undefined }, 400],
    [{ 'sec-websocket-key': '' }, 400],
    [{ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ' }, 400],
    [{ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZ===' }, 400],
    [{ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZSE=' }, 400],
    [{ 'sec-websocket-key': 'dGhl IHNhbXBsZSBub25jZ==' }, 400],
  ])('with %j is answered with %d', (replaced, status) => {
    expect(refusalOf(handshake(replaced))?.response.status).toBe(status)
  })

  test('of another version is told which', () => {
    expect(refusalOf(handshake({ 'sec-websocket-version': '8' }))?.response.headers).toEqual(
      expect.arrayContaining(['sec-websocket-version', '13', 'upgrade', 'websocket']),
    )
  })

  test('by another method is refused with the method', () => {
    const { response } = refusalOf({ ...handshake(), method: 'POST' }) ?? {}
    expect(response?.status).toBe(405)
    expect(response?.headers.join(' ')).toContain('allow GET')
  })
})

const encode = (text: string) => new TextEncoder().encode(text)

test('a plain answer says what its status is called', () => {
  const { body, ...rest } = plainResponse(404, ['x-a', '1'])
  expect(rest).toEqual({
    status: 404,
    statusText: 'Not Found',
    headers: ['content-type', 'text/plain; charset=utf-8', 'x-a', '1'],
    closes: false,
    contentLength: 10,
  })
  expect(String(Buffer.from(body ?? []))).toBe('Not Found\n')
})

describe('a Response', () => {
  const bodyOf = async (response: Response) => {
    const read = await readResponse(response, false)
    if (!('body' in read)) throw new Error('the body is streamed')
    return read.body && Buffer.from(read.body).toString()
  }

  test('is read whole: status, text, headers, body', async () => {
    const response = new Response('héllo', { status: 201, statusText: 'Made', headers: { 'X-A': '1' } })
    expect(await readResponse(response, true)).toEqual({
      status: 201,
      statusText: 'Made',
      headers: ['content-type', 'text/plain;charset=UTF-8', 'x-a', '1'],
      closes: false,
      contentLength: 6,
      body: undefined,
    })
  })

  test('without a status text gets the usual one', async () => {
    expect((await readResponse(new Response(null, { status: 404 }), false)).statusText).toBe('Not Found')
    expect((await readResponse(new Response(null, { status: 599 }), false)).statusText).toBe('')
  })

  test('keeps its cookies apart', async () => {
    const headers = new Headers()
    for (const cookie of ['a=1', 'b=2']) headers.append('set-cookie', cookie)
    expect((await readResponse(new Response(null, { headers }), false)).headers).toEqual([
      'set-cookie',
      'a=1',
      'set-cookie',
      'b=2',
    ])
  })

  test('leaves to the engine what the engine writes, and may have a Date of its own', async () => {
    const headers = {
      'content-length': '5',
      'transfer-encoding': 'chunked',
      connection: 'close',
      'keep-alive': 'timeout=5',
      date: 'Sun, 06 Nov 1994 08:49:37 GMT',
      etag: '"1"',
    }
    expect(await readResponse(new Response(encode('12345'), { headers }), false)).toMatchObject({
      headers: ['date', 'Sun, 06 Nov 1994 08:49:37 GMT', 'etag', '"1"'],
      contentLength: 5,
    })
  })

  test.each(['0', '7', '007', String(Number.MAX_SAFE_INTEGER)])('announces a length: %s', async (value) => {
    const response = new Response(null, { headers: { 'content-length': value } })
    expect((await readResponse(response, true)).contentLength).toBe(Number(value))
  })

  test.each([
    ['a sign', '+5'],
    ['a minus', '-5'],
    ['a space', '5 5'],
    ['a list', '5, 5'],
    ['a list of Node’s', '5,5'],
    ['a fraction', '5.0'],
    ['an exponent', '5e0'],
    ['hexadecimal digits', '0x5'],
    ['letters', 'five'],
    ['other digits', '\xb2'],
    ['nothing', ''],
    ['more than numbers can tell', String(2 ** 53)],
    ['a hundred thousand digits', '1'.repeat(100_000)],
  ])('announces no length with %s, for any method and status', async (_what, value) => {
    const headers = { 'content-length': value }
    const refused = { name: 'ContentLengthError', code: 'ERR_CONTENT_LENGTH' }
    await expect(readResponse(new Response(encode('12345'), { headers }), false)).rejects.toMatchObject(refused)
    await expect(readResponse(new Response(null, { headers }), true)).rejects.toMatchObject(refused)
    await expect(readResponse(new Response(null, { headers, status: 304 }), false)).rejects.toMatchObject(refused)
    await expect(readResponse(new Response(null, { headers, status: 204 }), false)).rejects.toMatchObject(refused)
  })

  test('announces no length with two fields of another implementation', async () => {
    const fields = [
      ['Content-Length', '5'],
      ['content-length', '5'],
    ]
    // The shape is what counts; the cast stands for a Response of another class.
    const foreign = { status: 200, statusText: '', body: null, headers: fields, arrayBuffer: async () => new ArrayBuffer(0) }
    await expect(readResponse(foreign as unknown as Response, true)).rejects.toMatchObject({ code: 'ERR_CONTENT_LENGTH' })
  })

  test('may have a body from a stream, an empty one, or none', async () => {
    const { body: stream } = new Response('streamed')
    expect(await bodyOf(new Response(stream))).toBe('streamed')
    expect(await bodyOf(new Response(''))).toBe('')
    expect(await bodyOf(new Response())).toBeUndefined()
    expect(await bodyOf(new Response(null, { status: 204 }))).toBeUndefined()
  })

  test('may come from another implementation, which is not trusted with the head', async () => {
    const foreign = { status: 200, statusText: '', body: {}, arrayBuffer: async () => new TextEncoder().encode('foreign').buffer }
    // The shape is what counts; the casts stand for a Response of another class.
    const make = (headers: [string, string][], statusText = '') => ({ ...foreign, statusText, headers }) as unknown as Response
    expect(await bodyOf(make([['X-A', '1']]))).toBe('foreign')
    await expect(readResponse(make([['x-a', '1\r\nx-b: 2']]), false)).rejects.toThrow(TypeError)
    await expect(readResponse(make([['x a', '1']]), false)).rejects.toThrow(TypeError)
    await expect(readResponse(make([], 'OK\r\nx-b: 2'), false)).rejects.toThrow(TypeError)
  })

  test.each([undefined, null, 'text', 5, {}, new URL('http://localhost')])('is nothing else: %s', async (value) => {
    // The cast lets through what TypeScript would refuse and JavaScript would not.
    await expect(readResponse(value as unknown as Response, false)).rejects.toThrow('a route must respond with a Response')
  })

  test('that is an error, or was read before, is refused', async () => {
    await expect(readResponse(Response.error(), false)).rejects.toThrow('status 0')
    const used = new Response('once')
    await used.text()
    await expect(readResponse(used, false)).rejects.toThrow(TypeError)
  })
})

describe('a body that comes byte by byte', () => {
  const engine = { pauseBody: () => {}, resumeBody: () => {}, abort: () => {} }

  /** The request, and what makes its body come, each byte in a turn of its own. */
  function dripping(length: number) {
    const body = new IncomingBody(engine, 1, length, false)
    const request = head(['host', 'a'], { method: 'POST', hasBody: true })
    const target = readTarget(request, 'http')
    if (target === undefined) throw new Error('no proper target')
    const drip = async () => {
      for (let n = 1; n <= length; n++) {
        body.push(Buffer.from('x'), n === length)
        await setImmediate()
      }
    }
    return { request: new IncomingRequest(request, target, {}, body), drip }
  }

  test.each(['text', 'bytes', 'arrayBuffer', 'blob', 'json', 'formData'] as const)(
    'is kept in few pieces by %s',
    async (method) => {
      const given = vi.spyOn(ReadableStreamDefaultController.prototype, 'enqueue')
      const { request, drip } = dripping(40_000)
      // It is no JSON, and no form.
      const reading = Promise.resolve(request[method]()).catch(() => undefined)
      await drip()
      await reading
      const pieces = given.mock.calls.length
      given.mockRestore()
      expect(pieces).toBeGreaterThan(0)
      expect(pieces).toBeLessThan(10)
    },
  )

  test('reaches the readers of a clone as it comes', async () => {
    const { request, drip } = dripping(100)
    const clone = request.clone()
    const text = request.text()
    const chunks: number[] = []
    const reading = (async () => {
      for await (const chunk of clone.body ?? []) chunks.push(chunk.length)
    })()
    await drip()
    await reading
    expect(await text).toBe('x'.repeat(100))
    expect(chunks.length).toBe(100)
  })
})
