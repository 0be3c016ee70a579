/**
 * A chat room on several cores and hosts: what one client sends, every client gets, wherever it is connected.
 *
 *   node examples/scale/server.mjs                                     all cores of this host
 *   node examples/scale/server.mjs --redis redis://localhost:6379      or --nats nats://localhost:4222
 *   npx wscat -c ws://localhost:7000                                   several times, on each host
 *
 * Starts a thread for each core (--workers says how many), each with a server of its own, all on one port
 * (PORT). `threads()` carries topics between them. With a broker, one of the threads connects to it for all,
 * and the same command on another host joins them, with the broker's address instead of localhost:
 * docs/scaling.md has it step by step. `npm install redis @nats-io/transport-node` brings the clients.
 * `--replayed` fetches what other hosts sent while this one was cut off, on NATS with `@nats-io/jetstream`.
 *
 * Ctrl+C and SIGTERM close all servers. The portable engine needs Node.js 22.12, or 23.1, to share a port.
 */
import { once } from 'node:events'
import { availableParallelism, hostname } from 'node:os'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, threadId, Worker, workerData } from 'node:worker_threads'
import { WebSocketServer } from 'native-websocket-server'
import { nats } from 'native-websocket-server/nats'
import { redis } from 'native-websocket-server/redis'
import { threads } from 'native-websocket-server/threads'

const FILE = fileURLToPath(import.meta.url)

if (isMainThread) {
  try {
    const values = options()
    await run(Number(values.workers), values)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  }
} else {
  await serve(workerData)
}

/** @typedef {{ redis?: string, nats?: string, replayed: boolean }} Broker */

/** Of the command line. Throws what is wrong with it. */
function options() {
  const { values } = parseArgs({
    options: {
      workers: { type: 'string', default: `${availableParallelism()}` },
      redis: { type: 'string' },
      nats: { type: 'string' },
      replayed: { type: 'boolean', default: false },
    },
  })
  if (!/^[1-9]\d*$/.test(values.workers)) throw new Error('--workers must be a number from 1 on.')
  if (values.redis !== undefined && values.nats !== undefined) throw new Error('--redis and --nats exclude each other.')
  return values
}

/** The main thread: starts the others, and ends them. @param {number} count @param {Broker} broker */
async function run(count, broker) {
  /** @type {Worker[]} */
  const workers = []
  /** @param {string | number} port */
  const start = async (port) => {
    const worker = new Worker(FILE, { workerData: { ...broker, port: Number(port) } })
    workers.push(worker)
    // A broker that cannot be reached is one: the message names its address and the reason.
    worker.once('error', (error) => {
      console.error(error.message)
      process.exit(1)
    })
    const [listening] = await once(worker, 'message')
    return listening
  }
  let isReady = false
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      if (!isReady) process.exit()
      // A thread ends when its server has closed, and the process with the last one.
      for (const worker of workers) worker.postMessage('close')
    })
  }
  // Where PORT is 0, the first one chooses for all.
  const port = await start(process.env.PORT ?? 7000)
  await Promise.all(Array.from({ length: count - 1 }, () => start(port)))
  isReady = true
  console.log(`${count} servers on ws://localhost:${port}`)
}

/** One of the other threads. @param {Broker & { port: number }} options */
async function serve({ port, ...broker }) {
  const outside = outsideOf(broker)
  const server = new WebSocketServer({
    backplane: threads({ ...(outside && { outside }) }),
    // One error when the broker is lost, and one for what was missed: the servers go on meanwhile.
    onError: (error) => console.error(error.message),
  }).ws('/*', {
    open: (socket) => {
      socket.subscribe('room')
      socket.send(`served by ${hostname()}, process ${process.pid}, thread ${threadId}`)
    },
    message: (_, message) => void server.publish('room', message),
  })
  const place = await server.listen({ port, reusePort: true })
  parentPort?.once('message', () => void server.close())
  parentPort?.postMessage(place.port)
}

/** What makes the connection to the other hosts. @param {Broker} broker */
function outsideOf({ redis: url, nats: servers, replayed }) {
  const delivery = replayed ? 'replayed' : 'at-most-once'
  if (url !== undefined) return () => redis({ url, delivery })
  if (servers !== undefined) return () => nats({ servers, delivery })
  return undefined
}
