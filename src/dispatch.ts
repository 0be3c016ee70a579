/** Brings what an engine reports to the handlers that are meant by it: routing, handshakes, answers and failures. */
import process from 'node:process'
import { inspect } from 'node:util'
import type { BackplaneLink } from './backplane.js'
import type {
  ConnectionId,
  EngineRoute,
  EngineServer,
  ExchangeId,
  Payload,
  RequestHead,
  ServerEvents,
} from './engine/contract.js'
import { WebSocketServerError } from './errors.js'
import { isWebSocketUpgrade, upgradeRequired } from './http/handshake.js'
import { IncomingRequest, parseTarget, type Target } from './http/request.js'
import { plainResponse, toEngineResponse } from './http/response.js'
import { decodeParams, type Match, RouteTable } from './http/routes.js'
import { Counters } from './metrics.js'
import type { ServerSocket } from './socket.js'
import { Subscriptions } from './subscriptions.js'
import type { Awaitable, WebSocketHandlers } from './types.js'
import { type UpgradeLimits, type UpgradeOwner, Upgrades } from './upgrade/upgrades.js'

export type HttpHandler = (request: IncomingRequest) => Awaitable<Response>

export class Dispatcher implements ServerEvents, UpgradeOwner {
  /** Where answers go: the engine's server that reports the events. */
  engine: EngineServer | undefined
  isClosing = false
  readonly sockets = new Set<ServerSocket<unknown>>()
  readonly counters = new Counters()
  /** Where there is one: it hears of everything that is published here. */
  backplane: BackplaneLink | undefined
  /** From the first route that has a `subscription` handler. */
  subscriptions: Subscriptions | undefined
  readonly #scheme: 'http' | 'https'
  readonly #onError: ((error: Error) => void) | undefined
  readonly #http = new RouteTable<HttpHandler>()
  readonly #upgrades: Upgrades
  /** Requests that wait for their answer. */
  readonly #requests = new Map<ExchangeId, IncomingRequest>()
  #onIdle: (() => void) | undefined

  constructor(scheme: 'http' | 'https', limits: UpgradeLimits, onError: ((error: Error) => void) | undefined) {
    this.#scheme = scheme
    this.#upgrades = new Upgrades(this, scheme, limits)
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
    limits: EngineRoute,
    maxLifetime: number,
  ): void {
    this.#upgrades.addRoute(path, handlers, limits, maxLifetime)
    if (handlers.subscription !== undefined) this.subscriptions ??= new Subscriptions()
  }

  addHttpRoute(method: string, path: string, handler: HttpHandler): void {
    this.#http.add(method, path, handler)
  }

  /** Adds a route that gives way to one of the user's on the same path. */
  addDefaultRoute(method: string, path: string, handler: HttpHandler): void {
    this.#http.addUnlessTaken(method, path, handler)
  }

  /** Resolves when no socket is open and no request waits. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve
      this.#checkIdle()
    })
  }

  request(exchange: ExchangeId, head: RequestHead): void {
    const target = parseTarget(head.url)
    if (isWebSocketUpgrade(head)) {
      this.#upgrades.request(exchange, head, target)
      return
    }
    this.counters.httpRequests += 1
    const match = this.#http.find(head.method, target.path)
    if (match === undefined) this.engine?.respond(exchange, this.#unroutable(head, target))
    else void this.#answer(exchange, head, target, match)
  }

  aborted(exchange: ExchangeId): void {
    const request = this.#requests.get(exchange)
    this.#requests.delete(exchange)
    request?.abort()
    this.#upgrades.aborted(exchange)
    this.#checkIdle()
  }

  descriptorsExhausted(): void {
    const error = new WebSocketServerError(
      'EMFILE',
      'no file descriptor is left for new connections: raise the limit (ulimit -n)',
    )
    // Without `onError`, a report would end the process, and everybody who is connected is still served.
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

  failed(): void {
    this.counters.handlerErrors += 1
  }

  /** Sends to every subscriber of a topic but `except` (0: to all), and to the backplane. False when nobody here subscribes. */
  publish(topic: string, payload: Payload, except: ConnectionId, compress: boolean | undefined): boolean {
    const hasSubscriber = this.engine?.publish(topic, payload, except, compress) ?? false
    this.backplane?.publish(topic, payload)
    return hasSubscriber
  }

  subscribers(topic: string): number {
    return this.subscriptions?.count(topic) ?? this.engine?.subscribers(topic) ?? 0
  }

  ended(socket: ServerSocket<unknown>): void {
    this.counters.connectionsClosed += 1
    this.sockets.delete(socket)
    this.#upgrades.ended(socket)
    this.#checkIdle()
  }

  settled(): void {
    this.#checkIdle()
  }

  #unroutable({ method }: RequestHead, { path }: Target) {
    const headOnly = method === 'HEAD'
    const allowed = this.#http.allowed(path)
    if (allowed.length > 0) return plainResponse(405, ['allow', allowed.join(', ')], headOnly)
    const isEndpoint = (method === 'GET' || headOnly) && this.#upgrades.hasRoute(path)
    return isEndpoint ? upgradeRequired(headOnly) : plainResponse(404, [], headOnly)
  }

  async #answer(exchange: ExchangeId, head: RequestHead, target: Target, { value, params }: Match<HttpHandler>): Promise<void> {
    const headOnly = head.method === 'HEAD'
    const decoded = decodeParams(params)
    if (decoded === undefined) {
      this.engine?.respond(exchange, plainResponse(400, [], headOnly))
      return
    }
    const request = new IncomingRequest(head, target, decoded, this.#scheme)
    this.#requests.set(exchange, request)
    let response = plainResponse(500, [], headOnly)
    try {
      response = await toEngineResponse(await value(request), headOnly)
    } catch (error) {
      // A handler that gave up because the client has gone has done well.
      if (!(request.isAborted && error === request.signal.reason)) {
        this.failed()
        this.report(error)
      }
    }
    if (!this.#requests.delete(exchange)) return
    this.engine?.respond(exchange, response)
    this.#checkIdle()
  }

  #checkIdle(): void {
    if (this.sockets.size === 0 && this.#requests.size === 0 && this.#upgrades.isIdle) this.#onIdle?.()
  }
}

/** From a stack of its own, so that nobody catches it by chance. */
function throwUncaught(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
