/** `Server` of `node:http`. */
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import process from 'node:process'
import {
  ClosedError,
  WebSocketServer as EngineServer,
  type ServerOptions as EngineServerOptions,
  type ListenOptions,
  type ListenResult,
  NotSupportedError,
  WebSocketServerError,
} from '../../index.js'
import { exchange, type RequestListener } from './exchange.js'

/** `engine` and `tls` as in ServerOptions. Of the options of Node, `requestTimeout` alone has an effect. */
export interface ServerOptions {
  engine?: EngineServerOptions['engine']
  tls?: EngineServerOptions['tls']
  /** Default 2^31-1, the most. */
  maxRequestBodySize?: number
  /** Milliseconds; 0 for none. Default 300,000. */
  requestTimeout?: number
  readonly [other: string]: unknown
}

interface Events {
  request: [request: IncomingMessage, response: ServerResponse]
  listening: []
  close: []
  error: [error: Error]
}

/** What the engine can count to; Node has no limit. */
const MAX_BODY = 2 ** 31 - 1
/** Milliseconds: Node waits without a limit for requests under way. */
const PATIENCE = 2 ** 31 - 1
const REQUEST_TIMEOUT = 300_000

/** Events whose listeners would get a socket, which the engine has. */
const ABSENT = new Map([
  ['upgrade', 'give WebSockets a port of their own, or put them on a server of node:http'],
  ['connect', 'no engine serves CONNECT'],
])

/** As `node:http` has it: docs/compatibility.md lists the members. */
export class Server extends EventEmitter<Events> {
  readonly #options: ServerOptions
  #engine: EngineServer | undefined
  #address: ListenResult | undefined
  #keepsProcessAlive = true

  constructor(options: ServerOptions = {}, listener?: RequestListener) {
    super()
    this.#options = options
    // Of every event, those that Events does not name too.
    ;(this as EventEmitter).on('newListener', (event: string) => {
      const instead = ABSENT.get(event)
      if (instead !== undefined) throw new NotSupportedError(`the event ${event} of Server`, instead)
    })
    if (listener !== undefined) this.on('request', listener)
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

  /** `listen(port, host, backlog, callback)`, `listen(options, callback)`, `listen(path, callback)`. */
  listen(...given: unknown[]): this {
    const callback = given.findLast((value) => typeof value === 'function')
    if (callback !== undefined) this.once('listening', callback as () => void)
    const engine = this.#makeEngine()
    this.#engine = engine
    void this.#start(engine, whereOf(given))
    return this
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

  /** No effect: the engine ends idle connections when the server closes. */
  closeIdleConnections(): void {}

  /** Closes the server, and cuts what is left. */
  closeAllConnections(): void {
    throw new NotSupportedError('Server.closeAllConnections', 'call close, which ends idle connections')
  }

  /** No effect: `requestTimeout` is the time for a request. */
  setTimeout(_milliseconds?: number, _callback?: () => void): this {
    return this
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
    const { engine, tls, maxRequestBodySize = MAX_BODY, requestTimeout = REQUEST_TIMEOUT } = this.#options
    const server = new EngineServer({
      health: false,
      maxRequestBodySize,
      requestTimeout: Math.ceil(requestTimeout / 1000),
      onError: (error) => this.#report(error),
      ...(engine !== undefined && { engine }),
      ...(tls !== undefined && { tls }),
    })
    if (!this.#keepsProcessAlive) server.unref()
    return server.any('/*', (request) => exchange(request, (message, response) => this.#tell(message, response)))
  }

  #tell(message: IncomingMessage, response: ServerResponse): void {
    try {
      this.emit('request', message, response)
    } catch (error) {
      // As with Node, what a listener throws is an uncaught exception.
      process.nextTick(() => {
        throw error
      })
    }
  }

  async #start(engine: EngineServer, where: ListenOptions): Promise<void> {
    try {
      this.#address = await engine.listen(where)
    } catch (error) {
      if (this.#engine === engine) this.#engine = undefined
      // `close` came before.
      if (!(error instanceof ClosedError)) this.#fail(error)
      return
    }
    this.emit('listening')
  }

  #report(error: Error): void {
    // Clients can exhaust the file descriptors, and must not end the process by that.
    if (error instanceof WebSocketServerError && error.code === 'EMFILE') process.emitWarning(error)
    else this.#fail(error)
  }

  #fail(error: unknown): void {
    // Without a listener it is an uncaught exception, rather than a rejection.
    process.nextTick(() => this.emit('error', error instanceof Error ? error : new Error(String(error))))
  }
}

function whereOf(given: readonly unknown[]): ListenOptions {
  const [first, second] = given
  if (typeof first === 'string' && !/^\d+$/.test(first)) return { unix: first }
  const options: { port?: unknown; host?: unknown; path?: unknown; fd?: unknown } =
    typeof first === 'object' && first !== null
      ? first
      : { port: typeof first === 'function' ? 0 : first, host: typeof second === 'string' ? second : undefined }
  if (typeof options.path === 'string') return { unix: options.path }
  if (typeof options.fd === 'number') return { fd: options.fd }
  const { port, host } = options
  return { port: Number(port ?? 0), ...(typeof host === 'string' && { host }) }
}
