// A server behind a broker, in a process of its own: the publisher, or the receiver, whose client is in the
// process that has started both.
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { nats } from '../../dist/backplane/nats.js'
import { redis } from '../../dist/backplane/redis.js'
import { WebSocketServer } from '../../dist/index.js'

/** @type {{ promise: string, url: string, maxPendingBytes?: number }} */
const { promise, url, ...settings } = JSON.parse(process.argv[2] ?? '')
const delivery = promise === 'redis-streams' || promise === 'nats-jetstream' ? 'replayed' : 'at-most-once'

/** @type {{ code: string, count: number, message: string }[]} */
const errors = []
const server = new WebSocketServer({
  backplane: promise.startsWith('redis') ? redis({ url, delivery, ...settings }) : nats({ servers: url, delivery, ...settings }),
  onError: (error) => {
    const { code = '', count = 0, message } = /** @type {import('../../src/errors.js').BackplaneError} */ (error)
    errors.push({ code, count, message })
  },
}).ws('/*', { maxBackpressure: 2 ** 30, open: (socket) => void socket.subscribe('t') })
const { port } = await server.listen({ host: '127.0.0.1' })

const DIGITS = 7
let published = 0
let mostPending = 0
let rssBefore = 0
const pending = () => server.backplaneMetrics()?.pendingBytes ?? 0
setInterval(() => {
  mostPending = Math.max(mostPending, pending())
}, 10)

/** @param {import('./run.mjs').Load} load */
async function publish({ count, size, perSecond }) {
  rssBefore ||= process.memoryUsage.rss()
  const filler = 'x'.repeat(size - DIGITS)
  const begun = performance.now()
  for (let sent = 0; sent < count; ) {
    // All of them at once, in one turn, without a rate.
    const due = perSecond === undefined ? count : Math.min(((performance.now() - begun) * perSecond) / 1000, count)
    for (; sent < due; sent++) server.publish('t', String(++published).padStart(DIGITS, '0') + filler)
    mostPending = Math.max(mostPending, pending())
    if (sent < count) await delay(1)
  }
  process.send?.({ published })
}

process.on('message', (/** @type {any} */ message) => {
  if (message.publish) void publish(message.publish)
  if (!message.ask) return
  const rssGrowth = process.resourceUsage().maxRSS * 1024 - rssBefore
  process.send?.({ state: { metrics: server.backplaneMetrics(), errors, mostPending, rssGrowth } })
})
process.on('disconnect', () => process.exit())
process.send?.({ port })
