/** hyper-express, a framework on uWebSockets.js. */
import { compressors, Server } from 'hyper-express'
import { announce, deflate, fanOut, IDLE_TIMEOUT, MAX_PAYLOAD, tls } from './start.mjs'

const server = new Server(tls ? { key_file_name: tls.keyFile, cert_file_name: tls.certFile } : {})
const options = {
  message_type: 'Buffer',
  ...(deflate && { compression: compressors.SHARED_COMPRESSOR | compressors.SHARED_DECOMPRESSOR }),
  max_payload_length: MAX_PAYLOAD,
  max_backpressure: MAX_PAYLOAD,
  idle_timeout: IDLE_TIMEOUT,
}
if (fanOut) {
  server.ws('/subscribe', options, (socket) => void socket.subscribe('all'))
  server.ws('/publish', options, (socket) => {
    socket.on('message', (message, isBinary) => void server.publish('all', message, isBinary))
  })
} else {
  server.ws('/', options, (socket) => {
    socket.on('message', (message, isBinary) => void socket.send(message, isBinary, deflate))
  })
}
await server.listen(0, '127.0.0.1')
announce(server.port)
