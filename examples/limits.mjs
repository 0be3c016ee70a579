/**
 * Limits for each client: how many connections may come from its address, and how much it may say.
 *
 *   node examples/limits.mjs            then: npx wscat -c ws://localhost:7000/chat
 *
 * Behind a proxy all connections come from the proxy's address. With PROXY=1 the server expects the PROXY
 * protocol, by which HAProxy (or nginx's stream module, or a cloud's network load balancer) tells the
 * client's:
 *
 *   frontend chat
 *     mode tcp
 *     bind :80
 *     default_backend app
 *   backend app
 *     mode tcp
 *     server node 127.0.0.1:7000 send-proxy-v2
 *
 * No other program may then reach port 7000, since it could claim any address: hence HOST.
 */
import { WebSocketServer } from 'native-websocket-server'

const server = new WebSocketServer({
  proxyProtocol: process.env.PROXY === '1',
  maxConnections: 10_000,
  // Enough for the people of one office behind one address, and too few to take all places.
  maxConnectionsPerAddress: Number(process.env.PER_ADDRESS ?? 50),
})

server
  // People type: a client that says more than 20 things in 10 seconds is a program, and may go.
  .ws('/chat', {
    rateLimit: { messages: 20, seconds: 10, action: 'close' },
    open: (socket) => socket.subscribe('chat'),
    message: (_socket, message) => server.publish('chat', message),
  })
  // Uploads may take as long as they like: 1 MiB a second of each client, and the rest waits on its side.
  .ws('/upload', {
    rateLimit: { bytes: 1024 * 1024, seconds: 1, action: 'pause' },
    message: (socket, message) => socket.send(`${message.length} taken`),
  })
  .get('/metrics', () => Response.json(server.metrics()))

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000), host: process.env.HOST ?? '127.0.0.1' })
console.log(`Chat on ws://localhost:${port}/chat, uploads on ws://localhost:${port}/upload`)
