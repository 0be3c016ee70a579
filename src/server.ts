/**
 * The server that users see: routes, requests, sockets and the shutdown, above either engine.
 *
 * Long because a third of the lines are docstrings, from which docs/api.md is made. The code is in
 * modules as far as it can stand alone (`listenOn`, `ServerRuntime`, `BackplaneLink`, `toMetrics`);
 * `#bind` and `#shutDown` would take the private state with them: each sets what the methods around it
 * ask.
 */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as setTimeoutPromise } from 'node:timers/promises'
import { DeprecatedBackplaneLink } from './backplane/deprecated.js'
import { BackplaneLink } from './backplane/link.js'
import type { Question } from './backplane/questions.js'
import { adopt, turnAway } from './core/adoption.js'
import { healthHandler, liveHandler } from './core/health.js'
import { listenOn } from './core/listen.js'
import { toMetrics } from './core/metrics.js'
import { handlerFor, type PageHost } from './core/page.js'
import { ServerRuntime } from './core/runtime.js'
import { Timings } from './core/timings.js'
import type { BoundAddress, EngineCounters, EngineName, EngineServer, EngineTls, ListenAddress } from './engine/contract.js'
import { type SelectedEngine, selectEngine } from './engine/select.js'
import { AdoptError, ClosedError, OptionError, WebSocketServerError } from './errors.js'
import { ANY_METHOD } from './http/routes.js'
import { checkCloseFrame, checkTopic, toMessage } from './options/arguments.js'
import { checkDisconnectTarget, claimBackplane, isBackplaneEngine, resolveEverywhere } from './options/backplane.js'
import { checkFunction, checkPath } from './options/checks.js'
import {
  type ResolvedCloseOptions,
  type ResolvedServerOptions,
  resolveCloseOptions,
  resolveListenOptions,
  resolveServerOptions,
} from './options/server.js'
import { resolveTls } from './options/tls.js'
import { resolveMaxLifetime, resolveRoute } from './options/websocket.js'
import { readTls } from './tls/material.js'
import type {
  Accept,
  Backplane,
  BackplaneEngine,
  BackplaneMetrics,
  CloseOptions,
  Data,
  DisconnectTarget,
  EverywhereOptions,
  EverywhereResult,
  FdListenOptions,
  FdListenResult,
  ListenOptions,
  ListenResult,
  Metrics,
  RouteHandler,
  SendOptions,
  ServerOptions,
  Socket,
  TcpListenOptions,
  TcpListenResult,
  TlsOptions,
  UnixListenOptions,
  UnixListenResult,
  WebSocketHandlers,
} from './types/index.js'
import { CLOSE_CODE } from './websocket/close-codes.js'
import { TopicCounts } from './websocket/topic-counts.js'

/** Milliseconds between two looks at what is still being written while the server closes. */
const FLUSH_INTERVAL = 20

/**
 * A WebSocket and HTTP server.
 *
 * ```ts
 * const server = new WebSocketServer()
 * server.ws('/*', { message: (socket, message) => socket.send(message) })
 * await server.listen({ port: 7000 })
 * ```
 */
export class WebSocketServer implements AsyncDisposable {
  readonly #options: ResolvedServerOptions
  readonly #engine: SelectedEngine
  readonly #runtime: ServerRuntime
  /**
   * `#tls`: the options that the next `listen` reads. `#engineTls`: the material that was read from them,
   * for engines.
   */
  #tls: readonly TlsOptions[] | undefined
  #engineTls: readonly EngineTls[] | undefined
  /**
   * Names the call of `listen` that holds: from that call on, until it fails or `stopListening` is
   * called.
   */
  #listening: symbol | undefined
  #keepsProcessAlive = true
  /** Connections that were adopted go on when an attempt to listen fails. */
  #hasAdopted = false
  #closing: Promise<void> | undefined
  /** Aborted when no time is left to drain. */
  readonly #drained = new AbortController()
  /** What the engine had counted when the server disposed of it. */
  #lastCounters: EngineCounters | undefined

  /** Throws OptionError, or EngineError when the engine that was asked for cannot be loaded. */
  constructor(options: ServerOptions = {}) {
    this.#options = resolveServerOptions(options)
    this.#tls = this.#options.tls
    this.#engine = selectEngine(this.#options.engine)
    this.#runtime = new ServerRuntime(this.#options.tls ? 'https' : 'http', this.#options, this.#options.onError)
    const { backplane } = this.#options
    if (backplane !== undefined) {
      this.#runtime.backplane = isBackplaneEngine(backplane) ? this.#linkTo(backplane) : this.#linkToDeprecated(backplane)
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
   * The sockets of all routes, the oldest first: from the call of their `open` handler on, until they
   * have ended. Sockets may come and go while you iterate: new ones are visited too, ended ones are not.
   * The type of a socket's `data` is that of its route.
   */
  sockets(): IterableIterator<Socket<unknown>> {
    return this.#runtime.sockets[Symbol.iterator]()
  }

  /**
   * Serves WebSocket connections on a path: literal segments, `:name` for one segment, `*` as the last
   * segment for all that follows. Literal segments may be written as they are read (`/café`) or
   * percent-encoded. Of several paths that match, a literal segment is preferred to a `:name`, and a
   * `:name` to `*`. TypeScript takes the type of `data` (`T`) from the result of `upgrade`, when
   * `upgrade` is the first of the handlers. Throws OptionError; after the first `listen` ERR_LISTENING,
   * after `close` ClosedError.
   */
  ws<T = undefined, P extends string = string>(path: P, handlers: WebSocketHandlers<T, P>): this {
    this.#checkRoute(path)
    this.#runtime.addWebSocketRoute(path, handlers, resolveRoute(handlers), resolveMaxLifetime(handlers))
    return this
  }

  /** Responds to GET, and to HEAD without the body. Paths and errors as in `ws`. */
  get<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('GET', path, handler)
  }

  /** Responds to POST. Paths and errors as in `ws`. */
  post<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('POST', path, handler)
  }

  /** Responds to PUT. Paths and errors as in `ws`. */
  put<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('PUT', path, handler)
  }

  /** Responds to PATCH. Paths and errors as in `ws`. */
  patch<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('PATCH', path, handler)
  }

  /** Responds to DELETE. Paths and errors as in `ws`. */
  delete<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route('DELETE', path, handler)
  }

  /**
   * Responds to every method that has no route of its own on this path, OPTIONS included; without such a
   * route, the response to OPTIONS is 204 with the path's methods. Also mounts an application with a
   * fetch function: `server.any('/*', (request) => app.fetch(request))`. Paths and errors as in `ws`.
   */
  any<P extends string>(path: P, handler: RouteHandler<P>): this {
    return this.#route(ANY_METHOD, path, handler)
  }

  /**
   * Starts to accept connections. Rejects with OptionError, TlsError or ListenError, after which `listen` may
   * be called again; with ERR_LISTENING while the server listens; with ClosedError when `close` was called,
   * or `stopListening` meanwhile. After `stopListening`, `listen` may be called again, with the same options
   * or others: routes, topics, counters and TLS material stay.
   *
   * A list of addresses is listened on as a whole: when one of them fails, `listen` rejects with the error of
   * the first that failed, and none is open any more. The result has the places in the list's order. Each
   * port that is 0 is another one.
   */
  listen(options?: TcpListenOptions): Promise<TcpListenResult>
  /** As above, on a unix socket. */
  listen(options: UnixListenOptions): Promise<UnixListenResult>
  /** As above, on a socket that is open already, as systemd passes it. */
  listen(options: FdListenOptions): Promise<FdListenResult>
  /** As above, on any of them. */
  listen(options: ListenOptions): Promise<ListenResult>
  /** As above, on several. */
  listen(options: readonly ListenOptions[]): Promise<ListenResult[]>
  async listen(options: ListenOptions | readonly ListenOptions[] = {}): Promise<ListenResult | ListenResult[]> {
    const places = resolveListenOptions(options)
    this.#checkNotListening()
    const attempt = Symbol('listen')
    this.#listening = attempt
    try {
      if (this.#tls !== undefined && this.#runtime.engine === undefined) this.#engineTls = readTls(this.#tls)
      if (this.#runtime.backplane !== undefined) await this.#runtime.backplane.start()
      const results = await listenOn(places, (addresses) => this.#bind(addresses, attempt))
      const [first] = results
      return Array.isArray(options) || first === undefined ? results : first
    } catch (error) {
      if (this.#listening === attempt) this.#listening = undefined
      throw error
    }
  }

  /**
   * Stops accepting connections, and closes none: open sockets go on, and HTTP connections end with their
   * next response. The ports and unix sockets are free when this returns, and `listen` may be called again.
   * Does nothing while the server does not listen.
   */
  stopListening(): void {
    this.#listening = undefined
    this.#runtime.engine?.stopListening()
  }

  /**
   * Takes over a connection that a server of `node:http` has accepted, in a listener of its `upgrade`
   * event: `http.on('upgrade', (request, socket, head) => server.adopt(request, socket, head))`. From
   * there on the connection is this server's, with routes, checks, limits and `close`, as if it had come
   * through `listen`, which need not have been called: the first of the two calls fixes the routes. A
   * refused request gets its response, and the connection ends; a request that asks for another protocol
   * is served as HTTP.
   *
   * Returns false, and ends the connection, when the client has left already, or has asked for the
   * upgrade before it had the responses to its earlier requests; when the process has no file descriptor
   * left (`onError` is told); and after `close`, where the client gets 503. So nothing that a client does
   * makes it throw. It throws OptionError for arguments of other kinds, and AdoptError where the program
   * cannot work: for a socket that was adopted before or that Node still reads requests from, and on a
   * server with the option `tls`; on the native engine also for connections of `node:https`, which the
   * portable engine takes. The socket is still yours then.
   *
   * `accept` is for programs that have judged the request already: what the route's `upgrade` would return to
   * accept. That handler is not asked then; the server's own checks and limits hold all the same. What cannot
   * be used goes to `onError`, and the client gets 500.
   *
   * The socket is not to be used any more. The native engine destroys it: its `close` event is not the
   * end of the connection, and the HTTP server does not count the connection. On the portable engine the
   * HTTP server's own `close` waits for it.
   */
  adopt(request: IncomingMessage, socket: Duplex, head: Uint8Array, accept?: Accept<unknown>): boolean {
    if (this.#runtime.isClosing) return turnAway(socket)
    if (this.#tls !== undefined) {
      throw new AdoptError('this server encrypts by itself: make one without the option `tls` to adopt connections')
    }
    return adopt(request, socket, head, (connection) => {
      const engine = this.#runtime.engine ?? this.#makeEngine()
      if (accept !== undefined) this.#runtime.decide(request, accept)
      const isTaken = engine.adopt(connection)
      if (!isTaken || this.#hasAdopted) return isTaken
      this.#hasAdopted = true
      // No call waits for it: until it has started, topics are those of this server.
      const { backplane } = this.#runtime
      if (backplane instanceof BackplaneLink) backplane.startBeside()
      else backplane?.start().catch((error: unknown) => this.#closing ?? this.#runtime.report(error))
      return true
    })
  }

  /**
   * New connections get these certificates and settings; open connections stay as they are, and no TLS
   * session from before is resumed. Before `listen`, these settings take the place of the option `tls`.
   * Files are read before `reloadTls` returns. Throws OptionError (also when the server was made without
   * `tls`) or TlsError, and then changes nothing; after `close`, ClosedError.
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
   * Sends to every subscriber of a topic, here and behind the backplane. False when no socket of this
   * server subscribes, or before the first `listen`. The options are those of `Socket.send`, for every
   * subscriber here. Throws OptionError as `Socket.publish` does.
   */
  publish(topic: string, data: Data, options?: boolean | SendOptions): boolean {
    checkTopic(topic)
    return this.#runtime.publish(topic, toMessage(data, options), 0)
  }

  /** How many sockets subscribe to a topic. Throws OptionError as `Socket.subscribe` does. */
  subscribers(topic: string): number {
    checkTopic(topic)
    return this.#runtime.subscribers(topic)
  }

  /**
   * How many sockets subscribe to a topic, on this server and all others behind the backplane. Resolves
   * when all have replied that are known, or with a partial count after the timeout; at once while the
   * backplane is down or not started, with the count of this server alone. Rejects with OptionError.
   */
  async subscribersEverywhere(topic: string, options: EverywhereOptions = {}): Promise<EverywhereResult> {
    checkTopic(topic)
    return await this.#ask({ ask: 'subscribers', topic }, options)
  }

  /**
   * Closes the subscribers of a topic, or the socket with an id, wherever they are, as `Socket.close`
   * does. `count` is how many were open. Resolves and rejects as `subscribersEverywhere`. Default: code
   * 1000, and no reason.
   */
  async disconnectEverywhere(
    target: DisconnectTarget,
    code: number = CLOSE_CODE.NORMAL_CLOSURE,
    reason = '',
    options: EverywhereOptions = {},
  ): Promise<EverywhereResult> {
    checkDisconnectTarget(target)
    checkCloseFrame(code, reason)
    return await this.#ask({ ask: 'disconnect', ...target, code, reason }, options)
  }

  /** The counts since the server was made. May be called at any time; after `close` the totals stay. */
  metrics(): Metrics {
    return toMetrics(this.#runtime.counters, this.#runtime.engine?.counters() ?? this.#lastCounters)
  }

  /**
   * The counts of the backplane since the server was made. May be called at any time. Undefined where
   * there is none, or a deprecated one.
   */
  backplaneMetrics(): BackplaneMetrics | undefined {
    const { backplane } = this.#runtime
    return backplane instanceof BackplaneLink ? backplane.metrics : undefined
  }

  /**
   * Stops accepting; the health path answers 503 on connections that are still open; every socket gets
   * `code` and `reason`; the response to an `upgrade` that is under way is 503 when its handler accepts.
   * Resolves when all sockets have ended, and all responses, streams included, are written; connections
   * that are left after `timeout` milliseconds are cut. With `drain`, all of this begins so many
   * milliseconds later, and until then the health path alone says 503. A route's handler that awaits
   * `close` waits for itself, until the timeout. Further calls give the same promise, and without `drain`
   * they cut its time short. Rejects with OptionError, and then changes nothing.
   */
  close(options: CloseOptions = {}): Promise<void> {
    let resolved: ResolvedCloseOptions
    try {
      resolved = resolveCloseOptions(options)
    } catch (error) {
      return Promise.reject(error)
    }
    if (this.#closing !== undefined) {
      if (resolved.drain === 0) this.#drained.abort()
    } else {
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

  /**
   * Lets the listening socket keep the process alive, which is the default. Open connections always keep
   * it alive.
   */
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

  #linkTo(engine: BackplaneEngine): BackplaneLink {
    claimBackplane(engine)
    const runtime = this.#runtime
    const link = new BackplaneLink(engine, {
      publishHere: (topic, payload, isText, compress) => void runtime.engine?.publish(topic, payload, 0, compress, isText),
      report: (error) => runtime.reportOrWarn(error),
      answer: (question) => this.#answer(question),
    })
    runtime.subscriptions = new TopicCounts()
    runtime.subscriptions.observer = link
    return link
  }

  #linkToDeprecated(backplane: Backplane): DeprecatedBackplaneLink {
    return new DeprecatedBackplaneLink(
      backplane,
      (topic, payload) => void this.#runtime.engine?.publish(topic, payload, 0),
      (error) => this.#runtime.report(error),
    )
  }

  async #ask(question: Question, options: EverywhereOptions): Promise<EverywhereResult> {
    const timeout = resolveEverywhere(options)
    const { backplane } = this.#runtime
    if (backplane instanceof BackplaneLink) return await backplane.ask(question, timeout)
    return { count: this.#answer(question), answered: 1, members: 1, age: 0 }
  }

  /** The reply of this server alone. */
  #answer(question: Question): number {
    if (question.ask === 'subscribers') return this.#runtime.subscribers(question.topic)
    const { topic = '', socketId } = question
    // The list does not change while sockets are closed: they end later.
    const meant = [...this.#runtime.sockets].filter(
      (socket) => socket.isOpen && (socketId === undefined ? socket.isSubscribed(topic) : socket.knownId === socketId),
    )
    for (const socket of meant) socket.close(question.code, question.reason)
    return meant.length
  }

  #route<P extends string>(method: string, path: P, handler: RouteHandler<P>): this {
    this.#checkRoute(path)
    checkFunction('handler', handler)
    const served = handlerFor(handler, () => this.#pageHost())
    // The cast is safe: a request's parameters are those that the path names, as Params<P> says.
    this.#runtime.httpRoutes.add(method, path, served as RouteHandler<string>)
    return this
  }

  /** What pages of this server ask. */
  #pageHost(): PageHost {
    const runtime = this.#runtime
    return {
      engine: this.engine,
      metrics: () => this.metrics(),
      backplaneMetrics: () => this.backplaneMetrics(),
      sockets: () => runtime.sockets,
      measure: () => {
        runtime.timings ??= new Timings()
        return runtime.timings
      },
    }
  }

  #checkRoute(path: string): void {
    this.#checkNotListening()
    // An engine's routes are fixed when its server is made.
    if (this.#runtime.engine !== undefined) throw new WebSocketServerError('ERR_LISTENING', 'the server has listened already')
    checkPath('path', path)
  }

  #checkNotListening(): void {
    if (this.#closing) throw new ClosedError()
    if (this.#listening !== undefined) throw new WebSocketServerError('ERR_LISTENING', 'the server listens already')
  }

  async #bind(addresses: readonly ListenAddress[], attempt: symbol): Promise<readonly BoundAddress[]> {
    if (this.#closing) throw new ClosedError()
    if (this.#listening !== attempt) throw new ClosedError('stopListening was called')
    const isFirst = this.#runtime.engine === undefined
    const server = this.#runtime.engine ?? this.#makeEngine()
    try {
      const bound = await server.listen(addresses)
      this.#addHealthRoutes()
      return bound
    } catch (error) {
      // Unless stopListening ended this attempt, and another one has begun with the same engine.
      const isLast = this.#listening === attempt || this.#listening === undefined
      if (isFirst && isLast && !this.#hasAdopted) {
        this.#runtime.engine = undefined
        server.dispose()
      }
      throw error
    }
  }

  #makeEngine(): EngineServer {
    const { proxyProtocol, requestTimeout } = this.#options
    const server = this.#engine.engine.createServer(
      { tls: this.#engineTls, proxyProtocol, requestTimeout, routes: this.#runtime.routes },
      this.#runtime,
    )
    this.#runtime.engine = server
    this.#runtime.fixRoutes()
    this.#runtime.timings?.start()
    if (!this.#keepsProcessAlive) server.unref()
    return server
  }

  /** Once, for the first port: routes of the user's own on these paths replace the health routes. */
  #addHealthRoutes(): void {
    const { health } = this.#options
    if (health === undefined) return
    const runtime = this.#runtime
    const leaving = () => (runtime.isClosing ? 'closing' : runtime.isDraining ? 'draining' : undefined)
    const handler = healthHandler(
      health,
      leaving,
      (error) => runtime.report(error),
      () => !(runtime.backplane instanceof BackplaneLink) || runtime.backplane.isWhole,
    )
    runtime.httpRoutes.addUnlessTaken('GET', health.path, handler)
    if (health.live !== undefined) runtime.httpRoutes.addUnlessTaken('GET', health.live, liveHandler)
  }

  async #shutDown({ code, reason, timeout, drain }: ResolvedCloseOptions): Promise<void> {
    if (drain > 0 && this.#runtime.engine !== undefined) {
      this.#runtime.isDraining = true
      // `close` without `drain` cuts this short.
      await setTimeoutPromise(drain, undefined, { signal: this.#drained.signal }).catch(() => {})
    }
    const { sockets, engine } = this.#runtime
    this.#runtime.isClosing = true
    engine?.stopListening()
    for (const socket of sockets) socket.close(code, reason)
    const patience = new AbortController()
    const timer = setTimeout(() => patience.abort(), timeout)
    await Promise.race([this.#runtime.idle(), once(patience.signal, 'abort')])
    // The last responses may still be on their way to the clients. No event tells when the kernel has taken
    // them.
    while (engine?.http.isFlushed() === false && !patience.signal.aborted) await setTimeoutPromise(FLUSH_INTERVAL)
    clearTimeout(timer)
    // Cuts what is left: sockets that did not answer the Close frame, and requests without a response.
    engine?.dispose()
    await this.#runtime.idle()
    this.#runtime.timings?.stop()
    this.#lastCounters = engine?.counters()
    this.#runtime.engine = undefined
    await this.#runtime.backplane?.close()
  }
}
