/**
 * Brings what an engine reports to the handlers that are meant by it: routing, handshakes, responses
 * and failures.
 */
import type { Buffer } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import process from 'node:process'
import { TLSSocket } from 'node:tls'
import { inspect } from 'node:util'
import type { DeprecatedBackplaneLink } from '../backplane/deprecated.js'
import type { BackplaneLink } from '../backplane/link.js'
import type {
  ConnectionId,
  EngineResponse,
  EngineRoute,
  EngineServer,
  ExchangeId,
  RequestHead,
  ServerEvents,
} from '../engine/contract.js'
import { WebSocketServerError } from '../errors.js'
import type { ExchangeTable } from '../http/exchange.js'
import { plainResponse } from '../http/response.js'
import { type BodyLimits, type HttpHandler, HttpRouter, type RouterOwner } from '../http/router.js'
import type { RouteTable } from '../http/routes.js'
import { readTarget, type Target } from '../http/target.js'
import type { OutgoingMessage } from '../options/arguments.js'
import type { ResolvedRoute } from '../options/websocket.js'
import type { Accept, WebSocketHandlers } from '../types/index.js'
import { OrderedSet } from '../util/ordered-set.js'
import { isWebSocketUpgrade, upgradeRequired } from '../websocket/handshake.js'
import type { ServerSocket } from '../websocket/socket.js'
import { TopicCounts } from '../websocket/topic-counts.js'
import { type UpgradeLimits, type UpgradeOwner, Upgrades } from '../websocket/upgrades.js'
import { channels } from './diagnostics.js'
import { Counters } from './metrics.js'
import type { Timings } from './timings.js'
import { throwUncaught } from './uncaught.js'

export class ServerRuntime implements ServerEvents, UpgradeOwner, RouterOwner {
  /** Where responses go: the engine's server that reports the events. */
  engine: EngineServer | undefined
  isClosing = false
  /** Before that, while balancers are told to send clients elsewhere. */
  isDraining = false
  readonly sockets = new OrderedSet<ServerSocket<unknown>>()
  /** Requests and upgrades, by the engine's ids. */
  readonly exchanges: ExchangeTable = new Map()
  readonly counters = new Counters()
  /** Where there is one: it hears of everything that is published here. */
  backplane: BackplaneLink | DeprecatedBackplaneLink | undefined
  /** With a backplane, and from the first route that has a `subscription` handler. */
  subscriptions: TopicCounts | undefined
  /** Where a page asks for it. */
  timings: Timings | undefined
  readonly #scheme: 'http' | 'https'
  readonly #onError: ((error: Error) => void) | undefined
  readonly #router: HttpRouter
  readonly #upgrades: Upgrades
  #onIdle: (() => void) | undefined
  #areFixed = false

  constructor(scheme: 'http' | 'https', limits: UpgradeLimits & BodyLimits, onError: ((error: Error) => void) | undefined) {
    this.#scheme = scheme
    this.#router = new HttpRouter(this, limits)
    this.#upgrades = new Upgrades(this, limits)
    this.#onError = onError
  }

  /** What the engine must know of the WebSocket routes, in its order. */
  get routes(): readonly EngineRoute[] {
    return this.#upgrades.engineRoutes
  }

  /** `maxLifetime` in seconds, 0 for none. */
  addWebSocketRoute<T, P extends string>(
    path: P,
    handlers: WebSocketHandlers<T, P>,
    limits: ResolvedRoute,
    maxLifetime: number,
  ): void {
    this.#upgrades.addRoute(path, handlers, limits, maxLifetime)
    if (handlers.subscription !== undefined) this.subscriptions ??= new TopicCounts()
  }

  /** The routes of HTTP requests, by method and path. */
  get httpRoutes(): RouteTable<HttpHandler> {
    return this.#router.routes
  }

  /** The routes are fixed from here on. Handlers that are to be measured are wrapped, the first time. */
  fixRoutes(): void {
    const { timings } = this
    if (timings === undefined || this.#areFixed) return
    this.#areFixed = true
    this.#upgrades.replaceHandlers((path, handlers) => timings.wrapWebSocket(path, handlers))
    this.httpRoutes.replaceAll((method, path, handler) => timings.wrapHttp(method, path, handler))
  }

  /** The request that an adopted connection brings is accepted so, without asking its route's handler. */
  decide(incoming: IncomingMessage, accept: Accept<unknown>): void {
    this.#upgrades.decide(incoming, accept)
  }

  /** Resolves when no socket is open and no request waits. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve
      this.settled()
    })
  }

  request(exchange: ExchangeId, head: RequestHead): void {
    const target = readTarget(head, head.incoming === undefined ? this.#scheme : schemeOf(head.incoming))
    if (isWebSocketUpgrade(head)) {
      this.#upgrades.request(exchange, head, target)
      return
    }
    this.counters.httpRequests += 1
    if (target === undefined) this.#router.refuseMalformed(exchange, head)
    else this.#router.request(exchange, head, target)
  }

  body(exchange: ExchangeId, chunk: Buffer, isLast: boolean): void {
    this.exchanges.get(exchange)?.receive(chunk, isLast)
  }

  writable(exchange: ExchangeId): void {
    this.exchanges.get(exchange)?.writable()
  }

  aborted(exchange: ExchangeId): void {
    this.exchanges.get(exchange)?.aborted()
  }

  descriptorsExhausted(): void {
    const error = new WebSocketServerError(
      'EMFILE',
      'no file descriptor is left for new connections: raise the limit (ulimit -n)',
    )
    // A report could end the process, which still serves the clients that are connected.
    this.reportOrWarn(error)
  }

  /** For what must not end the process where there is no `onError`: a process warning then. */
  reportOrWarn(error: Error): void {
    if (this.#onError === undefined) process.emitWarning(error)
    else this.report(error)
  }

  report(error: unknown): void {
    if (this.#onError === undefined) {
      throwUncaught(error)
      return
    }
    try {
      this.#onError(error instanceof Error ? error : new Error(`a handler threw ${inspect(error)}`, { cause: error }))
    } catch (second) {
      throwUncaught(second)
    }
  }

  failed(error: unknown, socket?: ServerSocket<unknown>): void {
    this.counters.handlerErrors += 1
    if (channels.error.hasSubscribers) channels.error.publish({ error, socket })
  }

  handlerFailed(error: unknown): void {
    this.failed(error)
    this.report(error)
  }

  /**
   * Sends to every subscriber of a topic but `except` (0: to all), and to the backplane. False when no socket
   * here subscribes.
   */
  publish(topic: string, message: OutgoingMessage, except: ConnectionId): boolean {
    const hasSubscriber = this.engine?.publish(topic, message.payload, except, message.compress, message.isText) ?? false
    this.backplane?.publish(topic, message)
    return hasSubscriber
  }

  subscribers(topic: string): number {
    return this.subscriptions?.count(topic) ?? this.engine?.subscribers(topic) ?? 0
  }

  ended(socket: ServerSocket<unknown>): void {
    this.counters.connectionsClosed += 1
    this.sockets.delete(socket)
    this.#upgrades.ended(socket)
    this.settled()
  }

  /** Where no HTTP route has the path. */
  unmatched({ method }: RequestHead, { path }: Target): EngineResponse {
    const headOnly = method === 'HEAD'
    const isEndpoint = (method === 'GET' || headOnly) && this.#upgrades.hasRoute(path)
    return isEndpoint ? upgradeRequired(headOnly) : plainResponse(404, [], headOnly)
  }

  settled(): void {
    if (this.sockets.size === 0 && this.#router.isIdle && this.#upgrades.isIdle) this.#onIdle?.()
  }
}

/** Of an adopted connection: whether it is encrypted is the other server's choice. */
function schemeOf({ socket }: IncomingMessage): 'http' | 'https' {
  return socket instanceof TLSSocket ? 'https' : 'http'
}
