/**
 * The ws package on node:http or node:https. It has no topics: publishing is a loop, as its documentation
 * shows.
 */
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import process from 'node:process'
import { announce, deflate, fanOut, MAX_PAYLOAD, tls } from './start.mjs'

/** With FACE, this package's face of ws in its place. */
const { WebSocketServer } = process.env.FACE ? await import('../../dist/faces/ws.js') : await import('ws')

const http = tls ? createTlsServer({ key: tls.key, cert: tls.cert }) : createServer()
const server = new WebSocketServer({
  server: http,
  // Level and memory are zlib's defaults, as in µWebSockets. The work is done on Node's threads, which this
  // process pays for too.
  perMessageDeflate: deflate && { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
  maxPayload: MAX_PAYLOAD,
})
const subscribers = new Set()
server.on('connection', (socket, request) => {
  socket.on('error', () => {}) // clients of the benchmark reset their connections
  if (!fanOut) {
    socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }))
  } else if (request.url === '/subscribe') {
    subscribers.add(socket)
    socket.on('close', () => subscribers.delete(socket))
  } else {
    socket.on('message', (message, isBinary) => {
      for (const subscriber of subscribers) subscriber.send(message, { binary: isBinary })
    })
  }
})
http.on('tlsClientError', () => {})
http.listen(0, '127.0.0.1', 511, () => announce(/** @type {import('node:net').AddressInfo} */ (http.address()).port))
