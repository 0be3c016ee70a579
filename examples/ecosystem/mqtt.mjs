/**
 * MQTT over WebSockets, for browsers: aedes as the broker, each connection a stream for it. HTTP beside it
 * publishes, too.
 *
 *   npm install aedes
 *   node examples/ecosystem/mqtt.mjs
 *   npx -p mqtt mqtt subscribe -l ws -h localhost -p 7000 -t 'news/#' -v
 *   curl -d hello http://localhost:7000/publish/news/today
 *
 * A broker on the internet would have `authenticate`, `authorizePublish` and `authorizeSubscribe` of aedes,
 * and `allowedOrigins` on the route.
 */
import { Aedes } from 'aedes'
import { duplex, WebSocketServer } from 'native-websocket-server'

const broker = await Aedes.createBroker()
broker.on('clientReady', ({ id }) => console.log(`${id} has come`))
broker.on('clientDisconnect', ({ id }) => console.log(`${id} has left`))
broker.on('clientError', ({ id }, error) => console.log(`${id}: ${error.message}`))
broker.on('connectionError', (_client, error) => console.log(`no client of MQTT: ${error.message}`))

const server = new WebSocketServer()
  .ws('/*', {
    // The subprotocol of MQTT 3.1.1 (its section 6), which aedes speaks.
    upgrade: ({ protocols }) =>
      protocols.includes('mqtt') ? { data: {}, protocol: 'mqtt' } : new Response('MQTT only\n', { status: 400 }),
    open: (socket) => void broker.handle(duplex(socket)),
  })
  .post('/publish/*', async (request) => {
    const topic = request.path.slice('/publish/'.length)
    const payload = Buffer.from(await request.arrayBuffer())
    await new Promise((resolve, reject) => {
      broker.publish({ cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false }, (error) =>
        error ? reject(error) : resolve(undefined),
      )
    })
    return new Response(null, { status: 204 })
  })

const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000) })
console.log(`MQTT on ws://localhost:${port}`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await server.close()
    broker.close()
  })
}
