/** The face of uWebSockets.js. */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as requestUnix } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { expect, onTestFinished, test } from 'vitest'
import uWS, {
  App,
  type AppOptions,
  type HttpRequest,
  type HttpResponse,
  LIBUS_LISTEN_EXCLUSIVE_PORT,
  SSLApp,
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  us_socket_local_port,
  type WebSocket,
} from '../../src/faces/uws.js'
import { NotSupportedError, TlsError } from '../../src/index.js'
import { localhostCertificate } from '../support/certificates.js'
import { Client, refusal } from '../support/client.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { binary, handshake, RawClient, text } from '../support/raw-client.js'
import { Deferred, Queue, turns, within } from '../support/waiting.js'

function appOn(engine: EngineName, options: AppOptions = {}): TemplatedApp {
  const app = App({ engine, ...options })
  onTestFinished(() => void app.close())
  return app
}

async function listening(app: TemplatedApp, secure = false): Promise<Address & { readonly token: us_listen_socket }> {
  const listened = new Promise<us_listen_socket | false>((resolve) => app.listen('127.0.0.1', 0, resolve))
  const token = await within(listened, 'the app to listen')
  if (token === false) throw new Error('the app does not listen')
  return { ...addressOf(us_socket_local_port(token), '127.0.0.1', secure), token }
}

const textOf = (bytes: ArrayBuffer) => Buffer.from(bytes).toString()

/** One that is free at the moment, and below those that systems give to others who ask for any port. */
async function freePort(): Promise<number> {
  for (;;) {
    const probe = createServer()
    const found = new Promise<number>((resolve) => {
      probe.on('error', () => resolve(0)).on('listening', () => resolve((probe.address() as AddressInfo).port))
    })
    probe.listen(20_000 + Math.floor(Math.random() * 12_000))
    const port = await found
    if (port === 0) continue
    await once(probe.close(), 'close')
    return port
  }
}

function fail(): never {
  throw new Error('the app does not listen')
}

/** A folder that is removed when the test ends. */
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'uws-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

/** The names of files with the test certificate. */
function certificateFiles(): { key_file_name: string; cert_file_name: string } {
  const path = folder()
  const { key, cert } = localhostCertificate()
  writeFileSync(join(path, 'key.pem'), String(key))
  writeFileSync(join(path, 'cert.pem'), String(cert))
  return { key_file_name: join(path, 'key.pem'), cert_file_name: join(path, 'cert.pem') }
}

test('the constants are those of uWebSockets.js', () => {
  const { SHARED_COMPRESSOR, SHARED_DECOMPRESSOR, DEDICATED_COMPRESSOR_3KB, DEDICATED_COMPRESSOR_256KB } = uWS
  expect([uWS.DISABLED, SHARED_COMPRESSOR, SHARED_DECOMPRESSOR]).toEqual([0, 1, 256])
  expect([DEDICATED_COMPRESSOR_3KB, DEDICATED_COMPRESSOR_256KB, uWS.DEDICATED_COMPRESSOR]).toEqual([145, 248, 248])
  expect([uWS.DEDICATED_DECOMPRESSOR_512B, uWS.DEDICATED_DECOMPRESSOR]).toEqual([2304, 3840])
  expect(uWS.App).toBe(App)
})

test.each<[string, (app: TemplatedApp) => unknown]>([
  ['App.connect', (app) => app.connect()],
  ['App.domain', (app) => app.domain()],
  ['App.filter', (app) => app.filter()],
  ['App.getDescriptor', (app) => app.getDescriptor()],
  ['App.addChildAppDescriptor', (app) => app.addChildAppDescriptor()],
  ['App.removeChildAppDescriptor', (app) => app.removeChildAppDescriptor()],
  ['getParts', () => uWS.getParts()],
  ['H3App', () => uWS.H3App()],
  ['the option dh_params_file_name', () => SSLApp({ dh_params_file_name: 'dh.pem' })],
])('%s throws NotSupportedError, and says what to do', (member, call) => {
  const app = App()
  expect(() => call(app)).toThrow(NotSupportedError)
  expect(() => call(app)).toThrow(expect.objectContaining({ member }))
})

test('an SSLApp whose files cannot be read is not made', () => {
  expect(() => SSLApp({ key_file_name: '/nowhere/key.pem', cert_file_name: '/nowhere/cert.pem' })).toThrow(TlsError)
})

describeEngines('HTTP of the face of uWebSockets.js', (engine) => {
  test('finds handlers by method and pattern, and goes on where one yields', async () => {
    const app = appOn(engine)
      .get('/a/:x/b/:y', (response, request) => {
        const { x, y } = { x: request.getParameter('x'), y: request.getParameter(1) }
        response.end(JSON.stringify([x, y, request.getParameter(2), request.getParameter('z')]))
      })
      .any('/a/literal/b/*', (response) => void response.end('literal'))
      .get('/yield/*', (_response, request) => void request.setYield(true))
      .any('/yield/*', (response, request) => void response.end(`any ${request.getMethod()} ${request.getUrl()}`))
      .del('/gone', (response) => void response.writeStatus('410 Long Gone').writeHeader('x-a', '1').end())
    const address = await listening(app)
    expect(JSON.parse(String((await http(address, '/a/1/b/t%20wo')).body))).toEqual(['1', 't%20wo', null, null])
    expect(String((await http(address, '/a/literal/b/2')).body)).toBe('literal')
    expect(String((await http(address, '/yield/here')).body)).toBe('any get /yield/here')
    const gone = await http(address, '/gone', { method: 'DELETE' })
    expect([gone.status, gone.statusText, gone.headers['x-a']]).toEqual([410, 'Long Gone', '1'])
    expect((await http(address, '/gone')).status).toBe(404)
  })

  test('gives what a request has', async () => {
    const app = appOn(engine).any('/*', (response, request) => {
      const names: string[] = []
      request.forEach((name) => void names.push(name))
      const { getUrl, getQuery } = { getUrl: request.getUrl(), getQuery: request.getQuery() }
      const own = [request.getHeader('x-test'), request.getHeader('x-none'), request.getQuery('k'), request.getQuery('none')]
      const addresses = [textOf(response.getRemoteAddressAsText()), [...new Uint8Array(response.getRemoteAddress())]]
      response.end(JSON.stringify({ getUrl, getQuery, own, names, addresses, method: request.getCaseSensitiveMethod() }))
    })
    const address = await listening(app)
    const { body } = await http(address, '/path?k=a%20b&x', { headers: { 'X-Test': 'Value' } })
    expect(JSON.parse(String(body))).toEqual({
      getUrl: '/path',
      getQuery: 'k=a%20b&x',
      own: ['Value', '', 'a b', null],
      names: expect.arrayContaining(['host', 'x-test']),
      addresses: ['127.0.0.1', [127, 0, 0, 1]],
      method: 'GET',
    })
  })

  test('gives the body in pieces, whole, and empty where there is none', async () => {
    const app = appOn(engine)
      .post('/pieces', (response) => {
        const hash = { size: 0, last: 0 }
        response.onAborted(() => {})
        response.onDataV2((chunk, remaining) => {
          hash.size += chunk.byteLength
          if (remaining === 0n) response.end(String(hash.size))
        })
        response.pause()
        setImmediate(() => response.resume())
      })
      .post('/whole/:max', (response, request) => {
        response.onAborted(() => {})
        response.collectBody(Number(request.getParameter(0)), (body) => response.end(body === null ? 'too long' : body))
      })
      .get('/none', (response) => {
        response.onAborted(() => {})
        response.onData((chunk, isLast) => void response.end(`${chunk.byteLength} ${isLast}`))
      })
      .post('/unread', (response) => void response.end('unread'))
    const address = await listening(app)
    const long = Buffer.alloc(300_000, 'x')
    expect(String((await http(address, '/pieces', { method: 'POST', body: long })).body)).toBe('300000')
    const chunked = { 'transfer-encoding': 'chunked' }
    expect(String((await http(address, '/pieces', { method: 'POST', body: long, headers: chunked })).body)).toBe('300000')
    expect(String((await http(address, '/whole/9', { method: 'POST', body: '123456789' })).body)).toBe('123456789')
    expect(String((await http(address, '/whole/8', { method: 'POST', body: '123456789' })).body)).toBe('too long')
    expect(String((await http(address, '/none')).body)).toBe('0 true')
    expect(String((await http(address, '/unread', { method: 'POST', body: 'text' })).body)).toBe('unread')
  })

  test('may be paused when its client goes, and others are served', async () => {
    const gone = new Deferred<void>()
    const app = appOn(engine)
      .post('/paused', (response) => {
        response.onAborted(() => gone.resolve())
        response.onData(() => response.pause())
      })
      .get('/', (response) => void response.end('served'))
    const address = await listening(app)
    const client = await RawClient.connect(address)
    client.write('POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\npart')
    await client.flushed()
    client.socket.destroy()
    await within(gone.promise, 'the abort')
    expect(String((await http(address, '/')).body)).toBe('served')
  })

  test('sends responses in pieces no faster than the client reads', async () => {
    const total = 8 * 1024 * 1024
    const refusals = { write: 0, tryEnd: 0 }
    const chunk = Buffer.alloc(256 * 1024, 'z')
    const app = appOn(engine)
      .get('/write', (response) => {
        response.onAborted(() => {})
        const go = () => {
          while (response.getWriteOffset() < total) {
            if (response.write(chunk)) continue
            refusals.write += 1
            return true
          }
          response.end()
          return true
        }
        response.onWritable(go)
        go()
      })
      .get('/tryEnd', (response) => {
        response.onAborted(() => {})
        const go = () => {
          for (;;) {
            const [ok, isWhole] = response.tryEnd(chunk, total)
            if (isWhole) return true
            if (ok) continue
            refusals.tryEnd += 1
            return false
          }
        }
        response.onWritable(go)
        go()
      })
    const address = await listening(app)
    const inPieces = await http(address, '/write')
    expect([inPieces.body.length, inPieces.headers['content-length']]).toEqual([total, undefined])
    const withLength = await http(address, '/tryEnd')
    expect([withLength.body.length, withLength.headers['content-length']]).toEqual([total, String(total)])
    expect(refusals.write).toBeGreaterThan(0)
    expect(refusals.tryEnd).toBeGreaterThan(0)
  })

  test('ends the connection where the response is told to', async () => {
    const app = appOn(engine)
      .get('/end', (response) => void response.end('last', true))
      .get('/bodiless', (response) => void response.writeStatus('204 No Content').endWithoutBody(undefined, true))
      .get('/late', (response) => {
        response.write('begun')
        response.end('', true)
      })
    const address = await listening(app)
    for (const [path, status] of [
      ['/end', 200],
      ['/bodiless', 204],
    ]) {
      const client = await RawClient.connect(address)
      client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
      const response = await client.response()
      expect([response.status, response.header('connection')]).toEqual([status, 'close'])
      await client.rest()
    }
    expect(String((await http(address, '/late')).body)).toBe('begun')
  })

  test('sends heads without bodies, and needs no body for them', async () => {
    const errors = new Queue<unknown>()
    const app = appOn(engine)
      .head('/*', (response) => void response.endWithoutBody(1234))
      .get('/empty', (response) => void response.writeStatus('204 No Content').endWithoutBody())
      .get('/wrong', (response) => {
        try {
          response.endWithoutBody(5)
        } catch (error) {
          errors.push(error)
          response.end('5 bytes')
        }
      })
      .get('/cork', (response) => {
        response.onAborted(() => {})
        setImmediate(() => response.cork(() => void response.writeHeader('x-a', 'b').beginWrite().end('corked')))
      })
    const address = await listening(app)
    expect((await http(address, '/', { method: 'HEAD' })).headers['content-length']).toBe('1234')
    expect((await http(address, '/empty')).status).toBe(204)
    expect((await http(address, '/wrong')).status).toBe(200)
    expect(await errors.next('the error')).toBeInstanceOf(NotSupportedError)
    expect(String((await http(address, '/cork')).body)).toBe('corked')
  })

  test('throws for a response that is whole or aborted, and tells of clients that leave', async () => {
    const aborted = new Deferred<HttpResponse>()
    const asked = new Deferred()
    const messages = new Queue<string>()
    const app = appOn(engine)
      .get('/twice', (response) => {
        response.end('once')
        expect(() => response.end('twice')).toThrow('cannot be used any more')
        messages.push('thrown')
      })
      .get('/wait', (response) => {
        response.onAborted(() => aborted.resolve(response))
        asked.resolve()
      })
      .get('/cut', (response) => {
        response.onAborted(() => messages.push('cut'))
        response.close()
        messages.push('after close')
      })
    const address = await listening(app)
    expect(String((await http(address, '/twice')).body)).toBe('once')
    expect(await messages.next('the error')).toBe('thrown')
    const client = await RawClient.connect(address)
    client.write('GET /wait HTTP/1.1\r\nHost: a\r\n\r\n')
    await within(asked.promise, 'the request')
    client.socket.destroy()
    const response = await within(aborted.promise, 'onAborted')
    expect(() => response.end('late')).toThrow('cannot be used any more')
    await expect(http(address, '/cut')).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(await messages.take(2, 'the order')).toEqual(['cut', 'after close'])
  })

  test('sends the first of several fields that have one value, and all others', async () => {
    const app = appOn(engine).get('/', (response) => {
      response.writeHeader('Content-Type', 'text/a').writeHeader('content-type', 'text/b')
      response.writeHeader('Set-Cookie', 'a=1').writeHeader('Set-Cookie', 'b=2').writeHeader('Vary', 'A').writeHeader('Vary', 'B')
      response.end()
    })
    const { headers } = await http(await listening(app), '/')
    expect([headers['content-type'], headers['set-cookie'], headers.vary]).toEqual(['text/a', ['a=1', 'b=2'], 'A, B'])
  })

  test('takes statuses that the class Response does not, whole and in pieces', async () => {
    const app = appOn(engine)
      .get('/whole', (response) => void response.writeStatus('609 Own Text').end('whole'))
      .get('/pieces', (response) => {
        response.onAborted(() => {})
        response.writeStatus('999').write('pie')
        response.end('ces')
      })
    const address = await listening(app)
    expect(await http(address, '/whole')).toMatchObject({ status: 609, statusText: 'Own Text', body: Buffer.from('whole') })
    expect(await http(address, '/pieces')).toMatchObject({ status: 999, body: Buffer.from('pieces') })
  })

  test('keeps the first status, and warns of fields that come too late', async () => {
    const warnings = new Queue<string>()
    const note = ({ message }: Error) => warnings.push(message)
    process.on('warning', note)
    onTestFinished(() => void process.off('warning', note))
    const app = appOn(engine)
      .get('/twice', (response) => void response.writeStatus('201 Made').writeStatus('404 Not Found').end())
      .get('/after', (response) => void response.writeHeader('x-a', '1').writeStatus('404 Not Found').end())
      .get('/late', (response) => {
        response.write('a')
        response.writeStatus('404 Not Found').writeHeader('x-a', '1').end('b')
      })
    const address = await listening(app)
    expect((await http(address, '/twice')).status).toBe(201)
    expect((await http(address, '/after')).status).toBe(200)
    const late = await http(address, '/late')
    expect([late.status, late.headers['x-a'], String(late.body)]).toEqual([200, undefined, 'ab'])
    // Once for the process, whatever the engine.
    if (engine === 'native') expect(await warnings.next('the warning')).toMatch(/^writeHeader after a part of the response/)
  })

  test('makes what a handler throws uncaught, and responds with 500', async () => {
    const own = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const uncaught = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve))
    onTestFinished(() => {
      for (const listener of own) process.on('uncaughtException', listener)
    })
    const app = appOn(engine).get('/', () => {
      throw new Error('by the handler')
    })
    const address = await listening(app)
    expect((await http(address, '/')).status).toBe(500)
    expect(await within(uncaught, 'the exception')).toMatchObject({ message: 'by the handler' })
  })
})

describeEngines('WebSockets of the face of uWebSockets.js', (engine) => {
  /** An app with an echo, which says what its last event was. */
  function echoing(options: AppOptions = {}): TemplatedApp {
    return appOn(engine, options).ws('/*', { message: (socket, message, isBinary) => void socket.send(message, isBinary) })
  }

  test('echoes text and bytes', async () => {
    const client = await Client.open(await listening(echoing()))
    expect(await client.ask('grüezi')).toBe('grüezi')
    expect(await client.ask(Buffer.from([1, 2, 3]))).toEqual(Buffer.from([1, 2, 3]))
    expect(await client.ask('')).toBe('')
  })

  test('lends each message in an ArrayBuffer of its length, which may be sent, read, kept too long, and transferred', async () => {
    const kept: ArrayBuffer[] = []
    const seen = new Queue<readonly unknown[]>()
    const app = appOn(engine).ws('/*', {
      async message(socket, message, isBinary) {
        const bytes = new Uint8Array(message)
        seen.push([message.byteLength, bytes[0], isBinary])
        socket.send(message, isBinary)
        socket.send(bytes.subarray(0, 1), true)
        // Not the bytes that have come, but those that are in it now.
        bytes.fill(0x79)
        socket.send(message, isBinary)
        if (isBinary) structuredClone(message, { transfer: [message] })
        else kept.push(message)
        await undefined
        if (!isBinary) seen.push([message.byteLength])
      },
    })
    const client = await RawClient.open(await listening(app))
    // Of one length, in one turn: those of bytes are gone when the next one comes.
    client.write(binary('xxxx'), text('xxxx'), binary('xxxx'), text('x'.repeat(5000)))
    const first = 'x'.charCodeAt(0)
    const isLent = engine === 'native'
    const events = await seen.take(6, 'what the handler saw')
    expect(events.slice(0, 4)).toEqual([
      [4, first, true],
      [4, first, false],
      [4, first, true],
      [5000, first, false],
    ])
    expect(events.slice(4)).toEqual(isLent ? [[0], [0]] : [[4], [5000]])
    expect(kept.map(({ byteLength }) => byteLength)).toEqual(isLent ? [0, 0] : [4, 5000])
    for (const length of [4, 4, 4, 5000]) {
      const payloads = [await client.frame(), await client.frame(), await client.frame()].map(({ payload }) => String(payload))
      expect(payloads).toEqual(['x'.repeat(length), 'x', 'y'.repeat(length)])
    }
  })

  test('accepts with user data, a subprotocol and headers, at once or later', async () => {
    const opened = new Queue<WebSocket<{ user: string; url: string }>>()
    const app = appOn(engine).ws<{ user: string; url: string }>('/:when', {
      upgrade(response, request, context) {
        const { key, protocol, extensions } = {
          key: request.getHeader('sec-websocket-key'),
          protocol: request.getHeader('sec-websocket-protocol'),
          extensions: request.getHeader('sec-websocket-extensions'),
        }
        const url = `${request.getUrl()}?${request.getQuery()}`
        const accept = () => {
          response.writeStatus('101 Switching Protocols').writeHeader('x-own', '1')
          response.upgrade({ user: 'Ada', url }, key, protocol, extensions, context)
        }
        if (request.getParameter(0) === 'now') return accept()
        response.onAborted(() => {})
        setImmediate(() => response.cork(accept))
      },
      open: (socket) => void opened.push(socket),
    })
    const address = await listening(app)
    for (const when of ['now', 'later']) {
      const raw = await RawClient.connect(address)
      raw.write(handshake({ path: `/${when}?a=b`, headers: ['Sec-WebSocket-Protocol: one, two'] }))
      const head = await raw.response({ head: true })
      expect([head.status, head.header('x-own'), head.header('sec-websocket-protocol')]).toEqual([101, '1', 'one'])
      const socket = await opened.next('open')
      expect(socket.getUserData()).toBe(socket)
      expect(socket.getUserData()).toMatchObject({ user: 'Ada', url: `/${when}?a=b` })
      expect(textOf(socket.getRemoteAddressAsText())).toBe('127.0.0.1')
      expect(socket.getRemotePort()).toBeGreaterThan(0)
    }
  })

  test('accepts with a subprotocol that is written as a header', async () => {
    const app = appOn(engine).ws('/*', {
      upgrade(response, request, context) {
        response.writeStatus('101 Switching Protocols').writeHeader('Sec-WebSocket-Protocol', 'two').writeHeader('x-own', '1')
        response.upgrade({}, request.getHeader('sec-websocket-key'), '', '', context)
      },
    })
    const raw = await RawClient.connect(await listening(app))
    raw.write(handshake({ headers: ['Sec-WebSocket-Protocol: one, two'] }))
    const head = await raw.response({ head: true })
    expect([head.status, head.header('x-own'), head.header('sec-websocket-protocol')]).toEqual([101, '1', 'two'])
  })

  test('refuses with a status, cuts, and leaves other paths to the routes of HTTP', async () => {
    const app = appOn(engine)
      .ws('/refuse', { upgrade: (response) => void response.writeStatus('418 Teapot').end('no') })
      .ws('/cut', { upgrade: (response) => void response.close() })
      .ws('/yield', { upgrade: (_response, request) => void request.setYield(true) })
      .any('/yield', (response) => void response.writeStatus('409 Conflict').end())
      .get('/http', (response, request) => void response.writeStatus('402 Pay').end(request.getHeader('upgrade')))
    const address = await listening(app)
    expect(await refusal(address, '/refuse')).toBe(418)
    expect(await refusal(address, '/yield')).toBe(409)
    expect(await refusal(address, '/http')).toBe(402)
    expect(await refusal(address, '/none')).toBe(404)
    await expect(Client.open(address, '/cut')).rejects.toThrow('socket hang up')
    expect((await http(address, '/refuse')).status).toBe(404)
  })

  test('publishes to topics, and tells of subscriptions', async () => {
    const changes = new Queue<unknown[]>()
    const app = appOn(engine)
    app.ws('/*', {
      subscription: (_socket, topic, now, before) => void changes.push([textOf(topic), now, before]),
      message(socket, message) {
        const [call, topic = ''] = textOf(message).split(' ')
        if (call === 'subscribe') socket.send(String([socket.subscribe(topic), socket.isSubscribed(topic), socket.getTopics()]))
        if (call === 'unsubscribe') socket.send(String([socket.unsubscribe(topic), socket.unsubscribe(topic)]))
        if (call === 'publish') socket.send(String(socket.publish(topic, 'from a socket')))
      },
    })
    const address = await listening(app)
    const [first, second] = [await Client.open(address), await Client.open(address)]
    expect(await first.ask('subscribe news')).toBe('true,true,news')
    expect(await first.ask('subscribe news')).toBe('true,true,news')
    expect(await first.ask('publish news')).toBe('false')
    expect(await second.ask('publish news')).toBe('true')
    expect(await first.next()).toBe('from a socket')
    expect([app.numSubscribers('news'), app.publish('news', Buffer.from('bytes'), true)]).toEqual([1, true])
    expect(await first.next()).toEqual(Buffer.from('bytes'))
    app.publish('news', new TextEncoder().encode('text').buffer)
    expect(await first.next()).toBe('text')
    expect(await first.ask('unsubscribe news')).toBe('true,false')
    expect(app.publish('news', 'none')).toBe(false)
    expect(await changes.take(2, 'two changes')).toEqual([
      ['news', 1, 0],
      ['news', 0, 1],
    ])
  })

  test('calls close at once for end and close, once, and nothing works after it', async () => {
    const events = new Queue<unknown[]>()
    const app = appOn(engine).ws('/*', {
      message(socket, message) {
        if (textOf(message) === 'end') socket.end(4000, 'bye')
        else if (textOf(message) === 'no code') socket.end()
        else socket.close()
        events.push(['after'])
      },
      close(socket, code, message) {
        events.push([code, textOf(message)])
        expect(() => socket.send('late')).toThrow('cannot be used any more')
        expect(socket.getUserData()).toBe(socket)
      },
    })
    const address = await listening(app)
    for (const [call, told, seen] of [
      ['end', [4000, 'bye'], { code: 4000, reason: 'bye' }],
      ['no code', [0, ''], { code: 1005, reason: '' }],
      ['close', [1006, ''], { code: 1006, reason: '' }],
    ] as const) {
      const client = await Client.open(address)
      client.send(call)
      expect(await events.take(2, 'close')).toEqual([told, ['after']])
      expect(await client.closed()).toEqual(seen)
    }
    const client = await Client.open(address)
    client.socket.close(3000, 'own')
    expect(await events.next('close')).toEqual([3000, 'own'])
  })

  test('gives Pings and Pongs, sends Pings, and answers with the state of the queue', async () => {
    const frames = new Queue<string>()
    const sockets = new Queue<WebSocket<unknown>>()
    const dropped = new Queue<unknown[]>()
    const drained = new Deferred()
    const app = appOn(engine).ws('/*', {
      maxBackpressure: 1024 * 1024,
      maxPayloadLength: 1024,
      open: (socket) => void sockets.push(socket),
      ping: (_socket, message) => void frames.push(`ping ${textOf(message)}`),
      pong: (_socket, message) => void frames.push(`pong ${textOf(message)}`),
      drain: () => drained.resolve(),
      dropped: (_socket, message, isBinary) => void dropped.push([message.byteLength, isBinary]),
    })
    const address = await listening(app)
    const client = await Client.open(address)
    const socket = await sockets.next('open')
    client.socket.ping('a')
    expect(await frames.next('the Ping')).toBe('ping a')
    expect(socket.ping('b')).toBe(1)
    expect(await frames.next('the Pong')).toBe('pong b')
    expect(socket.cork(() => void socket.send('corked'))).toBe(socket)
    expect(await client.next()).toBe('corked')
    client.socket.pause()
    const chunk = Buffer.alloc(200 * 1024)
    const results = new Set<number>()
    for (let count = 0; count < 100 && !results.has(2); count++) results.add(socket.send(chunk, true))
    expect([...results]).toEqual([1, 0, 2])
    expect(socket.getBufferedAmount()).toBeGreaterThan(0)
    expect(await dropped.next('dropped')).toEqual([chunk.length, true])
    client.socket.resume()
    await within(drained.promise, 'drain')
    client.send('x'.repeat(1025))
    expect((await client.closed()).code).toBe(1009)
  })

  test('compresses where it is asked to', async () => {
    const app = appOn(engine).ws('/*', {
      compression: uWS.SHARED_COMPRESSOR | uWS.DEDICATED_DECOMPRESSOR_4KB,
      message: (socket, message) => void socket.send(message, false, textOf(message).startsWith('compress')),
    })
    const address = await listening(app)
    const client = await Client.open(address, '/', { perMessageDeflate: true })
    expect(client.socket.extensions).toContain('permessage-deflate')
    const long = `compress ${'x'.repeat(5000)}`
    expect(await client.ask(long)).toBe(long)
    expect(await client.ask('plain')).toBe('plain')
  })

  test('sends a message in fragments with its last one, which may reuse their memory', async () => {
    const app = appOn(engine).ws('/*', {
      open(socket) {
        const memory = new Uint8Array([1, 2])
        expect(socket.sendFirstFragment(memory, true)).toBe(1)
        memory.fill(9)
        expect(socket.sendFragment(memory)).toBe(1)
        expect(socket.sendLastFragment(new Uint8Array([5]))).toBe(1)
        socket.sendLastFragment('text')
      },
    })
    const client = await Client.open(await listening(app))
    expect(await client.next()).toEqual(Buffer.from([1, 2, 9, 9, 5]))
    expect(await client.next()).toBe('text')
  })

  test('drops a message in fragments that would make more than maxBackpressure wait', async () => {
    const opened = new Deferred<WebSocket<unknown>>()
    const app = appOn(engine).ws('/*', { maxBackpressure: 1000, open: (socket) => opened.resolve(socket) })
    const client = await RawClient.open(await listening(app))
    client.pause()
    const socket = await within(opened.promise, 'open')
    expect(socket.sendFirstFragment('x'.repeat(2000))).toBe(1) // nothing waits
    expect(socket.sendLastFragment('end')).toBe(1)
    const chunk = Buffer.alloc(1024 * 1024)
    await turns(2) // the kernel has it
    let result = 1
    while (socket.getBufferedAmount() === 0) result = socket.send(chunk, true)
    expect(result).toBe(0) // a part of it waits
    expect([socket.sendFirstFragment('first'), socket.sendFragment(chunk), socket.sendFragment('third')]).toEqual([2, 2, 2])
    expect(socket.sendLastFragment('last')).toBe(2)
    client.vanish()
  })
})

describeEngines('listening of the face of uWebSockets.js', (engine) => {
  test('says false where a port is taken, and stops by the token', async () => {
    const app = appOn(engine).get('/', (response) => void response.end('first'))
    const { token, port, ...address } = await listening(app)
    const taken = new Promise((resolve) => appOn(engine).listen('127.0.0.1', port, LIBUS_LISTEN_EXCLUSIVE_PORT, resolve))
    expect(await within(taken, 'the callback')).toBe(false)
    const open = await RawClient.connect({ port, ...address })
    us_listen_socket_close(token)
    us_listen_socket_close(token)
    await expect(RawClient.connect({ port, ...address })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    open.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(String((await open.response()).body)).toBe('first')
    const again = await listening(app)
    expect(String((await http(again, '/')).body)).toBe('first')
  })

  test('takes routes that are added in the same turn', async () => {
    const app = appOn(engine)
    const listened = new Promise<us_listen_socket | false>((resolve) => app.listen(0, resolve))
    app.ws('/late', { open: (socket) => void socket.send('late') })
    const token = await within(listened, 'the app to listen')
    if (token === false) throw new Error('the app does not listen')
    expect(await (await Client.open(addressOf(us_socket_local_port(token)), '/late')).next()).toBe('late')
    expect(() => app.ws('/too-late', {})).toThrow('listen')
  })

  test('calls back before listen returns where it is given a port and no host', async () => {
    const app = appOn(engine).get('/', (response) => void response.end(textOf(response.getRemoteAddressAsText())))
    const port = await freePort()
    let token: us_listen_socket | false | undefined
    const listened = new Promise<void>((resolve) => {
      app.listen(port, LIBUS_LISTEN_EXCLUSIVE_PORT, (given) => {
        token = given
        resolve()
      })
    })
    expect(token).toBeTruthy()
    await within(listened, 'the app to listen')
    if (!token) throw new Error('the app does not listen')
    const url = `http://127.0.0.1:${us_socket_local_port(token)}/`
    const answer = async (): Promise<Response> => {
      for (;;) {
        try {
          return await fetch(url)
        } catch {
          await turns(1)
        }
      }
    }
    const response = await within(answer(), 'the app to take clients')
    expect(await response.text()).toBe('0000:0000:0000:0000:0000:ffff:7f00:0001')
  })

  test.each([
    ['with port 0', () => 0],
    ['with a port that may be shared', freePort],
  ])('takes clients when it has called back, and those that the callback makes, %s', async (_how, choosePort) => {
    const port = await choosePort()
    const app = appOn(engine).get('/', (response) => void response.end('here'))
    const asked = new Deferred<string>()
    const token = await new Promise<us_listen_socket | false>((resolve) => {
      let isCalledBack = false
      app.listen(port, (given) => {
        isCalledBack = true
        resolve(given)
        const socket = connect(us_socket_local_port(given || fail()), '127.0.0.1')
        socket.on('data', (data) => asked.resolve(String(data))).on('error', asked.reject)
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      })
      expect(isCalledBack).toBe(true)
    })
    expect(await within(asked.promise, 'the response')).toMatch(/here$/)
    expect(await (await fetch(`http://127.0.0.1:${us_socket_local_port(token || fail())}/`)).text()).toBe('here')
  })

  // The portable engine of Node.js before 22.12 cannot share a port.
  test.runIf(engine === 'native')('shares a port that others take for a moment, to see whether it is free', async () => {
    const port = await freePort()
    const app = appOn(engine).get('/', (response) => void response.end('first'))
    // As an app in another thread looks: a bind that shares with no one, after this one has found it free.
    const probe = createServer()
    const looked = once(probe, 'listening')
    app.listen(port, () => void probe.listen({ port, exclusive: true }))
    await within(looked, 'the probe')
    await within(once(probe.close(), 'close'), 'the probe to close')
    const answer = async (): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)
      return response === undefined ? await turns().then(answer) : await response.text()
    }
    expect(await within(answer(), 'the app to answer')).toBe('first')
    // An app that has the port alone would refuse it.
    const second = new Promise((resolve) => appOn(engine).listen(port, (token) => resolve(token !== false)))
    expect(await within(second, 'the second app')).toBe(true)
  })

  test('listens in one place at a time, and says what to do for another', async () => {
    const app = appOn(engine).get('/', (response) => void response.end())
    const first = new Promise<us_listen_socket | false>((resolve) => app.listen('127.0.0.1', 0, resolve))
    expect(() => app.listen(0, () => {})).toThrow(NotSupportedError)
    const token = (await within(first, 'the app to listen')) || fail()
    expect(() => app.listen(0, () => {})).toThrow(NotSupportedError)
    expect(() => app.listen_unix(() => {}, join(folder(), 'socket'))).toThrow(NotSupportedError)
    us_listen_socket_close(token)
    const again = new Promise<us_listen_socket | false>((resolve) => app.listen(0, resolve))
    us_listen_socket_close((await within(again, 'the app to listen again')) || fail())
  })

  test('listens on a unix socket', async () => {
    const path = join(folder(), 'socket')
    const app = appOn(engine).get('/', (response) => void response.end(`[${textOf(response.getRemoteAddressAsText())}]`))
    const token = await within(new Promise<us_listen_socket | false>((resolve) => app.listen_unix(resolve, path)), 'the app')
    expect(token !== false && us_socket_local_port(token)).toBe(-1)
    const body = new Promise((resolve, reject) => {
      requestUnix({ socketPath: path }, (response) => response.on('data', (data) => resolve(String(data))))
        .on('error', reject)
        .end()
    })
    expect(await within(body, 'the response')).toBe('[]')
  })

  test('tells of every end before close of the app returns', async () => {
    const told: string[] = []
    const asked = new Deferred()
    const opened = new Queue<WebSocket<unknown>>()
    const app = appOn(engine)
      .ws('/*', { open: (socket) => opened.push(socket), close: (_socket, code) => void told.push(`close ${code}`) })
      .get('/wait', (response) => {
        response.onAborted(() => void told.push('aborted'))
        asked.resolve()
      })
    const address = await listening(app)
    const [ended] = [await Client.open(address), await Client.open(address)]
    const waiting = await RawClient.connect(address)
    waiting.write('GET /wait HTTP/1.1\r\nHost: a\r\n\r\n')
    await within(asked.promise, 'the request')
    const [first] = await opened.take(2, 'both sockets')
    first?.end(4000)
    expect(told.splice(0)).toEqual(['close 4000'])
    app.close()
    expect(told).toEqual(['aborted', 'close 1006'])
    await ended.closed()
    await waiting.closed()
    await turns(2)
    expect(told).toHaveLength(2)
    app.close()
  })

  test('cuts every connection with close', async () => {
    const closed = new Deferred<number>()
    const app = appOn(engine).ws('/*', { close: (_socket, code) => closed.resolve(code) })
    const client = await Client.open(await listening(app))
    app.close()
    expect((await client.closed()).code).toBe(1006)
    expect(await within(closed.promise, 'close')).toBe(1006)
  })

  test('speaks TLS, for names that come and go too', async () => {
    const files = certificateFiles()
    const app = SSLApp({ engine, ...files })
    onTestFinished(() => void app.close())
    app.ws('/*', { message: (socket, message) => void socket.send(message) }).addServerName('other.example', files)
    const address = await listening(app, true)
    expect(await (await Client.open(address)).ask('secret')).toBe('secret')
    app.removeServerName('other.example')
    expect(await (await Client.open(address)).ask('still')).toBe('still')
  })
})

test('the types of handlers are those of programs that annotate them', () => {
  const handler = async (response: HttpResponse, request: HttpRequest): Promise<void> => {
    response.anything = request.getUrl()
    response.end()
  }
  expect(App().get('/*', handler)).toBeDefined()
})
