/** The examples of examples/ecosystem, each with the real clients of its package. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import mqtt from 'mqtt'
import { io } from 'socket.io-client'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { installed } from './installed.mjs'
import { eventually, onEngines, open } from './support.mjs'

const start = installed('ecosystem', [
  '@hocuspocus/server',
  '@trpc/server',
  'aedes',
  'express',
  'lib0',
  'socket.io',
  'y-protocols',
  'yjs',
])

/** An example that has died does not answer. */
const limit = { timeout: 30_000 }

/** Starts an example; gives its process, its lines, and the port that its first line names. */
async function run(engine, name) {
  const example = start(name, { NATIVE_WEBSOCKET_SERVER_ENGINE: engine })
  return { ...example, port: Number(/localhost:(\d+)/.exec(await example.line())?.[1]) }
}

/** Ends an example as service managers do. */
async function end({ child }) {
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  return ended
}

/** Resolves when the text of a document is this one. */
function textBecomes(doc, wanted) {
  const { promise, resolve } = eventually(`the text ${wanted}`)
  const text = doc.getText('text')
  const look = () => text.toString() === wanted && resolve()
  text.observe(look)
  look()
  return promise
}

onEngines('the example', (engine) => {
  test('yjs.mjs: what two clients do offline converges, and they see each other', limit, async () => {
    const { port } = await run(engine, 'yjs.mjs')
    const join = () => {
      const doc = new Y.Doc()
      const options = { WebSocketPolyfill: WebSocket, disableBc: true }
      return { doc, provider: new WebsocketProvider(`ws://127.0.0.1:${port}`, 'document', doc, options) }
    }
    const [first, second] = [join(), join()]
    const arrived = textBecomes(second.doc, 'größer')
    first.doc.getText('text').insert(0, 'größer')
    await arrived
    const seen = eventually('the other client')
    second.provider.awareness.on('change', () => second.provider.awareness.getStates().size === 2 && seen.resolve())
    for (const { provider } of [first, second]) provider.awareness.setLocalStateField('user', 'name')
    await seen.promise
    const alone = eventually('the other client to be gone')
    first.provider.awareness.on('change', () => first.provider.awareness.getStates().size === 1 && alone.resolve())
    second.provider.disconnect()
    await alone.promise
    first.doc.getText('text').insert(0, 'noch ')
    second.doc.getText('text').insert(6, '!')
    const both = [first, second].map(({ doc }) => textBecomes(doc, 'noch größer!'))
    second.provider.connect()
    await Promise.all(both)
    const { socket: stranger } = await open(`ws://127.0.0.1:${port}/document`)
    stranger.send(Buffer.from([0, 9]))
    assert.equal((await once(stranger, 'close'))[0], 1011)
    for (const { provider, doc } of [first, second]) {
      provider.destroy()
      doc.destroy()
    }
    // The server forgets the document when it has seen the last of them leave.
    let text
    for (let tries = 0; text !== '' && tries < 100; tries++) {
      const { doc, provider } = join()
      await once(provider, 'sync')
      text = doc.getText('text').toString()
      provider.destroy()
    }
    assert.equal(text, '')
  })

  test('mqtt.mjs: a subscriber gets what clients and HTTP publish', limit, async () => {
    const example = await run(engine, 'mqtt.mjs')
    const { port } = example
    const url = `ws://127.0.0.1:${port}`
    const [publisher, subscriber] = await Promise.all([mqtt.connectAsync(url), mqtt.connectAsync(url)])
    await subscriber.subscribeAsync('news/#', { qos: 1 })
    const received = []
    const all = eventually('two messages')
    subscriber.on('message', (topic, payload) => {
      received.push([topic, String(payload)])
      if (received.length === 2) all.resolve()
    })
    await publisher.publishAsync('news/one', 'grüezi', { qos: 1 })
    const response = await fetch(`http://127.0.0.1:${port}/publish/news/two`, { method: 'POST', body: 'by HTTP' })
    assert.equal(response.status, 204)
    await all.promise
    assert.deepEqual(received, [
      ['news/one', 'grüezi'],
      ['news/two', 'by HTTP'],
    ])
    const refused = new WebSocket(url)
    assert.equal((await once(refused, 'unexpected-response'))[1].statusCode, 400)
    refused.on('error', () => {})
    refused.terminate()
    await Promise.all([publisher.endAsync(), subscriber.endAsync()])
    assert.deepEqual(await end(example), [0, null])
  })

  test('socketio.mjs: what is said in a room is heard in it alone', limit, async () => {
    const { port } = await run(engine, 'socketio.mjs')
    const url = `http://127.0.0.1:${port}`
    assert.match(await (await fetch(url)).text(), /<title>Rooms/)
    const clients = ['polling', 'websocket', 'websocket'].map((transport) => io(url, { transports: [transport] }))
    const [ada, bob, eve] = clients
    await Promise.all(clients.map((client) => client.connected || once(client, 'connect')))
    assert.deepEqual([await ada.emitWithAck('join', 'lobby'), await bob.emitWithAck('join', 'lobby')], [1, 2])
    assert.equal(await eve.emitWithAck('join', 'cellar'), 1)
    const whispers = []
    eve.on('said', ({ text }) => whispers.push(text))
    const heard = [ada, bob].map((client) => once(client, 'said'))
    eve.emit('say', 'lobby', 'not in this room')
    ada.emit('say', 'lobby', 'hello')
    for (const [said] of await Promise.all(heard)) assert.deepEqual(said, { from: ada.id, text: 'hello' })
    const left = once(bob, 'left')
    const { id } = ada
    ada.disconnect()
    assert.deepEqual(await left, [id])
    const own = once(eve, 'said')
    eve.emit('say', 'cellar', 'alone')
    await own
    assert.deepEqual(whispers, ['alone'])
    for (const client of clients) client.disconnect()
  })

  test('trpc.mjs: a subscription goes on where it was, through a new connection', limit, async () => {
    const example = await run(engine, 'trpc.mjs')
    const connect = () => {
      const wsClient = createWSClient({ url: `ws://127.0.0.1:${example.port}`, WebSocket, retryDelayMs: () => 10 })
      return { wsClient, client: createTRPCClient({ links: [wsLink({ client: wsClient })] }) }
    }
    const [writer, reader] = [connect(), connect()]
    await writer.client.post.mutate('one')
    const read = []
    const [some, all] = [eventually('the first posts'), eventually('the posts after the reconnect')]
    const onData = ({ data }) => {
      read.push(data.text)
      if (read.length === 2) some.resolve()
      if (read.length === 4) all.resolve()
    }
    const subscription = reader.client.onPost.subscribe({ lastEventId: '0' }, { onData })
    await writer.client.post.mutate('two')
    await some.promise
    const { ws } = reader.wsClient.connection
    const cut = once(ws, 'close')
    ws.terminate()
    await Promise.all([cut, writer.client.post.mutate('three')])
    await writer.client.post.mutate('four')
    await all.promise
    assert.deepEqual(read, ['one', 'two', 'three', 'four'])
    await assert.rejects(writer.client.post.mutate(5), /a text/)
    subscription.unsubscribe()
    await Promise.all([writer, reader].map(({ wsClient }) => wsClient.close()))
    assert.deepEqual(await end(example), [0, null])
  })

  test('express.mjs: those who have logged in hear what is noted', limit, async () => {
    const example = await run(engine, 'express.mjs')
    const url = `http://127.0.0.1:${example.port}`
    const post = (path, body, headers = {}) =>
      fetch(url + path, { method: 'POST', body: new URLSearchParams(body), headers, redirect: 'manual' })
    assert.match(await (await fetch(url)).text(), /<title>Express/)
    const live = `${url.replace('http', 'ws')}/live`
    const refused = new WebSocket(live)
    assert.equal((await once(refused, 'unexpected-response'))[1].statusCode, 401)
    refused.on('error', () => {})
    refused.terminate()
    assert.equal((await post('/notes', { text: 'x' })).status, 401)
    const login = await post('/login', { name: 'Ada' })
    const headers = { cookie: login.headers.get('set-cookie').split(';')[0] }
    const { socket, next } = await open(live, { headers })
    assert.equal(login.status, 303)
    assert.equal(await next(), 'hello Ada')
    assert.equal((await post('/notes', { text: 'milk' }, headers)).status, 204)
    assert.equal(await next(), 'Ada: milk')
    const closed = once(socket, 'close')
    const ended = end(example)
    assert.equal((await closed)[0], 1001)
    assert.deepEqual(await ended, [0, null])
  })

  test('hocuspocus.mjs: two clients converge, documents are kept, strangers are refused', limit, async () => {
    const { port } = await run(engine, 'hocuspocus.mjs')
    const join = (token, events = {}) => {
      const websocketProvider = new HocuspocusProviderWebsocket({
        url: `ws://127.0.0.1:${port}`,
        WebSocketPolyfill: WebSocket,
      })
      const provider = new HocuspocusProvider({ websocketProvider, name: 'document', token, ...events })
      provider.attach()
      const leave = () => {
        provider.destroy()
        websocketProvider.destroy()
      }
      return { doc: provider.document, leave }
    }
    const refusal = eventually('the refusal')
    const stranger = join('guess', { onAuthenticationFailed: ({ reason }) => refusal.resolve(reason) })
    assert.equal(await refusal.promise, 'permission-denied')
    stranger.leave()
    const [first, second] = [join('let-me-in'), join('let-me-in')]
    const arrived = textBecomes(second.doc, 'größer')
    first.doc.getText('text').insert(0, 'größer')
    await arrived
    first.leave()
    second.leave()
    const third = join('let-me-in')
    await textBecomes(third.doc, 'größer')
    third.leave()
  })
})
