/** socket.io, whose messages are events in a protocol of its own. It only echoes. */
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { Server } from 'socket.io'
import { announce, MAX_PAYLOAD, tls } from './start.mjs'

const http = tls ? createTlsServer({ key: tls.key, cert: tls.cert }) : createServer()
const server = new Server(http, {
  transports: ['websocket'],
  serveClient: false,
  maxHttpBufferSize: MAX_PAYLOAD,
  pingInterval: 3_600_000, // milliseconds; the load generator answers none of its pings
})
server.on('connection', (socket) => {
  socket.on('message', (message) => void socket.emit('message', message))
})
http.on('tlsClientError', () => {})
http.listen(0, '127.0.0.1', 511, () => announce(/** @type {import('node:net').AddressInfo} */ (http.address()).port))
