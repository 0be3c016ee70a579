/**
 * A backplane as one writes it by hand, with the client of NATS: a message for each message, and a subject
 * that is subscribed to with its first client. Clients get everything by way of NATS. The server is this
 * package's.
 */
import { connect } from '@nats-io/transport-node'
import { WebSocketServer } from '../../../dist/index.js'
import { broker, obey, ready, role, TOPIC } from './member.mjs'

const connection = await connect({ servers: broker })
const server = new WebSocketServer()
let isSubscribed = false
server.ws('/*', {
  open: (socket) => {
    socket.subscribe(TOPIC)
    if (isSubscribed) return
    isSubscribed = true
    connection.subscribe(TOPIC, { callback: (_error, message) => void server.publish(TOPIC, message.string()) })
  },
})
const { port } = await server.listen({ host: '127.0.0.1' })
if (role === 'publisher') obey((text) => connection.publish(TOPIC, text))
ready({ port })
