/** This package. ENGINE in the environment names the engine; with LEND its routes lend their messages. */
import process from 'node:process'
import { WebSocketServer } from '../../dist/index.js'
import { announce, deflate, fanOut, tls } from './start.mjs'

const server = new WebSocketServer({
  engine: process.env.ENGINE === 'portable' ? 'portable' : 'native',
  ...(tls && { tls: { keyFile: tls.keyFile, certFile: tls.certFile } }),
})
if (fanOut) {
  server
    .ws('/subscribe', { open: (socket) => void socket.subscribe('all') })
    .ws('/publish', { message: (_socket, message) => void server.publish('all', message) })
} else {
  server.ws('/*', {
    ...(deflate && { compression: { threshold: 0 } }),
    ...(process.env.LEND && { lendMessages: true }),
    open() {},
    message(socket, message) {
      socket.send(message)
    },
  })
}
const { port } = await server.listen({ host: '127.0.0.1' })
announce(port)
