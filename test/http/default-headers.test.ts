/** A field in `DEFAULT_HEADERS`, such as `Server`, is in the responses of both engines. */
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DEFAULT_HEADERS } from '../../src/http/default-headers.js'
import { describeEngines, serve } from '../support/engines.js'
import { http, type RequestSettings } from '../support/http.js'
import { handshake, RawClient } from '../support/raw-client.js'

// The list of this process, which no other test file shares.
const defaults = DEFAULT_HEADERS as string[]

beforeAll(() => void defaults.push('Server', 'the default'))
afterAll(() => void defaults.splice(0))

/** A body whose end comes in another turn of the event loop. */
function lateEnd(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      await setImmediate()
      controller.close()
    },
  })
}

describeEngines('a default header field', (engine) => {
  const serveAll = () =>
    serve(
      engine,
      {},
      {
        server: { maxRequestBodySize: 1 },
        path: '/plain',
        routes: (server) =>
          server
            .ws('/accepting', { upgrade: () => ({ data: 1, headers: { 'x-own': '1' } }) })
            .ws('/naming', { upgrade: () => ({ data: 1, headers: { server: 'the handler' } }) })
            .ws('/refusing', { upgrade: () => new Response(null, { status: 401 }) })
            .get('/text', () => new Response('text'))
            .get('/own', () => new Response('text', { headers: { server: 'the handler' } }))
            .get('/stream', () => new Response(lateEnd()))
            .post('/text', () => new Response(null, { status: 204 })),
      },
    )

  test.each<[status: number, path: string, settings?: RequestSettings]>([
    [200, '/text'],
    [200, '/text', { method: 'HEAD' }],
    [200, '/stream'],
    [204, '/text', { method: 'POST' }],
    [204, '/text', { method: 'OPTIONS' }],
    [404, '/nowhere'],
    [405, '/text', { method: 'PUT' }],
    [413, '/text', { method: 'POST', body: 'too long' }],
    [426, '/plain'],
  ])('is in a response with %d to %s %j', async (status, path, settings) => {
    const answer = await http(await serveAll(), path, settings)
    expect([answer.status, answer.headers.server]).toEqual([status, 'the default'])
  })

  test('is in the response for a handler that fails', async () => {
    const errors: unknown[] = []
    const served = await serve(
      engine,
      {},
      {
        server: { onError: (error) => void errors.push(error) },
        routes: (server) =>
          server.get('/failing', () => {
            throw new Error('as the test wants')
          }),
      },
    )
    const answer = await http(served, '/failing')
    expect([answer.status, answer.headers.server, errors.length]).toEqual([500, 'the default', 1])
  })

  test('gives way to the field of a Response', async () => {
    expect((await http(await serveAll(), '/own')).headers.server).toBe('the handler')
  })

  test.each([
    ['/plain', 101, 'the default'],
    ['/accepting', 101, 'the default'],
    ['/naming', 101, 'the handler'],
    ['/refusing', 401, 'the default'],
  ])('is in the response to a handshake on %s', async (path, status, server) => {
    const client = await RawClient.connect(await serveAll())
    client.write(handshake({ path }))
    const answer = await client.response()
    expect([answer.status, answer.header('server')]).toEqual([status, server])
  })
})
