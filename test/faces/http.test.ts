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

test.each(['upgrade', 'connect'])('a listener for %s throws NotSupportedError', (event) => {
  expect(() => (createServer() as NodeJS.EventEmitter).on(event, () => {})).toThrow(NotSupportedError)
})

test('closeAllConnections throws NotSupportedError, and close of a server that does not listen calls back', async () => {
  const server = createServer()
  expect(server).toBeInstanceOf(Server)
  expect(() => server.closeAllConnections()).toThrow(NotSupportedError)
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

  test('speaks TLS', async () => {
    const listener: RequestListener = (request, response) =>
      void response.end(String('encrypted' in request.socket && request.socket.encrypted))
    const { address } = await listening(engine, listener, { tls: localhostCertificate() })
    expect(String((await http(address, '/')).body)).toBe('true')
  })
})
