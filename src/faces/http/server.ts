/**
 * `Server` of `node:http`.
 *
 * Long because its options, methods and events are those of one class there.
 */
import { Buffer } from 'node:buffer'
import { captureRejectionSymbol, EventEmitter } from 'node:events'
import { type IncomingMessage, type ServerOptions as NodeOptions, ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import process from 'node:process'
import type { Duplex } from 'node:stream'
import {
  type Accept,
  ClosedError,
  WebSocketServer as EngineServer,
  type ServerOptions as EngineServerOptions,
  type ListenOptions,
  type ListenResult,
  NotSupportedError,
  type UpgradeRequest,
  WebSocketServerError,
} from '../../index.js'
import { warn } from '../warning.js'
import { ConnectionFacts, incomingMessageOf } from '../ws/request.js'
import { tellOfStart } from './diagnostics.js'
import { type ExchangeHost, exchange, type RequestListener, type ResponseClass } from './exchange.js'
import { listenErrorOf } from './listen-error.js'
import { checkEvent, checkFixed, checkOptions, FIXED, type Fixed, OPTION_MEMBERS } from './missing.js'
import { placeOf } from './place.js'
import { TAKEN_ROUTE, type Taken, UpgradeSocket } from './upgrade.js'

/** `engine` and `tls` as in ServerOptions. Others are those of Node. */
export interface ServerOptions {
  engine?: EngineServerOptions['engine'] | undefined
  tls?: EngineServerOptions['tls'] | undefined
  /** Default 2^31-1, the most. */
  maxRequestBodySize?: number | undefined
  /** Milliseconds; 0 for none. Default 300,000. */
  requestTimeout?: number | undefined
  /** A class that extends that of Node. */
  IncomingMessage?: typeof IncomingMessage | undefined
  /** A class that extends that of Node, and leaves the methods that send as they are. */
  ServerResponse?: ResponseClass | undefined
  readonly [other: string]: unknown
}

interface Events {
  request: [request: IncomingMessage, response: ServerResponse]
  /** In place of `request`, of a request with `Expect: 100-continue`. */
  checkContinue: [request: IncomingMessage, response: ServerResponse]
  /** In place of `request`, of a request that expects something else. */
  checkExpectation: [request: IncomingMessage, response: ServerResponse]
  /** Of a handshake for a WebSocket; without a listener, `request` is emitted. */
  upgrade: [request: IncomingMessage, socket: Duplex, head: Buffer]
  timeout: [socket: Socket]
  /** Before each request, with its socket, which ends with the response. */
  connection: [socket: Socket]
  /** With TLS, after `connection`. */
  secureConnection: [socket: Socket]
  /** Never comes, as a process warning says. */
  clientError: [error: Error, socket: Duplex]
  /** Never comes, as a process warning says. */
  tlsClientError: [error: Error, socket: Socket]
  listening: []
  close: []
  error: [error: Error]
}

/** What the engine can count to; Node has no limit. */
const MAX_BODY = 2 ** 31 - 1
/** Milliseconds: Node waits without a limit for requests under way. */
const PATIENCE = 2 ** 31 - 1
const REQUEST_TIMEOUT = 300_000
/** As Node looks for it. */
const CONTINUE = /(?:^|\W)100-continue(?:$|\W)/i

/** As `node:http` has it, but for calls without `new`: docs/compatibility.md lists the members. */
export class Server extends EventEmitter<Events> {
  declare keepAliveTimeout: number
  declare headersTimeout: number
  declare maxHeadersCount: number | null
  declare maxRequestsPerSocket: number
  // Numbers and a boolean in the types of Node, too, which are undefined until a program sets them.
  declare maxConnections: number
  declare dropMaxConnection: boolean
  declare keepAliveTimeoutBuffer: number
  readonly #options: ServerOptions
  /** What the program has set of FIXED. */
  readonly #kept = new Map<string, unknown>()
  #engine: EngineServer | undefined
  #address: ListenResult | undefined
  #keepsProcessAlive = true
  /** The sockets of requests that have no whole response yet. */
  readonly #busy = new Set<Socket>()
  #requestTimeout: number
  /** Milliseconds without a byte of a request or response, after which `timeout` is emitted; 0 for none. */
  timeout = 0

  static {
    for (const [name, fixed] of Object.entries(FIXED) as [string, Fixed][]) {
      Object.defineProperty(Server.prototype, name, {
        get(this: Server) {
          return this.#kept.has(name) ? this.#kept.get(name) : fixed.value
        },
        set(this: Server, given: unknown) {
          checkFixed(`the member ${name}`, given, fixed)
          this.#kept.set(name, given)
        },
        enumerable: true,
        configurable: true,
      })
    }
    for (const name of OPTION_MEMBERS) {
      Object.defineProperty(Server.prototype, name, {
        set(this: Server, given: unknown) {
          checkOptions({ [name]: given })
        },
        configurable: true,
      })
    }
  }

  /** Throws NotSupportedError for options that have another effect than here. */
  constructor(options?: ServerOptions | NodeOptions, listener?: RequestListener)
  constructor(listener: RequestListener)
  constructor(given: ServerOptions | NodeOptions | RequestListener = {}, second?: RequestListener) {
    super()
    const [options, listener] = typeof given === 'function' ? [{} as ServerOptions, given] : [given as ServerOptions, second]
    this.#options = options
    checkOptions(options)
    this.#requestTimeout = options.requestTimeout ?? REQUEST_TIMEOUT
    // Of every event, those that Events does not name too.
    ;(this as EventEmitter).on('newListener', checkEvent)
    for (const name of Object.keys(FIXED)) if (options[name] !== undefined) this.#kept.set(name, options[name])
    if (listener !== undefined) this.on('request', listener)
  }

  /** Milliseconds in which a request must have come whole; 0 for none. `listen` looks at it. */
  get requestTimeout(): number {
    return this.#requestTimeout
  }

  /** After `listen`, a process warning: programs set it in either order. */
  set requestTimeout(milliseconds: number) {
    if (this.#engine !== undefined && milliseconds !== this.#requestTimeout) {
      warn('the member requestTimeout of Server has no effect after `listen`: set it before, or give the option')
    }
    this.#requestTimeout = milliseconds
  }

  /** As `getConnections` counts them; Node has deprecated it. */
  get connections(): number {
    return this.#busy.size
  }

  get listening(): boolean {
    return this.#address !== undefined
  }

  /** Null before `listening` and after `close`; the path of a unix socket. */
  address(): { address: string; family: string; port: number } | string | null {
    if (this.#address === undefined) return null
    const { host, port, unix } = this.#address
    if (host === undefined || port === undefined) return unix ?? null
    return { address: host, family: host.includes(':') ? 'IPv6' : 'IPv4', port }
  }

  /**
   * `listen(port, host, backlog, callback)`, `listen(options, callback)`, `listen(path, callback)`. Throws as
   * Node for what is no place to listen, and NotSupportedError for what the engine cannot do.
   */
  listen(...given: unknown[]): this {
    const callback = given.findLast((value) => typeof value === 'function')
    const { where, signal } = placeOf(given)
    const engine = this.#makeEngine()
    if (callback !== undefined) this.once('listening', callback as () => void)
    this.#engine = engine
    if (signal !== undefined) this.#closeBy(signal)
    // Has Node load its fetch now, rather than when the first request comes, which would wait for that.
    void globalThis.Response
    void this.#start(engine, where)
    return this
  }

  #closeBy(signal: AbortSignal): void {
    const close = () => void this.close()
    if (signal.aborted) {
      process.nextTick(close)
      return
    }
    signal.addEventListener('abort', close, { once: true })
    this.once('close', () => signal.removeEventListener('abort', close))
  }

  /** Stops accepting; `close` comes when the requests under way have their responses. */
  close(callback?: (error?: Error) => void): this {
    const engine = this.#engine
    if (engine === undefined) {
      const error = Object.assign(new Error('Server is not running.'), { code: 'ERR_SERVER_NOT_RUNNING' })
      if (callback !== undefined) process.nextTick(callback, error)
      return this
    }
    if (callback !== undefined) this.once('close', callback)
    this.#engine = undefined
    this.#address = undefined
    void engine.close({ timeout: PATIENCE }).then(() => this.emit('close'))
    return this
  }

  /** As Node, with `captureRejections`: the promise of a listener for `request` has rejected. */
  override [captureRejectionSymbol](error: Error, _event: unknown, ...[message, response]: unknown[]): void {
    if (!(response instanceof ServerResponse)) {
      // Of `upgrade` and `connection`: their listeners get a socket.
      const socket = [message, response].find((each) => each instanceof ConnectionFacts)
      if (socket === undefined) this.emit('error', error)
      else socket.destroy(error)
      return
    }
    if (response.headersSent || response.writableEnded) {
      response.destroy()
      return
    }
    for (const name of response.getHeaderNames()) response.removeHeader(name)
    response.statusCode = 500
    response.end(STATUS_CODES[500])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => void this.close(() => resolve()))
  }

  /**
   * `close` ends idle connections, before or after this. Where `close` does not follow in this turn, a
   * process warning says that nothing was ended.
   */
  closeIdleConnections(): void {
    const engine = this.#engine
    if (engine === undefined) return
    setImmediate(() => {
      if (this.#engine === engine) {
        warn('Server.closeIdleConnections without close has no effect: idle connections end after 5 to 10 seconds')
      }
    })
  }

  /** Cuts the connections that wait for a response. Idle ones end when the server closes. */
  closeAllConnections(): void {
    for (const socket of this.#busy) socket.destroy()
  }

  /** Calls back with the number of requests that wait for a response. */
  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#busy.size)
    return this
  }

  /** For requests from now on; `callback` becomes a listener for `timeout`. */
  setTimeout(milliseconds?: number | ((socket: Socket) => void), callback?: (socket: Socket) => void): this {
    const listener = typeof milliseconds === 'function' ? milliseconds : callback
    this.timeout = typeof milliseconds === 'number' ? milliseconds : 0
    if (listener !== undefined) this.on('timeout', listener)
    return this
  }

  /** Throws NotSupportedError for a connection that the program has accepted, as Node would serve it. */
  override emit<K>(event: K | keyof Events, ...given: K extends keyof Events ? Events[K] : never): boolean {
    if (event === 'connection' && !((given as unknown[])[0] instanceof ConnectionFacts)) {
      throw new NotSupportedError(
        "Server.emit('connection', socket)",
        'let each process listen, with `reusePort` or a proxy in front',
      )
    }
    return super.emit(event, ...given)
  }

  ref(): this {
    this.#keepsProcessAlive = true
    this.#engine?.ref()
    return this
  }

  unref(): this {
    this.#keepsProcessAlive = false
    this.#engine?.unref()
    return this
  }

  #makeEngine(): EngineServer {
    if (this.#engine !== undefined) {
      throw Object.assign(new Error('Listen method has been called more than once without closing.'), {
        code: 'ERR_SERVER_ALREADY_LISTEN',
      })
    }
    const { engine, tls, maxRequestBodySize = MAX_BODY } = this.#options
    const server = new EngineServer({
      health: false,
      maxRequestBodySize,
      requestTimeout: Math.ceil(this.#requestTimeout / 1000),
      onError: (error) => this.#report(error),
      ...(engine !== undefined && { engine }),
      ...(tls !== undefined && { tls }),
    })
    if (!this.#keepsProcessAlive) server.unref()
    const { IncomingMessage, ServerResponse } = this.#options
    const host: ExchangeHost = {
      server: this,
      IncomingMessage,
      ServerResponse,
      keepsCertificates: [tls].flat().some((each) => each?.requestCert === true),
      tell: (message, response) => this.#tell(message, response),
      timedOut: (socket) => this.emit('timeout', socket),
    }
    server.ws<Taken>('/*', { upgrade: (request) => this.#upgrade(request, host), ...TAKEN_ROUTE })
    return server.any('/*', (request) => exchange(request, host))
  }

  /** As Node: without a listener for `upgrade`, a handshake is a request like others. */
  #upgrade(request: UpgradeRequest, host: ExchangeHost): Promise<Accept<Taken> | Response> {
    if (this.listenerCount('upgrade') === 0) return exchange(request, host)
    return new Promise((resolve) => {
      // Later, one that was not asked for is unknown.
      if (host.keepsCertificates) void request.clientCertificate
      const socket = new UpgradeSocket(request, this, resolve)
      this.#busy.add(socket)
      socket.once('close', () => this.#busy.delete(socket))
      try {
        this.#tellOfConnection(socket)
        const message = incomingMessageOf(request, { socket, Class: host.IncomingMessage })
        this.emit('upgrade', message, socket, Buffer.alloc(0))
      } catch (error) {
        socket.destroy()
        // As with Node, what a listener throws is an uncaught exception.
        process.nextTick(() => {
          throw error
        })
      }
    })
  }

  #tell(message: IncomingMessage, response: ServerResponse): void {
    const { socket } = message
    this.#busy.add(socket)
    response.once('close', () => this.#busy.delete(socket))
    if (this.timeout > 0) socket.setTimeout(this.timeout)
    try {
      if (this.#tellOfConnection(socket)) {
        // After the response this ends the object alone.
        response.once('close', () => void socket.destroy())
      }
      tellOfStart(message, response)
      const event = this.#eventFor(message)
      if (event === undefined) response.writeHead(417).end()
      else this.emit(event, message, response)
    } catch (error) {
      // As with Node, what a listener throws is an uncaught exception.
      process.nextTick(() => {
        throw error
      })
    }
  }

  /** The engine tells of no connection: its requests do. Whether anybody listens. */
  #tellOfConnection(socket: Socket): boolean {
    const isTold = this.emit('connection', socket)
    const isSecure = socket instanceof ConnectionFacts && socket.encrypted
    return (isSecure && this.emit('secureConnection', socket)) || isTold
  }

  /** As Node chooses it; undefined where the server must refuse. */
  #eventFor({ headers: { expect } }: IncomingMessage): 'request' | 'checkContinue' | 'checkExpectation' | undefined {
    if (expect === undefined) return 'request'
    if (CONTINUE.test(expect)) return this.listenerCount('checkContinue') > 0 ? 'checkContinue' : 'request'
    return this.listenerCount('checkExpectation') > 0 ? 'checkExpectation' : undefined
  }

  async #start(engine: EngineServer, where: ListenOptions): Promise<void> {
    try {
      this.#address = await engine.listen(where)
    } catch (error) {
      if (this.#engine === engine) this.#engine = undefined
      // `close` came before.
      if (!(error instanceof ClosedError)) this.#fail(listenErrorOf(error))
      return
    }
    this.emit('listening')
  }

  #report(error: Error): void {
    // Clients can exhaust the file descriptors, and must not end the process by that.
    if (error instanceof WebSocketServerError && error.code === 'EMFILE') process.emitWarning(error)
    else this.#fail(error)
  }

  #fail(error: Error): void {
    // Without a listener it is an uncaught exception, rather than a rejection.
    process.nextTick(() => this.emit('error', error))
  }
}
