/**
 * The server that users see: routes, requests, sockets and the shutdown, above either engine. Long because
 * its methods carry the reference of each.
 */
import { once } from 'node:events'
import { setTimeout as setTimeoutPromise } from 'node:timers/promises'
import { BackplaneLink } from './backplane/backplane.js'
import { healthHandler } from './core/health.js'
import { listenOn } from './core/listen.js'
import { toMetrics } from './core/metrics.js'
import { ServerRuntime } from './core/runtime.js'
import type { EngineCounters, EngineName, EngineTls, ListenAddress } from './engine/contract.js'
import { type SelectedEngine, selectEngine } from './engine/select.js'
import { ClosedError, OptionError, WebSocketServerError } from './errors.js'
import { ANY_METHOD } from './http/routes.js'
import { checkTopic, toPayload } from './options/arguments.js'
import { checkBoolean, checkFunction, checkPath } from './options/checks.js'
import { type ResolvedServerOptions, resolveCloseOptions, resolveListenOptions, resolveServerOptions } from './options/server.js'
import { resolveTls } from './options/tls.js'
import { resolveMaxLifetime, resolveRoute } from './options/websocket.js'
import { readTls } from './tls/material.js'
import type {
  CloseOptions,
  Data,
  ListenOptions,
  ListenResult,
  Metrics,
  RouteHandler,
  ServerOptions,
  Socket,
  TcpListenOptions,
  TcpListenResult,
  TlsOptions,
  UnixListenOptions,
  UnixListenResult,
  WebSocketHandlers,
} from './types/index.js'

/** Milliseconds between two looks at what is still being written while the server closes. */
const FLUSH_INTERVAL = 20

/**
 * A WebSocket and HTTP server.
 *
 * ```ts
 * const server = new WebSocketServer()
 * server.ws('/*', { message: (socket, message) => void socket.send(message) })
 * await server.listen({ port: 7000 })
 * ```
 */
export class WebSocketServer implements AsyncDisposable {
  readonly #options: ResolvedServerOptions
  readonly #engine: SelectedEngine
  readonly #runtime: ServerRuntime
  /** What the next `listen` reads; and what it has read, which engines are given. */
  #tls: readonly TlsOptions[] | undefined
  #engineTls: readonly EngineTls[] | undefined
  /** From the call of `listen`, unless that fails. */
  #isListening = false
  #keepsProcessAlive = true
  #closing: Promise<void> | undefined
  /** What the engine had counted when it was given up. */
  #lastCounters: EngineCounters | undefined

  /** Throws OptionError, or EngineError when the engine that was asked for cannot be loaded. */
  constructor(options: ServerOptions = {}) {
    this.#options = resolveServerOptions(options)
    this.#tls = this.#options.tls
    this.#engine = selectEngine(this.#options.engine)
    this.#runtime = new ServerRuntime(this.#options.tls ? 'https' : 'http', this.#options, this.#options.onError)
    const { backplane } = this.#options
    if (backplane !== undefined) {
      this.#runtime.backplane = new BackplaneLink(
        backplane,
        (topic, payload) => void this.#runtime.engine?.publish(topic, payload, 0),
        (error) => this.#runtime.report(error),
      )
    }
  }

  /** The engine in use. */
  get engine(): EngineName {
    return this.#engine.engine.name
  }

  /** Why the portable engine is in use; `undefined` on the native one. */
  get engineReason(): string | undefined {
    return this.#engine.reason
  }

  /** WebSocket connections that have not ended. */
  get connections(): number {
    return this.#runtime.sockets.size
  }

  /**
   * The sockets of all routes, from the `open` handler's to those that are closing; the oldest first. They
   * may come and go while you iterate: those that come are visited too, those that have ended are not. `data`
   * is whatever their route's is.
   */
  sockets(): IterableIterator<Socket<unknown>> {
    return this.#runtime.sockets[Symbol.iterator]()
  }

  /**
   * Serves WebSocket connections on a path: literal segments, `:name` for one segment, `*` as the last
   * segment for all that follows. Literal segments may be written as they are read (`/café`) or
   * percent-encoded. Of several paths that match, a literal segment is preferred to a `:name`, and that to
   * `*`. What sockets carry (`T`) is taken from what `upgrade` returns, when that is the first of the
   * handlers. Throws OptionError; after `listen` ERR_LISTENING, after `close` ClosedError.
   */
  ws<T = undefined, P extends string = string>(path: P, handlers: WebSocketHandlers<T, P>): this {
    this.#checkRoute(path)
    this.#runtime.addWebSocketRoute(path, handlers, resolveRoute(handlers), resolveMaxLifetime(handlers))
    return this
  }

  /** Answers GET, and HEAD without the body. Paths and errors as in `ws`. */
  get<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('GET', path, handler)
  }

  /** Answers POST. Paths and errors as in `ws`. */
  post<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('POST', path, handler)
  }

  /** Answers PUT. Paths and errors as in `ws`. */
  put<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('PUT', path, handler)
  }

  /** Answers PATCH. Paths and errors as in `ws`. */
  patch<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('PATCH', path, handler)
  }

  /** Answers DELETE. Paths and errors as in `ws`. */
  delete<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('DELETE', path, handler)
  }

  /**
   * Answers every method that has no route of its own on this path, OPTIONS included, which is otherwise
   * answered with 204 and the methods that there are. Also mounts whatever has a fetch function:
   * `server.any('/*', (request) => app.fetch(request))`. Paths and errors as in `ws`.
   */
  any<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route(ANY_METHOD, path, handler)
  }

  /**
   * Starts to accept connections. Rejects with OptionError, TlsError or ListenError, after which it may be
   * called again; with ERR_LISTENING when it was called before; with ClosedError when `close` was.
   */
  listen(options?: TcpListenOptions): Promise<TcpListenResult>
  /** Likewise, on a unix socket. */
  listen(options: UnixListenOptions): Promise<UnixListenResult>
  /** Likewise, on either. */
  listen(options: ListenOptions): Promise<ListenResult>
  async listen(options: ListenOptions = {}): Promise<ListenResult> {
    const where = resolveListenOptions(options)
    this.#checkNotListening()
    this.#isListening = true
    try {
      if (this.#tls !== undefined) this.#engineTls = readTls(this.#tls)
      await this.#runtime.backplane?.start()
      return await listenOn(where, (address) => this.#bind(address))
    } catch (error) {
      this.#isListening = false
      throw error
    }
  }

  /**
   * New connections get these certificates and settings; those that are open stay as they are, and no TLS
   * session from before is resumed. Before `listen`, they take the place of the option `tls`. Files are read
   * before this returns. Throws OptionError, also when the server was made without `tls`, or TlsError:
   * everything then stays as it was; after `close`, ClosedError.
   */
  reloadTls(tls: TlsOptions | readonly TlsOptions[]): void {
    if (this.#closing) throw new ClosedError()
    if (this.#tls === undefined) {
      throw new OptionError('tls', undefined, 'given to the server when it is made: later it cannot be turned on')
    }
    const options = resolveTls(tls)
    const material = readTls(options)
    this.#runtime.engine?.reloadTls(material)
    this.#tls = options
    this.#engineTls = material
  }

  /**
   * Sends to every subscriber of a topic, here and behind the backplane. False when there is none here, or
   * when the server does not listen. `compress` is as with `Socket.send`, for every subscriber here. Throws
   * OptionError as `Socket.publish` does.
   */
  publish(topic: string, data: Data, compress?: boolean): boolean {
    checkTopic(topic)
    const payload = toPayload(data)
    if (compress !== undefined) checkBoolean('compress', compress)
    return this.#runtime.publish(topic, payload, 0, compress)
  }

  /** How many sockets subscribe to a topic. Throws OptionError as `Socket.subscribe` does. */
  subscribers(topic: string): number {
    checkTopic(topic)
    return this.#runtime.subscribers(topic)
  }

  /** What was counted since the server was made. May be called at any time; after `close` the totals stay. */
  metrics(): Metrics {
    return toMetrics(this.#runtime.counters, this.#runtime.engine?.counters() ?? this.#lastCounters)
  }

  /**
   * Stops accepting; the health path answers 503 on connections that are still open; every socket gets `code`
   * and `reason`; an `upgrade` that is under way is answered 503 when its handler accepts. Resolves when all
   * sockets have ended, and all requests are answered and their answers, streams included, written; what is
   * left after `timeout` milliseconds is cut. A route's handler that awaits this waits for itself, until the
   * timeout. Further calls give the same promise. Rejects with OptionError, and then nothing is closed.
   */
  close(options: CloseOptions = {}): Promise<void> {
    if (this.#closing === undefined) {
      let resolved: Required<CloseOptions>
      try {
        resolved = resolveCloseOptions(options)
      } catch (error) {
        return Promise.reject(error)
      }
      // Assigned before anything else happens: a `subscription` handler, which runs at once, may call this
      // again.
      let begin: (done: Promise<void>) => void = () => {}
      this.#closing = new Promise((resolve) => {
        begin = resolve
      })
      begin(this.#shutDown(resolved))
    }
    return this.#closing
  }

  /** Lets the listening socket keep the process alive, as it does at first. Open connections always do. */
  ref(): this {
    this.#keepsProcessAlive = true
    this.#runtime.engine?.ref()
    return this
  }

  /** Lets the process end although the server listens, when nothing else keeps it alive. */
  unref(): this {
    this.#keepsProcessAlive = false
    this.#runtime.engine?.unref()
    return this
  }

  /** Closes as `close()` does: `await using server = new WebSocketServer()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #route<P extends string>(method: string, path: P, handler: RouteHandler<P>): this {
    this.#checkRoute(path)
    checkFunction('handler', handler)
    // The parameters are those that the path names, which is what Params<P> says.
    this.#runtime.addHttpRoute(method, path, handler as RouteHandler<string>)
    return this
  }

  #checkRoute(path: string): void {
    this.#checkNotListening()
    checkPath('path', path)
  }

  #checkNotListening(): void {
    if (this.#closing) throw new ClosedError()
    if (this.#isListening) throw new WebSocketServerError('ERR_LISTENING', 'the server listens already')
  }

  /** Gives the port. Each attempt takes a server of the engine's of its own. */
  async #bind(address: ListenAddress): Promise<number> {
    if (this.#closing) throw new ClosedError()
    const { proxyProtocol, requestTimeout } = this.#options
    const server = this.#engine.engine.createServer(
      { tls: this.#engineTls, proxyProtocol, requestTimeout, routes: this.#runtime.routes },
      this.#runtime,
    )
    this.#runtime.engine = server
    if (!this.#keepsProcessAlive) server.unref()
    try {
      const port = await server.listen(address)
      const { health } = this.#options
      // A route of the user's own on this very path is meant to replace it.
      if (health !== undefined) {
        const runtime = this.#runtime
        const handler = healthHandler(
          health,
          () => runtime.isClosing,
          (error) => runtime.report(error),
        )
        runtime.addDefaultRoute('GET', health.path, handler)
      }
      return port
    } catch (error) {
      this.#runtime.engine = undefined
      server.dispose()
      throw error
    }
  }

  async #shutDown({ code, reason, timeout }: Required<CloseOptions>): Promise<void> {
    const { sockets, engine } = this.#runtime
    this.#runtime.isClosing = true
    engine?.stopListening()
    for (const socket of sockets) socket.close(code, reason)
    const patience = new AbortController()
    const timer = setTimeout(() => patience.abort(), timeout)
    await Promise.race([this.#runtime.idle(), once(patience.signal, 'abort')])
    // What was answered last may still be on its way to the client. No event tells of its arrival.
    while (engine?.isFlushed() === false && !patience.signal.aborted) await setTimeoutPromise(FLUSH_INTERVAL)
    clearTimeout(timer)
    // Cuts what is left: sockets that did not answer, and requests without an answer.
    engine?.dispose()
    await this.#runtime.idle()
    this.#lastCounters = engine?.counters()
    this.#runtime.engine = undefined
    await this.#runtime.backplane?.close()
  }
}
