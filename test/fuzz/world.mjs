// What is there at a moment: servers of every age, their sockets and requests, and what must hold for all of
// them.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setImmediate as turn } from 'node:timers/promises'
import { HEAD_BYTES } from '../../dist/backplane/envelope.js'
import * as library from '../../dist/index.js'
import { tls } from '../fixtures/peers.mjs'
import { FuzzError, randomCall, randomResponse, reading } from './calls.mjs'

const OPTIONS = [
  'backplane',
  'maxRequestBodySize',
  'maxConnections',
  'maxConnectionsPerAddress',
  'allowedOrigins',
  'proxyProtocol',
]
const ROUTE_OPTIONS = [
  'upgrade',
  'dropped',
  'compression',
  'maxLifetime',
  'closeOnBackpressureLimit',
  'rateLimit',
  'lendMessages',
]

/** Those options that this release knows: any other would make everything an OptionError. */
function known(names, make) {
  return names.filter((name) => {
    try {
      make({ [name]: Symbol('wrong') })
    } catch (error) {
      return !error.message.includes('must be a known option')
    }
    return true
  })
}

const { ERROR_CODES, WebSocketServer, WebSocketServerError } = library

/** For unix sockets. */
const FOLDER = mkdtempSync(join(tmpdir(), 'nws-fuzz-'))
process.on('exit', () => rmSync(FOLDER, { recursive: true, force: true }))

/** How many of the past are kept, to be called once more. */
const KEPT = 60
/** Calls within calls within calls. */
const MAX_DEPTH = 3
/** Milliseconds after which a server that does not close has failed to. */
const CLOSE_PATIENCE = 20_000

export class World {
  random
  engine
  servers = []
  sockets = []
  requests = []
  failures = []
  counts = {
    calls: 0,
    refused: 0,
    servers: 0,
    opened: 0,
    messages: 0,
    requests: 0,
    errors: 0,
    deliveries: 0,
    unix: 0,
    adopted: 0,
  }
  #depth = 0
  #options
  #routeOptions

  constructor(random, engine) {
    this.random = random
    this.engine = engine
    this.#options = known(OPTIONS, (option) => new WebSocketServer({ engine, ...option }))
    this.#routeOptions = known(ROUTE_OPTIONS, (option) => new WebSocketServer({ engine }).ws('/', option))
  }

  fail(what, error) {
    if (this.failures.length < 20) this.failures.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`)
  }

  /** Nothing else may come out of any call. */
  check(error, what) {
    this.counts.refused += 1
    if (error instanceof WebSocketServerError && Object.hasOwn(ERROR_CODES, error.code)) return
    if (isOurs(error)) return
    this.fail(`${what} gave an undocumented error`, error)
  }

  /**
   * What reaches `onError`, `error`, or becomes an uncaught exception: our handlers' errors, and errors about
   * their responses.
   */
  reported(error, what) {
    this.counts.errors += 1
    if (!(error instanceof Error)) this.fail(`${what} got what is no error`, error)
    else if (!isOurs(error) && !isAboutAnswer(error) && !(error instanceof WebSocketServerError))
      this.fail(`${what} got a stranger`, error)
  }

  /**
   * Random calls. Whatever they throw is checked here; promises that they give are checked when they settle.
   */
  act(count) {
    if (this.#depth >= MAX_DEPTH) return
    this.#depth += 1
    try {
      for (let n = this.random.int(count + 1); n > 0; n--) {
        this.counts.calls += 1
        try {
          const result = randomCall(this)
          if (typeof result?.then === 'function') result.then(undefined, (error) => this.check(error, 'a promise'))
        } catch (error) {
          this.check(error, 'a call')
        }
      }
    } finally {
      this.#depth -= 1
    }
    if (this.random.chance(0.001)) globalThis.gc?.()
  }

  /** What a handler does besides its work. */
  misbehave() {
    const { random } = this
    if (random.chance(0.3)) this.act(3)
    if (random.chance(0.02)) throw new FuzzError('thrown by a handler')
    if (random.chance(0.1)) return this.#later()
  }

  async #later() {
    for (let turns = this.random.int(5); turns > 0; turns--) await turn()
    this.act(3)
    if (this.random.chance(0.2)) throw new FuzzError('rejected by a handler')
  }

  keep(list, item) {
    list.push(item)
    if (list.length > KEPT) list.splice(this.random.int(KEPT / 2), 1)
  }

  // ---- servers ----

  /** A server with routes of every kind. `state` is what is known of it from outside. */
  makeServer() {
    const { random } = this
    const has = (name, probability) => this.#options.includes(name) && random.chance(probability)
    const secure = random.chance(0.2)
    const reports = random.chance(0.8)
    const proxied = has('proxyProtocol', 0.15)
    const state = { secure, proxied, opened: 0, closed: 0, topics: new Map() }
    const options = {
      engine: this.engine,
      ...(secure && { tls: random.chance(0.5) ? tls() : [tls(), { ...tls(), serverName: '*.example.org' }] }),
      ...(reports && { onError: (error) => this.reported(error, 'onError') }),
      ...(has('backplane', 0.4) && { backplane: random.chance(0.2) ? this.#oldBackplane() : this.#backplane() }),
      ...(has('maxRequestBodySize', 0.5) && { maxRequestBodySize: random.int(5000) + 1 }),
      ...(has('maxConnections', 0.2) && { maxConnections: 1 + random.int(40) }),
      ...(has('maxConnectionsPerAddress', 0.2) && { maxConnectionsPerAddress: 1 + random.int(20) }),
      ...(has('allowedOrigins', 0.2) && { allowedOrigins: random.chance(0.5) ? ['http://good.example'] : () => this.#opinion() }),
      ...(proxied && { proxyProtocol: true }),
    }
    if (random.chance(0.2)) {
      const name = random.pick(['engine', 'tls', 'health', 'onError', ...this.#options])
      // One more that is wrong, and then most likely no server. If it is one, the backplane is not for both.
      const { backplane: _, ...others } = options
      try {
        new WebSocketServer({ ...others, [name]: random.junk() })
      } catch (error) {
        this.check(error, 'new WebSocketServer')
      }
    }
    const server = new WebSocketServer(options)
    state.server = server
    this.counts.servers += 1
    this.#addRoutes(server, state)
    this.keep(this.servers, server)
    return state
  }

  #addRoutes(server, state) {
    const { random } = this
    server.ws('/ws', this.#handlers(state))
    server.ws('/small', {
      ...this.#handlers(state),
      maxPayloadLength: 1 + random.int(2000),
      maxBackpressure: 1 + random.int(100_000),
      idleTimeout: random.pick([0, 8, 960]),
      sendPings: random.chance(0.5),
    })
    server.ws('/chat/:room', this.#handlers(state))
    for (const [method, path] of [
      ['get', '/plain'],
      ['any', '/stream'],
      ['any', '/any/*'],
      ['post', '/body'],
    ]) {
      server[method]?.(path, (request) => this.#answer(request))
    }
  }

  #handlers(state) {
    const { random } = this
    const told = (socket) => {
      if (socket.readyState === 3) this.fail('an event', 'came after close')
    }
    const handlers = {
      open: (socket) => {
        state.opened += 1
        this.counts.opened += 1
        this.keep(this.sockets, socket)
        socket.subscribe('t')
        if (random.chance(0.1)) this.#adapt(socket)
        return this.misbehave()
      },
      message: (socket, message) => {
        told(socket)
        this.counts.messages += 1
        if (random.chance(0.3)) socket.send(message)
        if (random.chance(0.1)) socket.publish('t', message)
        return this.misbehave()
      },
      close: (socket) => {
        state.closed += 1
        if (socket.readyState !== 3) this.fail('close', 'came to a socket that is not closed')
        if (socket.topics.length > 0) this.fail('close', 'came to a socket that has topics')
        return this.misbehave()
      },
    }
    const has = (name, probability) => this.#routeOptions.includes(name) && random.chance(probability)
    for (const name of ['drain', 'ping', 'pong', ...(has('dropped', 1) ? ['dropped'] : [])]) {
      if (random.chance(0.5)) {
        handlers[name] = (socket) => {
          told(socket)
          return this.misbehave()
        }
      }
    }
    if (random.chance(0.7)) handlers.error = (error) => this.reported(error, 'error')
    if (has('upgrade', 0.5)) handlers.upgrade = (request) => this.#upgrade(request)
    if (has('compression', 0.5)) {
      const size = () => random.pick([undefined, 'shared', '3KB', '4KB', '8KB', '16KB', '32KB', '64KB', '128KB', '256KB'])
      handlers.compression = { compressor: size(), decompressor: size(), threshold: random.int(2000) }
    }
    if (has('maxLifetime', 0.3)) handlers.maxLifetime = 60
    if (has('closeOnBackpressureLimit', 0.3)) handlers.closeOnBackpressureLimit = true
    if (has('lendMessages', 0.5)) handlers.lendMessages = random.pick([true, 'detach'])
    if (has('rateLimit', 0.3)) {
      handlers.rateLimit = {
        ...(random.chance(0.7) && { messages: 1 + random.int(10) }),
        bytes: 1 + random.int(5000),
        seconds: random.pick([0.01, 0.1, 1, 3600]),
        action: random.pick(['pause', 'pause', 'close']),
      }
    }
    handlers.subscription = (_, topic, subscribers, before) => {
      if ((state.topics.get(topic) ?? 0) !== before)
        this.fail('subscription', `said ${before} and not ${state.topics.get(topic) ?? 0}`)
      if (state.server.subscribers(topic) !== subscribers) this.fail('subscribers', 'disagrees with subscription')
      state.topics.set(topic, subscribers)
      return this.misbehave()
    }
    return handlers
  }

  /** Hands the socket's messages to an adapter, which reads some of them, all of them, or sends them back. */
  #adapt(socket) {
    const { random } = this
    const { messages, duplex } = library
    if (messages !== undefined && random.chance(0.5)) {
      const read = async () => {
        let left = random.int(20)
        for await (const message of messages(socket)) {
          if (random.chance(0.3)) socket.send(message)
          if (random.chance(0.3)) await turn()
          left -= 1
          if (left === 0) break
        }
      }
      read().catch((error) => this.check(error, 'messages'))
    } else if (duplex !== undefined) {
      const stream = duplex(socket)
      stream.on('error', (error) => this.check(error, 'duplex'))
      if (random.chance(0.7)) stream.pipe(stream)
      else if (random.chance(0.5)) stream.destroy(random.chance(0.5) ? new FuzzError('destroyed') : undefined)
      else stream.end(random.text())
    }
  }

  #upgrade(request) {
    const { random } = this
    this.keep(this.requests, request)
    const answer = () => {
      if (random.chance(0.1)) return new Response('no', { status: random.pick([401, 403, 429, 503]) })
      if (random.chance(0.05)) return random.junk()
      if (random.chance(0.03)) throw new FuzzError('thrown by upgrade')
      const protocol = random.chance(0.5)
        ? request.protocols?.[0]
        : random.chance(0.05)
          ? random.pick(['unasked', 'a b', ''])
          : undefined
      return {
        data: random.junk(),
        ...(protocol !== undefined && { protocol }),
        ...(random.chance(0.3) && { headers: random.chance(0.9) ? { 'x-fuzz': 'yes' } : { 'x\ny': random.junk() } }),
      }
    }
    if (random.chance(0.5)) return answer()
    return this.#later().then(answer)
  }

  async #answer(request) {
    const { random } = this
    this.counts.requests += 1
    this.keep(this.requests, request)
    if (random.chance(0.2)) await turn()
    if (random.chance(0.5) && request.text) await reading(request, request.text()).catch((error) => this.check(error, 'text()'))
    await this.misbehave()
    return randomResponse(random)
  }

  #opinion() {
    if (this.random.chance(0.03)) throw new FuzzError('thrown by allowedOrigins')
    return this.random.chance(0.7)
  }

  /** Connects to no other server: what it is given comes back later, as if another server had sent it. */
  #backplane() {
    const { random } = this
    let host
    const later = (action) => {
      setImmediate(() => {
        try {
          action()
        } catch (error) {
          this.fail('backplane', `the server threw: ${error?.stack ?? error}`)
        }
      })
    }
    const perhapsFail = () => {
      if (random.chance(0.02)) throw new FuzzError('thrown by the backplane')
      if (random.chance(0.1)) return Promise.reject(new FuzzError('rejected by the backplane'))
      if (random.chance(0.3)) return turn()
    }
    const another = (data) => {
      const copy = Buffer.from(data)
      // Of the id of the server that has sent it, which is behind magic, version and kind.
      copy[4 + random.int(8)] ^= 1 + random.int(255)
      if (random.chance(0.1)) copy[random.int(copy.length)] ^= 1 + random.int(255)
      return random.chance(0.05) ? copy.subarray(0, random.int(copy.length)) : copy
    }
    const mishap = () => {
      const status = random.pick(['gap', 'problem', 'down'])
      if (status === 'problem') host.onProblem('as asked')
      else host.onStatus(status, random.chance(0.5) ? 'as asked' : undefined)
      if (status === 'down') later(() => host.onStatus('up'))
    }
    return {
      name: 'fuzz',
      address: 'here',
      settings: {
        required: random.chance(0.9),
        maxPendingBytes: 65_536 + random.int(1_000_000),
        linger: random.pick([0, 5, 1000]),
      },
      isReplayed: random.chance(0.3),
      maxEnvelopeBytes: random.chance(0.3) ? 100 + random.int(5000) : 1_000_000,
      start: (given) => {
        host = given
        return perhapsFail()
      },
      interest: (added, removed) => {
        for (const topic of [...added, ...removed]) if (typeof topic !== 'string') this.fail('backplane.interest', 'got no topic')
        if (random.chance(0.02)) throw new FuzzError('thrown by the backplane')
      },
      publish: (envelopes) => {
        for (const envelope of envelopes) {
          const { topic, data, messages } = envelope
          // One without messages tells a number, with its head alone.
          const isWhole = messages > 0 || (messages === 0 && data.length === HEAD_BYTES)
          if (typeof topic !== 'string' || !(data instanceof Uint8Array) || !isWhole)
            this.fail('backplane.publish', 'got no envelope')
          if (random.chance(0.05)) later(() => host.onDropped(envelope, 'as asked'))
          if (random.chance(0.5)) {
            later(() => {
              this.counts.deliveries += 1
              host.deliver(random.chance(0.9) ? topic : `behind ${topic}`.slice(0, 100), another(data))
            })
          }
        }
        if (random.chance(0.03)) later(mishap)
        return perhapsFail()
      },
      close: perhapsFail,
    }
  }

  /** A backplane of the first, deprecated kind. */
  #oldBackplane() {
    const { random } = this
    let deliver
    const perhapsFail = () => {
      if (random.chance(0.02)) throw new FuzzError('thrown by the backplane')
      if (random.chance(0.2)) return random.chance(0.1) ? Promise.reject(new FuzzError('rejected by the backplane')) : turn()
    }
    return {
      start: (given) => {
        deliver = given
        return perhapsFail()
      },
      publish: (topic, data, isBinary) => {
        if ((typeof data !== 'string') !== isBinary) this.fail('backplane.publish', 'got the wrong kind')
        if (random.chance(0.3)) {
          setImmediate(() => {
            this.counts.deliveries += 1
            try {
              deliver(
                random.chance(0.9) ? `behind ${topic}`.slice(0, 100) : random.junk(),
                random.chance(0.9) ? data : random.junk(),
                random.chance(0.5),
              )
            } catch (error) {
              this.check(error, 'deliver')
            }
          })
        }
        return perhapsFail()
      },
      close: perhapsFail,
    }
  }

  /** A server of node:http that hands its upgrades over, in its time; the server itself does not listen. */
  async #beside(state) {
    const { random } = this
    const or = (value) => (random.chance(0.02) ? random.junk() : value)
    const http = createServer((_request, response) => response.end('beside'))
    http.on('upgrade', async (request, socket, head) => {
      socket.on('error', () => {})
      if (random.chance(0.1)) socket.pause()
      if (random.chance(0.4)) for (let turns = random.int(5); turns > 0; turns--) await turn()
      if (random.chance(0.02)) random.chance(0.5) ? socket.write('HTTP/1.1 100 Continue\r\n\r\n') : socket.end()
      try {
        for (let calls = random.chance(0.05) ? 2 : 1; calls > 0; calls--) {
          this.counts.adopted += state.server.adopt(or(request), or(socket), or(head)) ? 1 : 0
        }
      } catch (error) {
        this.check(error, 'adopt')
        socket.destroy()
      }
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    state.beside = http
    return { port: http.address().port, host: '127.0.0.1', secure: false, proxied: false }
  }

  /** Listens somewhere; undefined when that was refused, as it may be. */
  async listen(state) {
    const { random } = this
    const { secure, proxied } = state
    if (!secure && random.chance(0.25)) return await this.#beside(state)
    try {
      if (random.chance(0.2)) {
        this.counts.unix += 1
        return { ...(await state.server.listen({ unix: join(FOLDER, `${this.counts.unix}`) })), secure, proxied }
      }
      const { port } = await state.server.listen({ port: 0, ...(random.chance(0.7) && { host: '127.0.0.1' }) })
      return { port, host: '127.0.0.1', secure, proxied }
    } catch (error) {
      this.check(error, 'listen')
      return undefined
    }
  }

  /** Closes a server, and holds it to what must be true then. */
  async close(state) {
    const { server } = state
    let timer
    const late = new Promise((resolve) => {
      timer = setTimeout(() => resolve('late'), CLOSE_PATIENCE)
    })
    const closed = server.close({ timeout: this.random.int(500) }).catch((error) => this.check(error, 'close'))
    if ((await Promise.race([closed, late])) === 'late') this.fail('close', `has not ended after ${CLOSE_PATIENCE} ms`)
    clearTimeout(timer)
    state.beside?.close()
    state.beside?.closeAllConnections()
    const { connectionsOpen, connectionsAccepted, connectionsClosed } = server.metrics()
    if (server.connections !== 0 || connectionsOpen !== 0) this.fail('a closed server', `has ${server.connections} connections`)
    if (state.opened !== state.closed) this.fail('a closed server', `${state.opened} sockets opened and ${state.closed} closed`)
    if (connectionsAccepted !== state.opened || connectionsClosed !== state.closed)
      this.fail('metrics', 'disagree with the handlers')
    for (const [topic, count] of state.topics) {
      if (count !== 0 || server.subscribers(topic) !== 0) this.fail('a closed server', `has ${count} subscribers`)
    }
  }
}

/** Ours, or the package's with ours as its cause. */
function isOurs(error) {
  return error instanceof FuzzError || (error instanceof Error && error.cause instanceof FuzzError)
}

/**
 * A route or an upgrade handler has answered with what is no answer; Node's own checks of headers say so
 * likewise.
 */
function isAboutAnswer(error) {
  if (/^(a route|a handler|the body of a Response|upgrade|the health|Received non-Uint8Array chunk)\b/.test(error.message))
    return true
  return ['ERR_INVALID_CHAR', 'ERR_INVALID_HTTP_TOKEN', 'ERR_INVALID_ARG_TYPE', 'ERR_INVALID_STATE'].includes(error.code)
}
