// The server that is attacked: everything that the package offers, on a plain port and one with TLS. Started
// by scripts/attack.mjs with (engine), to which it sends its ports and, when asked, its figures.
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import process from 'node:process'
import { setTimeout as wait } from 'node:timers/promises'
import { WebSocketServer } from '../../dist/index.js'
import { tls } from '../fixtures/peers.mjs'
import { content, pieces } from './content.mjs'
import { BIG, turn as bounds, OPTIONS } from './limits.mjs'
import { TurnCounts } from './turn-counts.mjs'

const [engine = 'native'] = process.argv.slice(2)

/**
 * Milliseconds between two messages of the topic that witnesses count, and of the one that slow readers let
 * pile up.
 */
const TICK = 50
const FLOOD = 25
/** Milliseconds after which an upgrade is accepted where that takes time. */
const LATER = 200

const big = Buffer.alloc(BIG, 'big')
const flood = Buffer.alloc(64 * 1024, 'flood')
const failures = []
/**
 * Open WebSockets by the route they have come through: of those that stay, the report says which they are.
 */
const open = new Map()
/** Messages, Pings and Pongs that were delivered. */
let events = 0
const counts = new TurnCounts()
const fail = (error) => {
  if (failures.length < 20) failures.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
}
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)

function makeServer(options) {
  const { maxPayloadLength, maxInflatedLength, maxBackpressure, maxRequestBodySize } = OPTIONS
  // Bodies that break off, and lengths that are not kept, are what attackers do: reading them fails, as it
  // should.
  const server = new WebSocketServer({ engine, maxRequestBodySize, onError: () => {}, ...options })
  const count = (socket, data) => {
    events += 1
    counts.event(socket, data.length)
  }
  const route = (path, { open: opened, message, upgrade, ...handlers }) => {
    server.ws(path, {
      maxPayloadLength,
      maxBackpressure,
      ping: count,
      pong: count,
      ...handlers,
      message(socket, data) {
        count(socket, data)
        message?.(socket, data)
      },
      upgrade(request) {
        counts.request()
        return upgrade?.(request) ?? { data: undefined }
      },
      open(socket) {
        open.set(path, (open.get(path) ?? 0) + 1)
        opened?.(socket)
      },
      close: () => void open.set(path, open.get(path) - 1),
    })
  }
  const echo = (socket, message) => void socket.send(message)
  route('/echo', { message: echo })
  route('/deflate', {
    maxPayloadLength: maxInflatedLength,
    compression: {},
    // What inflates to much is not sent back: that would be the attacker's bandwidth, and nothing else.
    message: (socket, message) => void socket.send(message.length > 100_000 ? `${message.length}` : message),
  })
  route('/sink', {})
  // What a client leaves in the kernel's buffers is taken at this pace too, before it is seen to have gone.
  route('/limited', { rateLimit: { messages: 2000, bytes: 2_000_000, seconds: 1, action: 'pause' } })
  route('/limited-close', { rateLimit: { messages: 100, seconds: 1, action: 'close' } })
  route('/later', {
    async upgrade({ signal }) {
      await wait(LATER, undefined, { signal })
      return { data: undefined }
    },
    message: echo,
  })
  route('/topics/:topic', {
    upgrade: ({ params }) => ({ data: params.topic }),
    open: (socket) => void socket.subscribe(socket.data),
  })
  const counting = (handler) => (request) => {
    counts.request()
    return handler(request)
  }
  server
    .get(
      '/small',
      counting(() => new Response('ok')),
    )
    .get(
      '/big',
      counting(() => new Response(big)),
    )
    .get(
      '/later',
      counting(async () => {
        await wait(LATER)
        return new Response('at last')
      }),
    )
    .get(
      '/content/:seed/:length',
      counting(({ params }) => new Response(content(Number(params.seed), Number(params.length)))),
    )
    .get(
      '/stream/:seed/:length',
      counting(({ params }) => {
        const source = pieces(Number(params.seed), Number(params.length))
        return new Response(
          new ReadableStream({
            pull(controller) {
              const { value, done } = source.next()
              if (done) controller.close()
              else controller.enqueue(value)
            },
          }),
        )
      }),
    )
    .post(
      '/body',
      counting(async (request) => new Response(`${(await request.bytes()).length}`)),
    )
    .post(
      '/ignored',
      counting(() => new Response('not read')),
    )
    .put(
      '/upload',
      counting(async (request) => {
        const hash = createHash('sha256')
        let length = 0
        for await (const piece of request.body ?? []) {
          hash.update(piece)
          length += piece.length
        }
        return Response.json({ length, hash: hash.digest('hex') })
      }),
    )
  // What each reading of a target makes of its path.
  for (const route of ['/target/admin/*', '/target/public/:name', '/*']) {
    server.get(
      route,
      counting(({ path, url }) => Response.json({ route, path, urlPath: new URL(url).pathname })),
    )
  }
  return server
}

const servers = [makeServer({}), makeServer({ tls: tls() })]
const host = '127.0.0.1'
const [{ port }, { port: securePort }] = await Promise.all(servers.map((server) => server.listen({ host })))

/** Milliseconds between two looks at the clocks: how late the next one comes is how long a turn has taken. */
const LOOK = 10
const turn = { longest: 0, work: 0 }
let [lastTime, lastWork] = [performance.now(), process.cpuUsage()]
const looks = setInterval(() => {
  const { user, system } = process.cpuUsage(lastWork)
  turn.longest = Math.max(turn.longest, performance.now() - lastTime - LOOK)
  // On a machine that is busy with other things a turn takes longer than its work.
  turn.work = Math.max(turn.work, (user + system) / 1000)
  lastTime = performance.now()
  lastWork = process.cpuUsage()
}, LOOK)

let tick = 0
const ticks = setInterval(() => {
  tick += 1
  for (const server of servers) {
    // Text of a growing number, with more that depends on it: order, gaps and bytes can be checked.
    server.publish('ticks', `${tick} ${content(tick, 100).toString('base64')}`)
  }
}, TICK)
const floods = setInterval(() => {
  for (const server of servers) server.publish('flood', flood)
}, FLOOD)

const stats = () => ({
  longestTurn: turn.longest,
  mostWork: turn.work,
  processorTime: (process.cpuUsage().user + process.cpuUsage().system) / 1000,
  mostMemory: process.resourceUsage().maxRSS * 1024,
  memory: process.memoryUsage.rss(),
  turn: Object.fromEntries(Object.entries(bounds(engine)).map(([what, bound]) => [what, { most: counts.most[what], bound }])),
  connections: servers.reduce((sum, server) => sum + server.connections, 0),
  open: Object.fromEntries(open),
  events,
  metrics: servers.map((server) => server.metrics()),
  failures,
})

const COMMANDS = {
  stats,
  /** The attack begins: what starting has taken is another matter. */
  begin() {
    turn.longest = 0
    turn.work = 0
    return stats()
  },
  async close() {
    clearInterval(ticks)
    clearInterval(floods)
    await Promise.all(servers.map((server) => server.close({ timeout: 5000 })))
    clearInterval(looks)
    return stats()
  },
}

process.on('message', async ({ id, command }) => {
  process.send({ id, answer: await COMMANDS[command]() })
  // Nothing is left to do: the process must end by itself.
  if (command === 'close') process.disconnect()
})
process.send({ id: 0, answer: { host, port, securePort } })
