/** socket.io with its Redis adapter, on ioredis, which costs its publisher less than `redis` does. */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { broker, obey, ready, role, TOPIC } from './member.mjs'

const publisher = new Redis(broker)
const subscriber = new Redis(broker)
const http = createServer()
const server = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ['websocket'],
  serveClient: false,
  pingInterval: 3_600_000, // milliseconds; the bench's clients answer none of its pings
})
server.on('connection', (socket) => void socket.join(TOPIC))
await Promise.all([publisher.ping(), subscriber.ping()])
if (role === 'publisher') obey((text) => void server.to(TOPIC).emit('message', text))
http.listen(0, '127.0.0.1', () => ready({ port: /** @type {import('node:net').AddressInfo} */ (http.address()).port }))
