/** Hono on its server for Node.js, with @hono/node-ws: the face in the place of `ws`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import WebSocket from 'ws'
import { chooseEngine, eventually, listening, onEngines, open, withFace } from './support.mjs'

const { createNodeWebSocket } = withFace('@hono/node-ws', (require) => require('@hono/node-ws'))

onEngines('@hono/node-ws', (engine) => {
  chooseEngine(engine)

  test('serves pages, and WebSockets behind a middleware', async () => {
    const app = new Hono()
    const { injectWebSocket, upgradeWebSocket, wss } = createNodeWebSocket({ app })
    const closed = eventually('the close event')
    app.get('/', (context) => context.text('page'))
    app.use('/chat/*', async (context, next) => {
      if (context.req.query('key') === undefined) return context.text('no key', 401)
      await next()
    })
    app.get(
      '/chat/:room',
      upgradeWebSocket((context) => ({
        onOpen: (_event, socket) => socket.send(`hello ${context.req.query('key')} in ${context.req.param('room')}`),
        onMessage: ({ data }, socket) => socket.send(data),
        onClose: ({ code, reason }) => closed.resolve([code, reason]),
      })),
    )
    const http = createAdaptorServer({ fetch: app.fetch })
    injectWebSocket(http)
    const port = await listening(http)
    after(() => wss.close())
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'page')
    const refused = new WebSocket(`ws://127.0.0.1:${port}/chat/one`)
    const [, response] = await once(refused, 'unexpected-response')
    assert.equal(response.statusCode, 401)
    response.destroy()
    const { socket, next } = await open(`ws://127.0.0.1:${port}/chat/one?key=ada`)
    assert.equal(await next(), 'hello ada in one')
    socket.send('größer')
    assert.equal(await next(), 'größer')
    const bytes = once(socket, 'message')
    socket.send(Buffer.from([1, 2, 3]))
    assert.deepEqual(await bytes, [Buffer.from([1, 2, 3]), true])
    socket.close(4001, 'enough')
    assert.deepEqual(await closed.promise, [4001, 'enough'])
  })
})
