/** Projects for `ws` that run on its face without a word about it: peer, rpc-websockets, websocket-stream. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, test } from 'node:test'
import { chooseEngine, eventually, listening, onEngines, open, withFace } from './support.mjs'

const load = (name) => withFace(name, (require) => require(name))
const { PeerServer } = load('peer')
const { Server: RpcServer } = load('rpc-websockets')
const websocketStream = load('websocket-stream')

onEngines('peer', (engine) => {
  chooseEngine(engine)

  test('gives pages and ids, and carries an offer from one peer to another', async () => {
    const started = eventually('the server')
    const peers = PeerServer({ host: '127.0.0.1', port: 0, path: '/peers' }, started.resolve)
    const http = await started.promise
    after(() => {
      http.close()
      http.closeAllConnections()
    })
    const { port } = http.address()
    const page = await (await fetch(`http://127.0.0.1:${port}/peers/`)).json()
    assert.equal(page.name, 'PeerJS Server')
    const id = await (await fetch(`http://127.0.0.1:${port}/peers/peerjs/id`)).text()
    assert.match(id, /^[0-9a-f-]{36}$/)
    const left = once(peers, 'disconnect')
    const join = (name) => open(`ws://127.0.0.1:${port}/peers/peerjs?key=peerjs&id=${name}&token=${name}`)
    const [first, second] = [await join('first'), await join('second')]
    for (const { next } of [first, second]) assert.deepEqual(JSON.parse(await next()), { type: 'OPEN' })
    first.socket.send(JSON.stringify({ type: 'OFFER', dst: 'second', payload: { sdp: 'x' } }))
    assert.deepEqual(JSON.parse(await second.next()), { type: 'OFFER', src: 'first', dst: 'second', payload: { sdp: 'x' } })
    second.socket.close()
    const [client] = await left
    assert.equal(client.getId(), 'second')
  })
})

onEngines('rpc-websockets', (engine) => {
  chooseEngine(engine)

  test('answers a call, refuses an unknown one, and sends an event to who has subscribed it', async () => {
    const server = new RpcServer({ host: '127.0.0.1', port: 0 })
    await once(server, 'listening')
    after(() => server.close())
    server.register('sum', ([a, b]) => a + b)
    server.event('news')
    const { socket, next } = await open(`ws://127.0.0.1:${server.wss.address().port}`)
    const ask = async (method, params) => {
      socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }))
      return JSON.parse(await next())
    }
    assert.deepEqual(await ask('sum', [5, 3]), { jsonrpc: '2.0', result: 8, id: 1 })
    assert.equal((await ask('difference', [5, 3])).error.message, 'Method not found')
    assert.equal((await ask('rpc.on', ['news'])).result.news, 'ok')
    server.emit('news', 'today')
    assert.deepEqual(JSON.parse(await next()), { notification: 'news', params: ['today'] })
  })
})

onEngines('websocket-stream', (engine) => {
  chooseEngine(engine)

  test('is a stream that echoes, and ends with its client', async () => {
    const http = createServer()
    const ended = eventually('the end of the stream')
    websocketStream.createServer({ server: http }, (stream) => {
      stream.pipe(stream)
      stream.on('end', () => ended.resolve())
    })
    const { socket, next } = await open(`ws://127.0.0.1:${await listening(http)}`)
    socket.send(Buffer.from('hello'))
    assert.equal(await next(), 'hello')
    socket.send('x'.repeat(100_000))
    assert.equal(await next(), 'x'.repeat(100_000))
    socket.close()
    await ended.promise
  })
})
