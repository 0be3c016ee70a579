/**
 * This package, with its backplane for Redis or NATS, a Redis cluster or what replays. As the publisher
 * `threads:N`, one process in which N worker threads are receivers, another one is a bystander, and the main
 * thread publishes. ENGINE in the environment names the engine.
 */
import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { nats } from '../../../dist/backplane/nats.js'
import { redis } from '../../../dist/backplane/redis.js'
import { threads } from '../../../dist/backplane/threads.js'
import { WebSocketServer } from '../../../dist/index.js'
import { processorSeconds } from '../../method/processor-time.mjs'
import { broker, obey, ready, role, TOPIC, way } from './member.mjs'

const engine = process.env.ENGINE === 'portable' ? 'portable' : 'native'
const count = Number(/^threads:(\d+)$/.exec(broker)?.[1])

function backplane() {
  if (count) return threads({ engine })
  if (way === 'cluster') return redis({ cluster: [broker] })
  const delivery = way === 'replayed' ? 'replayed' : 'at-most-once'
  return broker.startsWith('redis:') ? redis({ url: broker, delivery }) : nats({ servers: broker, delivery })
}

const server = new WebSocketServer({ engine, backplane: backplane() })
server.ws('/*', { open: (socket) => void socket.subscribe(TOPIC) })
const { port } = await server.listen({ host: '127.0.0.1' })
// "PID/task/TID", of the thread that asks.
const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1))

if (!isMainThread) {
  parentPort?.postMessage({ port, thread })
} else if (role === 'publisher') {
  /** @type {{ port: number, thread: number }[]} */
  const members = []
  for (let i = 0; count && i <= count; i++) {
    const worker = new Worker(fileURLToPath(import.meta.url), { argv: process.argv.slice(2) })
    const [member] = await once(worker, 'message')
    members.push(member)
  }
  const bystander = members.pop()?.thread
  const alone = new WebSocketServer({ engine }).ws('/*', {})
  await alone.listen({ host: '127.0.0.1' })
  obey(
    (text) => server.publish(TOPIC, text),
    (text) => alone.publish(TOPIC, text),
    count ? () => processorSeconds('self', thread) : undefined,
  )
  ready(count ? { members, bystander, thread } : {})
} else {
  ready({ port })
}
