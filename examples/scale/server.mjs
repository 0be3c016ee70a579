/**
 * A chat room on several cores and hosts: what one client sends, every client gets, wherever it is connected.
 *
 *   node examples/scale/server.mjs --redis redis://localhost:6379     or --nats nats://localhost:4222
 *   npx wscat -c ws://localhost:7000                                  several times, on each host
 *
 * Starts a process for each core (WORKERS says how many), all on one port (PORT), each with a server and a
 * backplane of its own. The same command on another host joins them, with the address of the broker instead
 * of localhost: docs/scaling.md has it step by step. `npm install redis @nats-io/transport-node` brings the
 * clients; `--replayed` keeps what is sent while the broker is away, on NATS with `@nats-io/jetstream`.
 */
import cluster from 'node:cluster'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { WebSocketServer } from 'native-websocket-server'
import { nats } from 'native-websocket-server/nats'
import { redis } from 'native-websocket-server/redis'

const { values } = parseArgs({
  options: { redis: { type: 'string' }, nats: { type: 'string' }, replayed: { type: 'boolean', default: false } },
})

function backplane() {
  const delivery = values.replayed ? 'replayed' : 'at-most-once'
  if (values.redis !== undefined) return redis({ url: values.redis, delivery })
  if (values.nats !== undefined) return nats({ servers: values.nats, delivery })
  console.error('Say where the broker is: --redis redis://localhost:6379, or --nats nats://localhost:4222.')
  process.exit(1)
}

async function serve() {
  const server = new WebSocketServer({
    backplane: backplane(),
    health: { backplane: true },
    // One error when the broker is lost, and one for what was missed: the servers go on meanwhile.
    onError: (error) => console.error(error.message),
  })
  server.ws('/*', {
    open: (socket) => {
      socket.subscribe('room')
      socket.send(`served by process ${process.pid}`)
    },
    message: (_, message) => void server.publish('room', message),
  })
  const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000), reusePort: true })
  return port
}

if (cluster.isWorker) {
  const port = await serve().catch((error) => {
    // It names the broker and the reason.
    console.error(error.message)
    process.exit(1)
  })
  process.send?.(port)
} else {
  const count = Number(process.env.WORKERS ?? availableParallelism())
  let port = process.env.PORT
  for (let index = 0; index < count; index++) {
    const worker = cluster.fork({ ...process.env, ...(port && { PORT: port }) })
    worker.once('exit', () => process.exit(1))
    // Where PORT is 0, the first one chooses for all.
    const [listening] = await once(worker, 'message')
    port = String(listening)
  }
  console.log(`${count} servers on ws://localhost:${port}`)
}
