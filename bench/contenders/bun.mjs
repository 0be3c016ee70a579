/** Bun's own server; run by bun, not by node. */
import { announce, deflate, fanOut, IDLE_TIMEOUT, MAX_PAYLOAD, tls } from './start.mjs'

const { Bun } = globalThis
const options = {
  // Windows of its own for each connection have to be asked for; the level is Bun's.
  perMessageDeflate: deflate ? { compress: 'shared', decompress: 'shared' } : false,
  maxPayloadLength: MAX_PAYLOAD,
  backpressureLimit: MAX_PAYLOAD,
  idleTimeout: IDLE_TIMEOUT,
}
const handlers = fanOut
  ? {
      open: (socket) => void (socket.data.path === '/subscribe' && socket.subscribe('all')),
      message: (_socket, message) => void server.publish('all', message),
    }
  : {
      open() {},
      message(socket, message) {
        socket.send(message, deflate)
      },
    }
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  ...(tls && { tls: { key: tls.key, cert: tls.cert } }),
  fetch(request, self) {
    const upgraded = self.upgrade(request, fanOut ? { data: { path: new URL(request.url).pathname } } : undefined)
    return upgraded ? undefined : new Response('no upgrade', { status: 400 })
  },
  websocket: { ...options, ...handlers },
})
announce(server.port)
