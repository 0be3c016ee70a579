/**
 * What is refused as a request is refused as a handshake, too: a checklist of what is wrong with a head, on
 * both engines.
 */
import { expect, test } from 'vitest'
import type { WebSocketServer } from '../../src/index.js'
import { describeEngines, serve } from '../support/engines.js'
import { RawClient } from '../support/raw-client.js'
import { Queue, turns } from '../support/waiting.js'

const HANDSHAKE = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
]

interface Malformed {
  readonly fields: readonly string[]
  /** What the first line begins with, where it is not `GET `, and ends with, where it is not ` HTTP/1.1`. */
  readonly start?: string
  readonly end?: string
}

const MALFORMED: Record<string, Malformed> = {
  'no Host': { fields: [] },
  'two Hosts': { fields: ['Host: a', 'Host: b'] },
  // Behind so many that Node's limit of the number of fields would hide it.
  'a second Host behind 2,500 fields': { fields: ['Host: a', ...Array<string>(2500).fill('a:'), 'Host: b'] },
  'two Hosts that are the same': { fields: ['host: a', 'HOST: a'] },
  'a version that is none': { fields: ['Host: a'], end: ' HTTP/1.2' },
  'a version of old': { fields: ['Host: a'], end: ' HTTP/0.9' },
  'a version to come': { fields: ['Host: a'], end: ' HTTP/2.0' },
  'another protocol': { fields: ['Host: a'], end: ' RTSP/1.1' },
  'no version': { fields: ['Host: a'], end: '' },
  'two blanks before the target': { fields: ['Host: a'], start: 'GET  ' },
  'two blanks behind the target': { fields: ['Host: a'], end: '  HTTP/1.1' },
  'a LF before the first line': { fields: ['Host: a'], start: '\nGET ' },
  'a CR before the first line': { fields: ['Host: a'], start: '\rGET ' },
  'a LF behind an empty line': { fields: ['Host: a'], start: '\r\n\nGET ' },
  'a LF at the end of the first line': { fields: ['Host: a'], end: ' HTTP/1.1\nX: a' },
  'a method that is no token': { fields: ['Host: a'], start: 'G[T ' },
  'a version in lower case': { fields: ['Host: a'], end: ' http/1.1' },
  'a length that is no number': { fields: ['Host: a', 'Content-Length: x'] },
  'an empty length': { fields: ['Host: a', 'Content-Length:'] },
  'a negative length': { fields: ['Host: a', 'Content-Length: -0'] },
  'a length with a sign': { fields: ['Host: a', 'Content-Length: +0'] },
  'a length of many digits': { fields: ['Host: a', `Content-Length: ${'0'.repeat(19)}`] },
  'two lengths': { fields: ['Host: a', 'Content-Length: 0', 'Content-Length: 0'] },
  'a list of lengths': { fields: ['Host: a', 'Content-Length: 0, 0'] },
  'chunks and a length': { fields: ['Host: a', 'Transfer-Encoding: chunked', 'Content-Length: 5'] },
  'a coding on top of chunks': { fields: ['Host: a', 'Transfer-Encoding: gzip, chunked'] },
  'a coding that means none, and chunks': { fields: ['Host: a', 'Transfer-Encoding: identity, chunked'] },
  'an empty coding and chunks': { fields: ['Host: a', 'Transfer-Encoding: ,chunked'] },
  'codings in two fields': { fields: ['Host: a', 'Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'] },
  'chunks in two fields': { fields: ['Host: a', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'] },
  'a coding that ends in chunked': { fields: ['Host: a', 'Transfer-Encoding: xchunked'] },
  'a coding with a parameter': { fields: ['Host: a', 'Transfer-Encoding: chunked;q=1'] },
  'a coding that is not chunked': { fields: ['Host: a', 'Transfer-Encoding: gzip'] },
  'chunked before another coding': { fields: ['Host: a', 'Transfer-Encoding: chunked, gzip'] },
  'the coding identity': { fields: ['Host: a', 'Transfer-Encoding: identity'] },
  'an empty Transfer-Encoding': { fields: ['Host: a', 'Transfer-Encoding:'] },
  'a folded field': { fields: ['Host: a', 'X: a\r\n b'] },
  'a blank before the colon': { fields: ['Host: a', 'X : a'] },
  'a blank before the first field': { fields: [' X: a', 'Host: a'] },
  'a field without a colon': { fields: ['Host: a', 'X'] },
  'a field without a name': { fields: ['Host: a', ': b'] },
  'a NUL in a value': { fields: ['Host: a', 'X: a\0b'] },
  'a CR in a value': { fields: ['Host: a', 'X: a\rb'] },
  'a DEL in a value': { fields: ['Host: a', 'X: a\x7fb'] },
  'a bare LF': { fields: ['Host: a', 'X: a\nY: b'] },
  'a name that is not ASCII': { fields: ['Host: a', 'X\xe9: b'] },
  'a head that is too large': { fields: ['Host: a', `X: ${'x'.repeat(17_000)}`] },
}

describeEngines('a head that is wrong is refused, and ends the connection', (engine) => {
  for (const [what, { fields, start = 'GET ', end = ' HTTP/1.1' }] of Object.entries(MALFORMED)) {
    for (const [kind, more] of [
      ['a request', []],
      ['a handshake', HANDSHAKE],
    ] as const) {
      test(`${what}, in ${kind}`, async () => {
        const served = await serve(
          engine,
          {},
          { path: '/socket', routes: (server) => server.any('/', () => new Response('served')) },
        )
        const path = more.length === 0 ? '/' : '/socket'
        // Behind it, what could be taken for a body, and for the next request.
        const rest = '5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'
        const bytes = Buffer.from(`${start}${path}${end}\r\n${[...fields, ...more].join('\r\n')}\r\n\r\n${rest}`, 'latin1')
        for (const pieces of [1, 20]) {
          const client = await RawClient.connect(served)
          const step = Math.ceil(bytes.length / pieces)
          for (let at = 0; at < bytes.length; at += step) {
            client.write(bytes.subarray(at, at + step))
            await client.flushed()
          }
          const answer = (await client.rest()).toString('latin1')
          expect(answer).toMatch(/^HTTP\/1\.1 (400|431|505) /)
          expect(answer.split('HTTP/1.1 ')).toHaveLength(2)
        }
      })
    }
  }

  test.each(['GET', 'G', '/', 'GET /', 'GET /socket?x=y', 'GET / '])('a first line without a version: %s', async (line) => {
    const served = await serve(engine, {}, { path: '/socket', routes: (server) => server.get('/', () => new Response('served')) })
    for (const fields of ['', 'Host: a\r\n', `${['Host: a', ...HANDSHAKE].join('\r\n')}\r\n`]) {
      const client = await RawClient.connect(served)
      client.write(`${line}\r\n${fields}\r\n`)
      expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 (400|505) /)
    }
  })

  test.each([
    ['GET / HTTP/1.1\r\nHost: a\r\n', '\n'],
    ['GET / HTTP/1.1\r\nHo', 'st: a\n', '\n'],
    ['GET / HTTP/1.1', '\n', 'Host: a\n'],
    ['GET / HTTP/1.1\r\nHost: a\r\nX: a', '\nY'],
  ])('a line that ends without CR, as soon as it has come: %j, %j', async (...pieces) => {
    const served = await serve(engine, {}, { path: '/socket', routes: (server) => server.get('/', () => new Response('served')) })
    const client = await RawClient.connect(served)
    for (const piece of pieces) {
      client.write(piece)
      await client.flushed()
      await turns()
    }
    expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 400 /)
  })

  test('chunks over HTTP/1.0', async () => {
    const routes = (server: WebSocketServer) => void server.any('/', () => new Response('served'))
    const client = await RawClient.connect(await serve(engine, {}, { path: '/socket', routes }))
    client.write('POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n')
    expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 (400|505) /)
  })

  test('a handshake over HTTP/1.0', async () => {
    const served = await serve(engine)
    const client = await RawClient.connect(served)
    client.write(`GET / HTTP/1.0\r\n${['Host: a', ...HANDSHAKE].join('\r\n')}\r\n\r\n`)
    expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 (400|505) /)
  })
})

describeEngines('a request that asks for another protocol than WebSocket', (engine) => {
  const h2c = ['Host: a', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQ'].join('\r\n')

  test.each([
    ['without a body', `GET /first HTTP/1.1\r\n${h2c}\r\n\r\n`, 'GET '],
    ['with a body', `POST /first HTTP/1.1\r\n${h2c}\r\nContent-Length: 5\r\n\r\nhello`, 'POST hello'],
    [
      'with a body in chunks',
      `POST /first HTTP/1.1\r\n${h2c}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\n`,
      'POST hello',
    ],
  ])('is served as it is, and so is what follows it: %s', async (_what, first, answer) => {
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server
            .any('/first', async (request) => new Response(`${request.method} ${await request.text()}`))
            .get('/second', () => new Response('second')),
      },
    )
    const second = 'GET /second HTTP/1.1\r\nHost: a\r\n\r\n'
    const atOnce = await RawClient.connect(served)
    atOnce.write(first, first, second)
    const byteByByte = await RawClient.connect(served)
    for (const byte of first + first + second) {
      byteByByte.write(byte)
      await byteByByte.flushed()
    }
    for (const client of [atOnce, byteByByte]) {
      for (const body of [answer, answer, 'second']) expect((await client.response()).body.toString()).toBe(body)
    }
  })

  test.each([
    ['bytes that are no request', '\x81\x82garbage'],
    ['a field that is none', 'GET /second HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n'],
    ['a length that is no number', 'POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'],
    ['a head that is too long', `GET /second HTTP/1.1\r\nHost: a\r\nA: ${'a'.repeat(100_000)}`],
  ])('is served, and refused is what follows it: %s', async (_what, rest) => {
    const served = await serve(engine, {}, { path: '/socket', routes: (server) => server.get('/', () => new Response('served')) })
    const first = `GET / HTTP/1.1\r\n${h2c}\r\n\r\n`
    for (const isTogether of [true, false]) {
      const client = await RawClient.connect(served)
      client.write(Buffer.from(isTogether ? first + rest : first, 'latin1'))
      expect((await client.response()).body.toString()).toBe('served')
      if (!isTogether) client.write(Buffer.from(rest, 'latin1'))
      expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 (400|431|501|505) /)
    }
  })

  test('is refused when its body is malformed', async () => {
    const errors = new Queue<unknown>()
    const served = await serve(
      engine,
      {},
      {
        path: '/socket',
        routes: (server) =>
          server.post('/', async (request) => {
            await request.text().catch((error: unknown) => errors.push(error))
            return new Response()
          }),
      },
    )
    const client = await RawClient.connect(served)
    client.write(`POST / HTTP/1.1\r\n${h2c}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n`, 'no chunk\r\n')
    expect((await client.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 400 /)
    expect(await errors.next('the error')).toBeInstanceOf(Error)
  })
})
