/**
 * WebSockets beside an HTTP server that is there already: of node:http here, of Express, Fastify or Next in
 * the same way, since their servers are those of node:http.
 *
 *   node examples/beside.mjs      then: curl http://localhost:7000/, and npx wscat -c
 *   ws://localhost:7000/visits?name=Ada
 *
 * The HTTP server listens, and hands over the connections that ask for a WebSocket, with what its middleware
 * has found out about the request.
 */
import { createServer } from 'node:http'
import { WebSocketServer } from 'native-websocket-server'

let visits = 0
/** What a session middleware would find out. @type {WeakMap<import('node:http').IncomingMessage, string>} */
const names = new WeakMap()

/** @param {import('node:http').IncomingMessage} request */
function identify(request) {
  const name = new URL(request.url ?? '/', 'http://localhost').searchParams.get('name')
  if (name !== null) names.set(request, name)
}

const http = createServer((_request, response) => {
  visits += 1
  response.end(`visit ${visits}\n`)
  sockets.publish('visits', String(visits))
})

const sockets = new WebSocketServer().ws('/visits', {
  upgrade({ incoming }) {
    const name = incoming && names.get(incoming)
    return name === undefined ? new Response('who are you?\n', { status: 401 }) : { data: { name } }
  },
  open(socket) {
    socket.subscribe('visits')
    socket.send(`hello ${socket.data.name}, ${visits} visits so far`)
  },
})

http.on('upgrade', (request, socket, head) => {
  identify(request)
  sockets.adopt(request, socket, head)
})

http.listen(Number(process.env.PORT ?? 7000), () => {
  const address = http.address()
  const port = typeof address === 'object' ? address?.port : undefined
  console.log(`HTTP on http://localhost:${port}/, and ws://localhost:${port}/visits?name=Ada beside it`)
})

process.once('SIGINT', async () => {
  // No further connections first, then the WebSockets say goodbye.
  http.close()
  http.removeAllListeners('upgrade')
  await sockets.close()
})
