/** aedes with MQTT.js: MQTT over WebSockets, through createWebSocketStream. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'
import { createWebSocketStream } from '../../dist/faces/ws.js'
import { eventually, onEngines, serve } from './support.mjs'

onEngines('aedes', (engine) => {
  test('delivers what is published, short and long, with QoS 1', async () => {
    const broker = await Aedes.createBroker()
    const { server, url } = await serve(engine)
    server.on('connection', (socket, request) => broker.handle(createWebSocketStream(socket), request))
    const [publisher, subscriber] = await Promise.all([mqtt.connectAsync(url), mqtt.connectAsync(url)])
    await subscriber.subscribeAsync('news/#', { qos: 1 })
    const received = []
    const all = eventually('two messages')
    subscriber.on('message', (topic, payload) => {
      received.push([topic, payload.length])
      if (received.length === 2) all.resolve()
    })
    await publisher.publishAsync('news/short', 'grüezi', { qos: 1 })
    await publisher.publishAsync('news/long', Buffer.alloc(500_000, 'x'), { qos: 1 })
    await all.promise
    assert.deepEqual(received, [
      ['news/short', 7],
      ['news/long', 500_000],
    ])
    await Promise.all([publisher.endAsync(), subscriber.endAsync()])
    await new Promise((resolve) => broker.close(resolve))
  })
})
