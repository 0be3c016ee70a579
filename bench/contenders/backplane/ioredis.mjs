/**
 * A backplane as one writes it by hand, with ioredis: one PUBLISH for each message, and a channel that is
 * subscribed to with its first client. Clients get everything by way of Redis. The server is this package's.
 */
import { Redis } from 'ioredis'
import { WebSocketServer } from '../../../dist/index.js'
import { broker, obey, ready, role, TOPIC } from './member.mjs'

const publisher = new Redis(broker)
const subscriber = new Redis(broker)
const server = new WebSocketServer()
subscriber.on('message', (topic, text) => server.publish(topic, text))
server.ws('/*', {
  open: (socket) => {
    if (socket.subscribe(TOPIC)) void subscriber.subscribe(TOPIC)
  },
})
const { port } = await server.listen({ host: '127.0.0.1' })
await Promise.all([publisher.ping(), subscriber.ping()])
if (role === 'publisher') obey((text) => void publisher.publish(TOPIC, text))
ready({ port })
