/** uWebSockets.js. */
import process from 'node:process'
import { announce, deflate, fanOut, IDLE_TIMEOUT, MAX_PAYLOAD, tls } from './start.mjs'

/** With FACE, this package's face of uWebSockets.js in its place. */
const { default: uws } = process.env.FACE ? await import('../../dist/faces/uws.js') : await import('uWebSockets.js')

const app = tls ? uws.SSLApp({ key_file_name: tls.keyFile, cert_file_name: tls.certFile }) : uws.App()
const options = {
  compression: deflate ? uws.SHARED_COMPRESSOR | uws.SHARED_DECOMPRESSOR : uws.DISABLED,
  maxPayloadLength: MAX_PAYLOAD,
  maxBackpressure: MAX_PAYLOAD,
  idleTimeout: IDLE_TIMEOUT,
}
if (fanOut) {
  app.ws('/subscribe', { ...options, open: (socket) => void socket.subscribe('all') })
  app.ws('/publish', { ...options, message: (_socket, message, isBinary) => void app.publish('all', message, isBinary) })
} else {
  app.ws('/*', {
    ...options,
    open() {},
    message(socket, message, isBinary) {
      socket.send(message, isBinary, deflate)
    },
  })
}
app.listen('127.0.0.1', 0, (listening) => {
  if (!listening) throw new Error('cannot listen')
  announce(uws.us_socket_local_port(listening))
})
