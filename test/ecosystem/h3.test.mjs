/** h3 2 on a server of this package: pages by its `fetch`, WebSockets by the adapter of crossws. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { defineWebSocketHandler, H3 } from 'h3'
import WebSocket from 'ws'
import crossws from '../../dist/faces/crossws.js'
import { WebSocketServer } from '../../dist/index.js'
import { onEngines } from './support.mjs'

onEngines('h3', (engine) => {
  test('serves pages and WebSockets of one app, with parameters, and refuses what has no handler', async () => {
    const app = new H3()
      .get('/page/:name', (event) => ({ name: event.context.params.name }))
      .get(
        '/chat/:room',
        defineWebSocketHandler({
          open: (peer) => {
            peer.subscribe('all')
            peer.send(new URL(peer.request.url).pathname)
          },
          message: (peer, message) => {
            peer.send({ echo: message.text() })
            peer.publish('all', message.text())
          },
        }),
      )
    const server = new WebSocketServer({ engine }).any('/*', (request) => app.fetch(request))
    const resolve = async (request) => {
      const response = await app.fetch(request)
      if (response.crossws === undefined) throw new Response('no WebSocket here', { status: 404 })
      return response.crossws
    }
    crossws({ resolve }).mount(server)
    after(() => server.close({ timeout: 1000 }))
    const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
    assert.deepEqual(await (await fetch(`http://127.0.0.1:${port}/page/one`)).json(), { name: 'one' })

    const sockets = [1, 2].map(() => new WebSocket(`ws://127.0.0.1:${port}/chat/a`))
    const [first, second] = sockets
    const greetings = await Promise.all(sockets.map((socket) => once(socket, 'message')))
    assert.deepEqual(greetings.map(String), ['/chat/a,false', '/chat/a,false'])
    const heard = once(second, 'message')
    first.send('hello')
    assert.equal(String((await once(first, 'message'))[0]), '{"echo":"hello"}')
    assert.equal(String((await heard)[0]), 'hello')
    for (const socket of sockets) {
      socket.close()
      await once(socket, 'close')
    }

    const refused = new WebSocket(`ws://127.0.0.1:${port}/page/one`)
    const [error] = await once(refused, 'error')
    assert.match(error.message, /404/)
  })
})
