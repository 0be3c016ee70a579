/** The face of `node:http`. */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { createServer, type RequestListener, Server, type ServerOptions } from '../../src/faces/http.js'
import { NotSupportedError } from '../../src/index.js'
import { localhostCertificate } from '../support/certificates.js'
import { type Address, addressOf, describeEngines, type EngineName } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Deferred, Queue, within } from '../support/waiting.js'

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

async function listening(
  engine: EngineName,
  listener: RequestListener,
  options: ServerOptions = {},
): Promise<{ server: Server; address: Address }> {
  const server = createServer({ engine, ...options }, listener)
  expect([server.address(), server.listening]).toEqual([null, false])
  await within(once(server.listen(0, '127.0.0.1'), 'listening'), 'the face to listen')
  onTestFinished(() => void server.close())
  return { server, address: addressOf(portOf(server), '127.0.0.1', options.tls !== undefined) }
}

test.each(['connect', 'dropRequest', 'keylog', 'OCSPRequest'])('a listener for %s throws NotSupportedError', (event) => {
  expect(() => (createServer() as NodeJS.EventEmitter).on(event, () => {})).toThrow(NotSupportedError)
})

test.each(['maxHeadersCount', 'maxRequestsPerSocket'] as const)(
  'the member %s has the default of Node, and another value throws NotSupportedError',
  (name) => {
    const server = createServer()
    const { [name]: usual } = server
    expect(() => Object.assign(server, { [name]: usual })).not.toThrow()
    expect(() => Object.assign(server, { [name]: 1 })).toThrow(NotSupportedError)
    expect(server[name]).toBe(usual)
    expect(() => createServer({ [name]: usual })).not.toThrow()
    expect(() => createServer({ [name]: 1 })).toThrow(NotSupportedError)
  },
)

test.each([{ key: '', cert: '' }, { maxHeaderSize: 100 }, { noDelay: false }, { insecureHTTPParser: true }])(
  'options that would be ignored throw NotSupportedError: %o',
  (options) => {
    expect(() => createServer(options)).toThrow(NotSupportedError)
  },
)

test('close of a server that does not listen calls back with an error', async () => {
  const server = createServer()
  expect(server).toBeInstanceOf(Server)
  const error = new Promise<Error | undefined>((resolve) => server.close(resolve))
  expect(await error).toMatchObject({ code: 'ERR_SERVER_NOT_RUNNING' })
})

describeEngines('a server of the face of node:http', (engine) => {
  test('gives what a request has, and its body', async () => {
    const { address } = await listening(engine, async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      const { method, url, headers, socket, complete } = request
      const facts = { method, url, test: headers['x-test'], remote: socket.remoteAddress, complete, body: body.length }
      response.setHeader('Content-Type', 'application/json')
      response.end(JSON.stringify(facts))
    })
    const sent = { method: 'POST', headers: { 'X-Test': 'yes' }, body: 'x'.repeat(200_000) }
    const { headers, body } = await http(address, '/a%20b?c=d', sent)
    expect(headers['content-type']).toBe('application/json')
    expect(JSON.parse(String(body))).toEqual({
      method: 'POST',
      url: '/a%20b?c=d',
      test: 'yes',
      remote: '127.0.0.1',
      complete: true,
      body: 200_000,
    })
  })

  test('takes status and fields in every form, and no more of them after the head', async () => {
    const errors = new Queue<unknown>()
    const { address } = await listening(engine, (request, response) => {
      if (request.url === '/object') response.writeHead(201, 'Made', { 'X-A': '1', 'Set-Cookie': ['a=1', 'b=2'] }).end('made')
      else if (request.url === '/list') response.writeHead(202, ['X-A', '1', 'X-A', '2']).end()
      else if (request.url === '/none') response.writeHead(204).end('thrown away')
      else {
        response.write('begun')
        try {
          response.setHeader('x-late', '1')
        } catch (error) {
          errors.push(error)
        }
        expect(() => response.writeEarlyHints({})).toThrow(NotSupportedError)
        response.end()
      }
    })
    const made = await http(address, '/object')
    expect([made.status, made.statusText, made.headers['x-a'], String(made.body)]).toEqual([201, 'Made', '1', 'made'])
    expect(made.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect((await http(address, '/list')).headers['x-a']).toBe('1, 2')
    expect((await http(address, '/none')).status).toBe(204)
    expect(String((await http(address, '/late')).body)).toBe('begun')
    expect(await errors.next('the error')).toMatchObject({ code: 'ERR_HTTP_HEADERS_SENT' })
    const head = await http(address, '/object', { method: 'HEAD' })
    expect([head.status, head.body.length]).toEqual([201, 0])
  })

  test('tells of backpressure and of the end, in the order of Node', async () => {
    const events = new Queue<string>()
    let drains = 0
    const total = 8 * 1024 * 1024
    const { address } = await listening(engine, (_request, response) => {
      for (const event of ['finish', 'close']) response.on(event, () => events.push(event))
      const chunk = Buffer.alloc(256 * 1024, 'z')
      let size = 0
      const go = () => {
        for (; size < total; size += chunk.length) {
          if (response.write(chunk)) continue
          size += chunk.length
          drains += 1
          response.once('drain', go)
          return
        }
        response.end(() => events.push('called back'))
      }
      go()
    })
    expect((await http(address, '/')).body.length).toBe(total)
    expect(drains).toBeGreaterThan(0)
    expect(await events.take(3, 'the events')).toEqual(['finish', 'called back', 'close'])
  })

  test('learns that a client has gone, and cuts by destroy', async () => {
    const asked = new Deferred()
    const closed = new Deferred<ServerResponse>()
    const { address } = await listening(engine, (request, response) => {
      if (request.url === '/cut') {
        response.destroy()
        return
      }
      response.on('close', () => closed.resolve(response))
      asked.resolve()
    })
    const client = await RawClient.connect(address)
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await within(asked.promise, 'the request')
    client.vanish()
    expect((await within(closed.promise, 'close')).writableEnded).toBe(false)
    await expect(http(address, '/cut')).rejects.toMatchObject({ code: 'ECONNRESET' })
  })

  test('tells a request that is not read of its end, and of a client that goes, in the order of Node', async () => {
    const events = new Queue<string>()
    const asked = new Deferred()
    const { address } = await listening(engine, (request, response) => {
      for (const name of ['aborted', 'error', 'end', 'close']) request.on(name, () => events.push(`request ${name}`))
      response.on('close', () => events.push('response close'))
      if (request.url === '/wait') asked.resolve()
      else response.end()
    })
    const ends = ['response close', 'request end', 'request close']
    await http(address, '/whole')
    expect(await events.take(3, 'the end of a request')).toEqual(ends)
    await http(address, '/body', { method: 'POST', body: 'x'.repeat(500_000) })
    expect(await events.take(3, 'the end of a request with a body')).toEqual(ends)
    const client = await RawClient.connect(address)
    client.write('GET /wait HTTP/1.1\r\nHost: a\r\n\r\n')
    await within(asked.promise, 'the request')
    client.vanish()
    const expected = ['request aborted', 'response close', 'request error', 'request close']
    expect(await events.take(expected.length, 'the end of the client')).toEqual(expected)
  })

  test('emits close of a response once, however it ends', async () => {
    const closes = new Queue<string>()
    const { address } = await listening(engine, (request, response) => {
      response.on('close', () => {
        closes.push(request.url ?? '')
        // By then a second one would have come.
        setImmediate(() => setImmediate(() => closes.push('later')))
      })
      if (request.url === '/response') response.destroy()
      else if (request.url === '/request') request.destroy()
      else if (request.url === '/socket') request.socket.destroy()
      else response.end()
    })
    for (const path of ['/response', '/request', '/socket']) await expect(http(address, path)).rejects.toThrow()
    await http(address, '/end')
    expect(await closes.take(8, 'the ends')).toEqual([
      '/response',
      'later',
      '/request',
      'later',
      '/socket',
      'later',
      '/end',
      'later',
    ])
  })

  test('has time limits of responses and of the server, which begin anew with each piece', async () => {
    const { server, address } = await listening(engine, (request, response) => {
      if (request.url === '/own') {
        response.setTimeout(20, () => response.end('own'))
        return
      }
      if (request.url !== '/pieces') return
      response.write('.')
      const pieces = setInterval(() => response.write('.'), 20)
      setTimeout(() => {
        clearInterval(pieces)
        response.end('whole')
      }, 300)
    })
    expect(String((await http(address, '/own')).body)).toBe('own')
    const sockets = new Queue<unknown>()
    server.setTimeout(200, (socket) => {
      sockets.push(socket.remoteAddress)
      socket.destroy()
    })
    expect(String((await http(address, '/pieces')).body)).toMatch(/^\.+whole$/)
    await expect(http(address, '/never')).rejects.toThrow()
    expect(await sockets.take(1, 'the timeout')).toEqual(['127.0.0.1'])
    server.removeAllListeners('timeout')
    await expect(http(address, '/never')).rejects.toThrow()
  })

  test('counts and cuts the connections that wait for a response', async () => {
    const asked = new Queue<string>()
    const { server, address } = await listening(engine, ({ url = '' }) => void asked.push(url))
    const waiting = expect(http(address, '/wait')).rejects.toThrow()
    await asked.take(1, 'the request')
    const count = await new Promise((resolve) => server.getConnections((_error, open) => resolve(open)))
    expect(count).toBe(1)
    const closed = new Promise<unknown>((resolve) => server.close(resolve))
    server.closeAllConnections()
    await waiting
    await within(closed, 'close')
  })

  test('leaves what a client expects to the program, or refuses it', async () => {
    const events: string[] = []
    const { server, address } = await listening(engine, (_request, response) => {
      events.push('request')
      response.end()
    })
    const ask = async (expectation: string) => (await http(address, '/', { headers: { Expect: expectation } })).status
    expect([await ask('100-continue'), await ask('magic')]).toEqual([200, 417])
    server.on('checkContinue', (_request, response) => {
      events.push('checkContinue')
      response.writeContinue()
      response.writeHead(202).end()
    })
    server.on('checkExpectation', (_request, response) => {
      events.push('checkExpectation')
      response.writeHead(203).end()
    })
    expect([await ask('100-continue'), await ask('magic')]).toEqual([202, 203])
    expect(events).toEqual(['request', 'checkContinue', 'checkExpectation'])
  })

  test('takes every status that Node takes, but for those below 200', async () => {
    const { address } = await listening(engine, (request, response) => {
      response.writeHead(Number(request.url?.slice(1)), 'Own Text')
      response.end('body')
    })
    for (const status of [200, 599, 600, 999]) {
      expect(await http(address, `/${status}`)).toMatchObject({ status, statusText: 'Own Text', body: Buffer.from('body') })
    }
  })

  test('fails the callbacks of end and write after the end', async () => {
    const codes = new Queue<string>()
    const { address } = await listening(engine, (_request, response) => {
      const tell = (error: NodeJS.ErrnoException | undefined) => codes.push(String(error?.code))
      response.on('error', () => {})
      // The types of Node know no error there.
      const end = response.end.bind(response) as (...given: unknown[]) => void
      end('whole', tell)
      end(tell)
      end('more', tell)
    })
    expect(String((await http(address, '/')).body)).toBe('whole')
    expect((await codes.take(3, 'the callbacks')).toSorted()).toEqual([
      'ERR_STREAM_ALREADY_FINISHED',
      'ERR_STREAM_WRITE_AFTER_END',
      'undefined',
    ])
  })

  test('emits an error for a port that is taken, and listens again after close', async () => {
    const { server, address } = await listening(engine, (_request, response) => void response.end('here'))
    const second = createServer({ engine })
    const [error] = await within(once(second.listen(address.port, '127.0.0.1'), 'error'), 'the error')
    expect(error).toMatchObject({ code: 'EADDRINUSE' })
    expect(() => server.listen(0)).toThrow(expect.objectContaining({ code: 'ERR_SERVER_ALREADY_LISTEN' }))
    await within(new Promise<unknown>((resolve) => server.close(resolve)), 'close')
    expect([server.listening, server.address()]).toEqual([false, null])
    const called = new Deferred()
    server.listen({ port: 0, host: '127.0.0.1' }, () => called.resolve())
    await within(called.promise, 'the callback')
    expect(String((await http(addressOf(portOf(server)), '/')).body)).toBe('here')
  })

  test('ends the connection where the response says so', async () => {
    const { server, address } = await listening(engine, (request, response) => {
      if (request.url === '/field') response.setHeader('Connection', 'close')
      else response.shouldKeepAlive = false
      if (request.url === '/date') response.sendDate = false
      if (request.url === '/pieces') response.write('in ')
      try {
        response.end('pieces')
      } catch (error) {
        response.sendDate = true
        response.end(String(error instanceof NotSupportedError))
      }
    })
    for (const [path, body] of [
      ['/field', 'pieces'],
      ['/member', 'pieces'],
      ['/date', 'true'],
    ]) {
      const client = await RawClient.connect(address)
      client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
      const response = await client.response()
      expect([response.header('connection'), String(response.body)]).toEqual(['close', body])
      await client.rest()
    }
    const client = await RawClient.connect(address)
    client.write('GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(String(await client.rest())).toMatch(/connection: close.*in .*pieces/is)
    expect(() => server.closeIdleConnections()).not.toThrow()
    await new Promise((resolve) => server.close(resolve))
    expect(() => server.closeIdleConnections()).not.toThrow()
  })

  test('speaks TLS', async () => {
    const listener: RequestListener = (request, response) =>
      void response.end(String('encrypted' in request.socket && request.socket.encrypted))
    const { address } = await listening(engine, listener, { tls: localhostCertificate() })
    expect(String((await http(address, '/')).body)).toBe('true')
  })
})
