/**
 * socket.io, whose messages are events in a protocol of its own. It only echoes. Below it is `ws`, or what
 * the variable TRANSPORT names: uwebsockets (uWebSockets.js), face-uws or face-ws (this package's faces).
 */
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import process from 'node:process'
import { Server } from 'socket.io'
import { announce, MAX_PAYLOAD, tls } from './start.mjs'

const transport = process.env.TRANSPORT
const wsEngine = transport === 'face-ws' ? { wsEngine: (await import('../../dist/faces/ws.js')).WebSocketServer } : {}
const server = new Server({
  transports: ['websocket'],
  serveClient: false,
  maxHttpBufferSize: MAX_PAYLOAD,
  pingInterval: 3_600_000, // milliseconds; the load generator answers none of its pings
  ...wsEngine,
})
server.on('connection', (socket) => {
  socket.on('message', (message) => void socket.emit('message', message))
})
if (transport === 'uwebsockets' || transport === 'face-uws') {
  const { default: uws } = transport === 'face-uws' ? await import('../../dist/faces/uws.js') : await import('uWebSockets.js')
  const app = tls ? uws.SSLApp({ key_file_name: tls.keyFile, cert_file_name: tls.certFile }) : uws.App()
  server.attachApp(app)
  app.listen('127.0.0.1', 0, (listening) => {
    if (!listening) throw new Error('cannot listen')
    announce(uws.us_socket_local_port(listening))
  })
} else {
  const http = tls ? createTlsServer({ key: tls.key, cert: tls.cert }) : createServer()
  server.attach(http)
  http.on('tlsClientError', () => {})
  http.listen(0, '127.0.0.1', 511, () => announce(/** @type {import('node:net').AddressInfo} */ (http.address()).port))
}
