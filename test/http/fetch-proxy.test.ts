/**
 * Routes that answer with what `fetch` gave: the content as `fetch` has decoded it, and header fields that
 * are true of that.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import process from 'node:process'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { expect, onTestFinished, test } from 'vitest'
import { describeEngines, type EngineName, type ServeOptions, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

const TEXT = 'what fetch has decoded, '.repeat(20_000)
const ENCODERS: Record<string, (text: string) => Buffer> = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  'gzip, br': (text) => brotliCompressSync(gzipSync(text)),
  GZip: gzipSync,
  identity: (text) => Buffer.from(text),
  // Nothing that a fetch knows: it leaves such content as it is.
  'x-own': (text) => Buffer.from(`own:${text}`),
  'gzip, x-own': (text) => Buffer.concat([Buffer.from('own:'), gzipSync(text)]),
}

const request = (path: string, method = 'GET', ...fields: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, 'Host: localhost', ...fields].join('\r\n')}\r\n\r\n`

/** A server of Node's own, which a route asks. */
async function upstream(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  // A server that listens on a port has an address of this kind.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describeEngines('a route that returns what fetch gives', (engine: EngineName) => {
  const proxy = async (origin: string, init: RequestInit = {}, server: ServeOptions['server'] = {}) => {
    const errors = new Queue<Error>()
    const routes: ServeOptions['routes'] = (server) =>
      server.any('/*', ({ method, path, query, signal }) => fetch(`${origin}${path}?${query}`, { method, signal, ...init }))
    const served = await serve(engine, {}, { path: '/socket', routes, server: { onError: (e) => errors.push(e), ...server } })
    return { served, errors }
  }

  /** Answers with TEXT in the coding that the query names, to GET and HEAD. */
  const encoding = (request: IncomingMessage, response: ServerResponse) => {
    const coding = new URL(request.url ?? '', 'http://localhost').searchParams.get('coding') ?? ''
    const body = ENCODERS[coding]?.(TEXT) ?? Buffer.from(TEXT)
    response.writeHead(200, {
      ...(coding !== '' && { 'content-encoding': coding }),
      'content-length': body.length,
      'content-digest': 'sha-256=:of the bytes above:',
      etag: '"1"',
    })
    response.end(body)
  }

  test.each(['gzip', 'x-gzip', 'deflate', 'br', 'gzip, br', 'GZip'])(
    'sends the content decoded, without saying otherwise: %s',
    async (coding) => {
      const { served, errors } = await proxy(await upstream(encoding))
      const path = `/?coding=${encodeURIComponent(coding)}`
      const client = await RawClient.connect(served)
      for (const method of ['GET', 'HEAD', 'GET']) {
        client.write(request(path, method, 'Accept-Encoding: gzip, br'))
        const answer = await client.response({ head: method === 'HEAD' })
        const fields = ['content-encoding', 'content-digest', 'content-length', 'etag'].map(answer.header)
        expect([answer.status, ...fields]).toEqual([200, undefined, undefined, undefined, '"1"'])
        expect(answer.body.toString() === (method === 'HEAD' ? '' : TEXT)).toBe(true)
      }
      expect(await (await fetch(served.httpUrl(path))).text()).toBe(TEXT)
      expect(errors.size).toBe(0)
    },
  )

  test.each(['', 'identity', 'x-own', 'gzip, x-own'])(
    'sends content that fetch has left alone as it came: %j',
    async (coding) => {
      const { served } = await proxy(await upstream(encoding))
      const expected = ENCODERS[coding]?.(TEXT) ?? Buffer.from(TEXT)
      const client = await RawClient.connect(served)
      for (const method of ['GET', 'HEAD']) {
        client.write(request(`/?coding=${encodeURIComponent(coding)}`, method))
        const answer = await client.response({ head: method === 'HEAD' })
        const fields = ['content-encoding', 'content-length', 'transfer-encoding'].map(answer.header)
        expect(fields).toEqual([coding === '' ? undefined : coding, String(expected.length), undefined])
        if (method === 'GET') expect(answer.body.equals(expected)).toBe(true)
      }
    },
  )

  test('says that content is zstd exactly when fetch has not decoded it', async () => {
    // A frame of one raw block (RFC 8878, section 3.1.1).
    const text = 'stored'
    const frame = Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, text.length, (text.length << 3) | 1, 0, 0]),
      Buffer.from(text),
    ])
    const origin = await upstream((_request, response) =>
      response.writeHead(200, { 'content-encoding': 'zstd', 'content-length': frame.length }).end(frame),
    )
    const { served } = await proxy(origin)
    const { headers, body } = await http(served, '/')
    const isDecoded = body.toString() === text
    expect(isDecoded || body.equals(frame)).toBe(true)
    expect(headers['content-encoding'], process.version).toBe(isDecoded ? undefined : 'zstd')
  })

  test('leaves out fields of the upstream’s connection, and keeps all others', async () => {
    const origin = await upstream((_request, response) => {
      response.writeHead(200, [
        ...['Connection', 'X-Hop, close', 'X-Hop', '1', 'Keep-Alive', 'timeout=99', 'Proxy-Connection', 'keep-alive'],
        ...['Transfer-Encoding', 'chunked', 'Trailer', 'X-Sum', 'TE', 'trailers', 'Upgrade', 'h2c', 'Server', 'other'],
        ...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Date', 'Sun, 06 Nov 1994 08:49:37 GMT', 'X-Kept', 'wörld'],
      ])
      response.write('in ')
      setImmediate(() => response.end('pieces'))
    })
    const { served } = await proxy(origin)
    const client = await RawClient.connect(served)
    client.write(request('/'), request('/', 'HEAD'))
    const { fields, body } = await client.response()
    expect(body.toString()).toBe('in pieces')
    expect(['x-hop', 'proxy-connection', 'trailer', 'te', 'upgrade'].filter((name) => fields.has(name))).toEqual([])
    expect(fields.get('keep-alive')).not.toEqual(['timeout=99'])
    expect(fields.get('set-cookie')).toEqual(['a=1', 'b=2'])
    expect(fields.get('date')).toEqual(['Sun, 06 Nov 1994 08:49:37 GMT'])
    expect([fields.get('server'), fields.get('x-kept')]).toEqual([['other'], ['wörld']])
    expect((await client.response({ head: true })).status).toBe(200)
  })

  test('hands on 204, 304 and redirects, followed or not', async () => {
    const origin = await upstream((request, response) => {
      if (request.url?.startsWith('/moved'))
        response.writeHead(302, { location: '/?coding=gzip', 'content-encoding': 'gzip' }).end(gzipSync('!'))
      else if (request.url?.startsWith('/304'))
        response.writeHead(304, { etag: '"1"', 'content-length': 5, 'content-encoding': 'gzip' }).end()
      else if (request.url?.startsWith('/204')) response.writeHead(204).end()
      else encoding(request, response)
    })
    const followed = await proxy(origin)
    expect((await http(followed.served, '/moved')).body.toString()).toBe(TEXT)
    const { served } = await proxy(origin, { redirect: 'manual' })
    const client = await RawClient.connect(served)
    client.write(request('/moved'))
    const moved = await client.response()
    expect([moved.status, moved.header('location'), moved.body.toString()]).toEqual([302, '/?coding=gzip', '!'])
    client.write(request('/304', 'GET', 'If-None-Match: "1"'))
    const unchanged = await client.response({ head: true })
    expect([unchanged.status, unchanged.header('etag'), unchanged.header('content-encoding')]).toEqual([304, '"1"', undefined])
    client.write(request('/204'), request('/health'))
    expect((await client.response({ head: true })).status).toBe(204)
    expect((await client.response()).status).toBe(200)
  })

  test('cuts the answer when the upstream does', async () => {
    const origin = await upstream((_request, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('half', () => response.destroy())
    })
    const { served, errors } = await proxy(origin)
    const client = await RawClient.connect(served)
    client.write(request('/'))
    expect((await client.rest()).toString()).toMatch(/^content-length: 100\r\n(?:.|\s)*half$|^HTTP\/1\.1 500 /im)
    await errors.next('the error')
  })

  test('lets go of the upstream when its client goes', async () => {
    const gone = new Queue<null>()
    const origin = await upstream((_request, response) => {
      response.writeHead(200).write('endless')
      response.on('close', () => gone.push(null))
    })
    const { served, errors } = await proxy(origin)
    const client = await RawClient.connect(served)
    client.write(request('/'))
    await turns(20)
    client.vanish()
    await gone.next('the end of the request to the upstream')
    expect(errors.size).toBe(0)
  })

  test('serves a clone as well, and takes a Response of its own making at its word', async () => {
    const origin = await upstream(encoding)
    const body = gzipSync(TEXT)
    const routes: ServeOptions['routes'] = (server) =>
      server
        .get('/clone', async () => (await fetch(`${origin}/?coding=br`)).clone())
        .get('/own', () => new Response(body, { headers: { 'content-encoding': 'gzip', 'content-length': String(body.length) } }))
        .get('/copy', async () => {
          const { body, headers, status } = await fetch(`${origin}/?coding=br`)
          const own = new Headers(headers)
          for (const name of ['content-encoding', 'content-length']) own.delete(name)
          return new Response(body, { status, headers: own })
        })
    const served = await serve(engine, {}, { path: '/socket', routes })
    expect((await http(served, '/clone')).body.toString()).toBe(TEXT)
    const own = await http(served, '/own')
    expect([own.headers['content-encoding'], own.headers['content-length']]).toEqual(['gzip', String(body.length)])
    expect(own.body.equals(body)).toBe(true)
    expect((await http(served, '/copy')).body.toString()).toBe(TEXT)
  })
})
