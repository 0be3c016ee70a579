/** A fetch framework mounted on the server, beside a WebSocket route of its own. */
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { setCookie } from 'hono/cookie'
import { cors } from 'hono/cors'
import { streamSSE, streamText } from 'hono/streaming'
import { expect, test } from 'vitest'
import { Client } from '../support/client.js'
import { describeEngines, type EngineName, serve } from '../support/engines.js'
import { http } from '../support/http.js'
import { RawClient } from '../support/raw-client.js'
import { Queue } from '../support/waiting.js'

describeEngines('Hono', (engine: EngineName) => {
  const mount = async (app: Hono, errors: unknown[] = []) =>
    serve(
      engine,
      { message: (socket, message) => void socket.send(message) },
      {
        path: '/ws',
        server: { onError: (error) => errors.push(error) },
        // No cast: a ServerRequest is a Request.
        routes: (server) => server.any('/*', (request) => app.fetch(request)),
      },
    )

  const makeApp = () =>
    new Hono()
      .onError((_, c) => c.text('handled', 500))
      .get('/', (c) => c.text('Hello'))
      .get('/users/:id', (c) => c.json({ id: c.req.param('id'), query: c.req.query('q'), header: c.req.header('x-a') }))
      .post('/json', async (c) => c.json({ got: await c.req.json() }, 201))
      .post('/form', async (c) => c.json(await c.req.parseBody()))
      .post('/limited', bodyLimit({ maxSize: 10, onError: (c) => c.text('too much', 413) }), async (c) =>
        c.text(await c.req.text()),
      )
      .post('/cloned', async (c) => c.text((await c.req.raw.clone().text()) + (await c.req.text())))
      .post('/new', async (c) => c.text(await new Request(c.req.raw, { headers: { 'x-b': '1' } }).text()))
      .get('/cookies', (c) => {
        setCookie(c, 'a', '1')
        setCookie(c, 'b', '2')
        return c.body(null, 204)
      })
      .get('/text', (c) =>
        streamText(c, async (stream) => {
          for (const word of ['one ', 'two ', 'three']) {
            await stream.write(word)
            await stream.sleep(5)
          }
        }),
      )
      .get('/throws', () => {
        throw new Error('inside')
      })
      .use('/cors/*', cors({ origin: 'https://example.test' }))
      .get('/cors/x', (c) => c.text('shared'))

  test('serves requests of every kind beside a WebSocket', async () => {
    const errors: unknown[] = []
    const served = await mount(makeApp(), errors)
    const text = async (path: string, init?: RequestInit) => {
      const answer = await fetch(served.httpUrl(path), init)
      return [answer.status, await answer.text()]
    }
    expect(await text('/')).toEqual([200, 'Hello'])
    expect(await text('/users/a%20b?q=c%20d', { headers: { 'x-a': 'e' } })).toEqual([
      200,
      '{"id":"a b","query":"c d","header":"e"}',
    ])
    expect(await text('/json', { method: 'POST', body: '{"a":[1,2]}' })).toEqual([201, '{"got":{"a":[1,2]}}'])
    expect(await text('/form', { method: 'POST', body: new URLSearchParams({ a: 'b' }) })).toEqual([200, '{"a":"b"}'])
    expect(await text('/limited', { method: 'POST', body: 'short' })).toEqual([200, 'short'])
    expect(await text('/limited', { method: 'POST', body: 'longer than ten' })).toEqual([413, 'too much'])
    expect(await text('/cloned', { method: 'POST', body: 'twice ' })).toEqual([200, 'twice twice '])
    expect(await text('/new', { method: 'POST', body: 'passed on' })).toEqual([200, 'passed on'])
    expect(await text('/text')).toEqual([200, 'one two three'])
    expect(await text('/missing')).toEqual([404, '404 Not Found'])
    expect(await text('/throws')).toEqual([500, 'handled'])
    expect((await http(served, '/cookies')).headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2; Path=/'])
    expect((await http(served, '/', { method: 'HEAD' })).body.length).toBe(0)
    const preflight = await http(served, '/cors/x', { method: 'OPTIONS', headers: { Origin: 'https://example.test' } })
    expect([preflight.status, preflight.headers['access-control-allow-origin']]).toEqual([204, 'https://example.test'])
    expect((await http(served, '/health')).body.toString()).toBe('{"status":"healthy"}')
    const client = await Client.open(served, '/ws')
    client.send('beside it')
    expect(await client.messages.next('the echo')).toBe('beside it')
    expect(errors).toEqual([])
  })

  test('learns that a client has gone from a stream', async () => {
    const ended = new Queue<true>()
    const app = new Hono().get('/events', (c) =>
      streamSSE(c, async (stream) => {
        await new Promise<void>((resolve) => {
          stream.onAbort(resolve)
          void stream.writeSSE({ data: 'hello', event: 'greeting' })
        })
        ended.push(true)
      }),
    )
    const served = await mount(app)
    const client = await RawClient.connect(served)
    client.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await new Promise<void>((resolve) => {
      client.socket.on('data', (chunk) => {
        if (chunk.includes('data: hello')) resolve()
      })
    })
    client.vanish()
    await ended.next('the end of the stream')
  })
})
