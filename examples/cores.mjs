/**
 * Several cores: one process for each, or one thread, with a server of its own, all on one port.
 *
 *   node examples/cores.mjs            then: npx wscat -c ws://localhost:7000, several times
 *   node examples/cores.mjs --threads  with worker_threads instead of node:cluster
 *
 * Each server listens with `reusePort`, and Linux spreads new connections over them; they stay where they
 * are. node:cluster starts the processes and watches over them, but does not hand them connections. Topics
 * belong to one server: a `backplane` would carry them to the others. WORKERS says how many there are. The
 * portable engine needs Node.js 22.12 for this.
 */
import cluster from 'node:cluster'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, threadId, Worker } from 'node:worker_threads'
import { WebSocketServer } from 'native-websocket-server'

const COUNT = Number(process.env.WORKERS ?? availableParallelism())

async function serve() {
  const server = new WebSocketServer().ws('/*', {
    open: (socket) => socket.send(`served by process ${process.pid}, thread ${threadId}`),
  })
  const { port } = await server.listen({ port: Number(process.env.PORT ?? 7000), reusePort: true })
  return port
}

/** Starts a worker, and resolves with its port when it listens. @param {string | undefined} port */
async function start(port) {
  const env = { ...process.env, ...(port && { PORT: port }) }
  const worker = process.argv.includes('--threads') ? new Worker(fileURLToPath(import.meta.url), { env }) : cluster.fork(env)
  const [listening] = await once(worker, 'message')
  return String(listening)
}

if (!isMainThread) {
  parentPort?.postMessage(await serve())
} else if (cluster.isWorker) {
  process.send?.(await serve())
} else {
  // Where PORT is 0, the first one chooses for all.
  const port = await start(process.env.PORT)
  for (let index = 1; index < COUNT; index++) await start(port)
  console.log(`${COUNT} servers on ws://localhost:${port}`)
}
