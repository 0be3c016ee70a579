/** ShareDB, over @teamwork/websocket-json-stream: two clients edit one document. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import WebSocketJSONStream from '@teamwork/websocket-json-stream'
import ShareDB from 'sharedb'
import { Connection } from 'sharedb/lib/client/index.js'
import WebSocket from 'ws'
import { eventually, onEngines, serve } from './support.mjs'

const done = (call) => new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())))

onEngines('ShareDB', (engine) => {
  test('an operation of one client reaches the other', async () => {
    const backend = new ShareDB()
    const { server, url } = await serve(engine)
    server.on('connection', (socket) => backend.listen(new WebSocketJSONStream(socket)))
    const sockets = [new WebSocket(url), new WebSocket(url)]
    const [first, second] = sockets.map((socket) => new Connection(socket).get('examples', 'counter'))
    await done((callback) => first.create({ count: 0 }, callback))
    await done((callback) => second.subscribe(callback))
    const changed = eventually('the operation')
    second.on('op', () => changed.resolve())
    await done((callback) => first.submitOp([{ p: ['count'], na: 5 }], callback))
    await changed.promise
    assert.deepEqual(second.data, { count: 5 })
    for (const socket of sockets) socket.close()
    await done((callback) => backend.close(callback))
  })
})
