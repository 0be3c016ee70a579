/** crossws on its adapter here: hooks made by `defineHooks`, and its proxy to another server. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, test } from 'node:test'
import { createWebSocketProxy, defineHooks } from 'crossws'
import WebSocket from 'ws'
import crossws from '../../dist/faces/crossws.js'
import { WebSocketServer } from '../../dist/index.js'
import { onEngines } from './support.mjs'

async function mount(engine, hooks) {
  const server = new WebSocketServer({ engine })
  crossws({ hooks }).mount(server)
  after(() => server.close({ timeout: 1000 }))
  const { port } = await server.listen({ port: 0, host: '127.0.0.1' })
  return `ws://127.0.0.1:${port}/`
}

onEngines('crossws', (engine) => {
  test('defineHooks makes hooks, and createWebSocketProxy carries messages to another server', async () => {
    const echo = defineHooks({
      upgrade: () => ({ context: { greeting: 'hello' } }),
      open: (peer) => void peer.send(peer.context.greeting),
      message: (peer, message) => void peer.send(message.text()),
    })
    const target = await mount(engine, echo)
    const socket = new WebSocket(await mount(engine, createWebSocketProxy({ target, WebSocket })))
    assert.equal(String((await once(socket, 'message'))[0]), 'hello')
    socket.send('through the proxy')
    assert.equal(String((await once(socket, 'message'))[0]), 'through the proxy')
    socket.close()
    await once(socket, 'close')
  })
})
