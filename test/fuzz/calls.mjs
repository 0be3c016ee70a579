// Random calls of the public interface. Each may come at any moment: before `listen`, inside a handler, on
// what has long been closed.
import { Buffer } from 'node:buffer'
import { setImmediate as turn } from 'node:timers/promises'
import { duplex, messages } from '../../dist/index.js'
import { tls } from '../fixtures/peers.mjs'

/** What our own handlers throw, and only they: wherever it comes out, it has come from there. */
export class FuzzError extends Error {}

const TOPICS = ['t', 't', 'news', 'a/b', '\u{1F600}', 'x'.repeat(65_535)]
const CODES = [undefined, 1000, 1001, 1003, 1011, 3000, 4999]

/** Almost always what belongs there, sometimes something else. */
const or = (random, value) => (random.chance(0.06) ? random.junk() : value)
const topic = (random) => or(random, random.pick(TOPICS))
const data = (random) => or(random, random.data())
const compress = (random) => (random.chance(0.3) ? [or(random, random.chance(0.5))] : [])

/** By name, because some may not be there. Weights: how often each is taken. */
const SOCKET_CALLS = [
  [10, (socket, random) => socket.send(data(random), ...compress(random))],
  [3, (socket, random) => socket.send(or(random, random.text(random.int(40))))],
  [2, (socket, random) => socket.ping(random.chance(0.3) ? undefined : or(random, random.bytes(random.int(140))))],
  [
    1,
    (socket, random) =>
      socket.close(or(random, random.pick(CODES)), random.chance(0.5) ? undefined : or(random, random.text(random.int(150)))),
  ],
  [1, (socket) => socket.terminate()],
  [6, (socket, random) => socket.subscribe(topic(random))],
  [4, (socket, random) => socket.unsubscribe(topic(random))],
  [2, (socket, random) => socket.isSubscribed(topic(random))],
  [6, (socket, random) => socket.publish(topic(random), data(random), ...compress(random))],
  [
    3,
    (socket) => [
      socket.id,
      socket.readyState,
      socket.remoteAddress,
      socket.connectedAt,
      socket.bufferedAmount,
      socket.topics,
      socket.protocol,
    ],
  ],
  [
    1,
    (socket, random) => {
      socket.data = random.junk()
    },
  ],
  [2, (socket) => socket.pause?.()],
  [4, (socket) => socket.resume?.()],
  [2, (socket, random, act) => socket.cork?.(or(random, () => act(2)))],
  [
    1,
    (socket, random) =>
      socket.drained?.(
        random.chance(0.5)
          ? undefined
          : or(random, { threshold: or(random, random.int(5000)), signal: or(random, signal(random)) }),
      ),
  ],
  [
    1,
    (socket, random) =>
      socket.sendStream?.(
        or(random, pieces(random)),
        random.chance(0.3)
          ? undefined
          : or(random, { binary: or(random, random.chance(0.5)), signal: or(random, signal(random)) }),
      ),
  ],
  [0.5, (socket, random) => iterate(or(random, socket), random)],
  [0.5, (socket, random) => stream(or(random, socket), random)],
]

const SERVER_CALLS = [
  [8, (server, random) => server.publish(topic(random), data(random), ...compress(random))],
  [2, (server, random) => server.subscribers(topic(random))],
  [2, (server) => server.metrics()],
  [1, (server) => [server.engine, server.engineReason, server.connections, server.sockets && [...server.sockets()].length]],
  [1, (server) => server.ref()],
  [1, (server) => server.unref()],
  [
    0.5,
    (server, random) =>
      server.reloadTls?.(or(random, random.chance(0.5) ? tls() : [tls(), { ...tls(), serverName: or(random, 'a.example.org') }])),
  ],
  [1, (server, random) => server.ws(or(random, '/late'), or(random, {}))],
  [
    1,
    (server, random) =>
      server[random.pick(METHODS.filter((name) => name in server))](
        or(random, '/late'),
        or(random, () => new Response('late')),
      ),
  ],
  [1, (server, random) => server.listen(or(random, { port: or(random, 0), host: or(random, '127.0.0.1') }))],
  [
    0.03,
    (server, random) => server.close(or(random, { code: or(random, random.pick(CODES)), timeout: or(random, random.int(300)) })),
  ],
]
const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'any']

/** What reading a body may come to: the Fetch standard's errors, the signal's reason, a limit. */
export async function reading(request, promise) {
  try {
    await promise
  } catch (error) {
    if (error === request.signal.reason || error?.name === 'AbortError' || error instanceof SyntaxError) return
    if (
      error instanceof TypeError &&
      /^(Body is unusable|the response was sent before the body|Invalid state)/.test(error.message)
    )
      return
    throw error
  }
}

const REQUEST_CALLS = [
  [
    3,
    ({ method, url, path, params, query, headers, remoteAddress, proxiedAddress }) => [
      method,
      url,
      path,
      params,
      query,
      headers,
      remoteAddress,
      proxiedAddress,
    ],
  ],
  [1, (request) => request.signal.aborted],
  [1, (request) => reading(request, request.text?.())],
  [1, (request) => reading(request, request.bytes?.())],
  [1, (request) => reading(request, request.json?.())],
  [1, (request) => request.body?.locked],
  [1, (request, random) => request.body && reading(request, readSome(request.body, random))],
]

function choose(random, calls) {
  let left = random.next() * calls.reduce((sum, [weight]) => sum + weight, 0)
  for (const [weight, call] of calls) {
    left -= weight
    if (left < 0) return call
  }
  return calls[0][1]
}

/** One call on something that the world has, or had. */
export function randomCall(world) {
  const { random } = world
  const act = (count) => world.act(count)
  const dice = random.next()
  const socket = random.chance(0.8)
    ? world.sockets.at(-1 - random.int(Math.min(8, world.sockets.length || 1)))
    : random.pick(world.sockets)
  if (dice < 0.72 && socket !== undefined) return choose(random, SOCKET_CALLS)(socket, random, act)
  const request = random.pick(world.requests)
  if (dice < 0.8 && request !== undefined) return choose(random, REQUEST_CALLS)(request, random)
  const server = random.pick(world.servers)
  return server === undefined ? undefined : choose(random, SERVER_CALLS)(server, random)
}

/** Aborts at once, later, or never. */
function signal(random) {
  if (random.chance(0.3)) return AbortSignal.abort(new FuzzError('aborted'))
  const controller = new AbortController()
  if (random.chance(0.5)) setTimeout(() => controller.abort(new FuzzError('aborted')), random.int(50))
  return controller.signal
}

async function* pieces(random) {
  for (let count = random.int(6); count > 0; count--) {
    if (random.chance(0.5)) await turn()
    if (random.chance(0.05)) throw new FuzzError('a source that fails')
    yield data(random)
  }
}

/** Takes some messages, and may leave the rest. */
async function iterate(socket, random) {
  let left = random.int(20)
  for await (const message of messages(socket)) {
    if (random.chance(0.3)) await turn()
    if (random.chance(0.5)) socket.send(message)
    left -= 1
    if (left < 0) break
  }
}

/**
 * Uses a socket as a stream, and ends that in some way or not at all. What it fails with is the connection's
 * end, or ours.
 */
function stream(socket, random) {
  const made = duplex(socket)
  made.on('error', (error) => {
    // What is piped into itself below, and ended then, is written to after its end: Node's own answer to
    // that.
    const isExpected = error.code === 'ERR_CLOSED' || error.code === 'ERR_STREAM_WRITE_AFTER_END'
    if (!(error instanceof FuzzError) && !isExpected) throw error
  })
  const dice = random.next()
  if (dice < 0.4) made.pipe(made)
  else if (dice < 0.7) made.resume()
  for (let count = random.int(4); count > 0; count--) made.write(random.bytes(random.int(200_000)))
  const last = random.next()
  if (last < 0.2) made.end()
  else if (last < 0.3) made.destroy()
  else if (last < 0.4) made.destroy(new FuzzError('destroyed'))
}

async function readSome(body, random) {
  if (body.locked) return
  const reader = body.getReader()
  for (let count = random.int(5); count > 0; count--) if ((await reader.read()).done) break
  if (random.chance(0.5)) await reader.cancel(new FuzzError('enough'))
  else reader.releaseLock()
}

/** What a route may answer with, and what it may not. */
export function randomResponse(random) {
  const status = random.chance(0.8) ? 200 : random.pick([201, 204, 205, 301, 304, 400, 404, 500, 599])
  const isBodiless = [204, 205, 304].includes(status)
  const headers = random.chance(0.5) ? {} : { 'x-random': 'y'.repeat(random.int(3000)), 'content-type': 'text/plain' }
  const dice = random.next()
  if (isBodiless || dice < 0.1) return new Response(null, { status, headers })
  if (dice < 0.5) return new Response(random.text(), { status, headers })
  if (dice < 0.7) return new Response(random.bytes(), { status, headers })
  if (dice < 0.93) return new Response(randomStream(random), { status, headers })
  return random.pick([
    undefined,
    null,
    'junk',
    7,
    {},
    Response.error(),
    { status: 200, headers: [['x\r\ny', 'z']], arrayBuffer: async () => 0 },
  ])
}

function randomStream(random) {
  let left = random.int(20)
  return new ReadableStream({
    async pull(controller) {
      if (random.chance(0.5)) await turn()
      if (random.chance(0.02)) throw new FuzzError('a body that fails')
      left -= 1
      if (left <= 0) controller.close()
      else
        controller.enqueue(
          random.chance(0.03) ? random.pick([undefined, 7, 'text', {}]) : new Uint8Array(Buffer.from(random.bytes())),
        )
    },
  })
}
