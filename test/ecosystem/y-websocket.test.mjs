/** y-websocket's server: two clients converge, and see each other. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { eventually, onEngines, serve } from './support.mjs'

const { setupWSConnection } = createRequire(import.meta.url)('y-websocket/bin/utils')

onEngines('y-websocket', (engine) => {
  test('two documents converge, through a reconnect too', async () => {
    const { server, url } = await serve(engine)
    server.on('connection', setupWSConnection)
    const open = () => {
      const doc = new Y.Doc()
      return { doc, provider: new WebsocketProvider(url, engine, doc, { WebSocketPolyfill: WebSocket, disableBc: true }) }
    }
    const [first, second] = [open(), open()]
    const synced = eventually('the text')
    const text = second.doc.getText('text')
    text.observe(() => text.toString() === 'größer' && synced.resolve())
    first.doc.getText('text').insert(0, 'größer')
    await synced.promise
    const aware = eventually('the other client')
    second.provider.awareness.on('change', () => second.provider.awareness.getStates().size === 2 && aware.resolve())
    first.provider.awareness.setLocalStateField('user', 'first')
    second.provider.awareness.setLocalStateField('user', 'second')
    await aware.promise
    second.provider.disconnect()
    first.doc.getText('text').insert(0, 'noch ')
    const again = eventually('the change from meanwhile')
    text.observe(() => text.toString() === 'noch größer' && again.resolve())
    second.provider.connect()
    await again.promise
    assert.equal(text.toString(), first.doc.getText('text').toString())
    for (const { provider, doc } of [first, second]) {
      provider.destroy()
      doc.destroy()
    }
  })
})
