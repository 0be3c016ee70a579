/**
 * From the request for a WebSocket connection to the connection, or to the response that refuses it.
 *
 * Long because each way out of an upgrade must settle the same places, counts and events.
 */
import type { IncomingMessage } from 'node:http'
import { channels } from '../core/diagnostics.js'
import type { EngineResponse, EngineRoute, EngineServer, ExchangeId, RequestHead } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import { endpointsOf } from '../http/addresses.js'
import { Exchange, type ExchangeHost, type ExchangeRequest, OpenExchanges } from '../http/exchange.js'
import { headerOf, unlessMalformed } from '../http/request.js'
import { failureResponse, isInParts, isResponse, plainResponse, readResponse } from '../http/response.js'
import { decodeParams, RouteTable } from '../http/routes.js'
import type { Target } from '../http/target.js'
import type { OriginCheck } from '../options/origins.js'
import type { ResolvedRoute } from '../options/websocket.js'
import type { Accept, RefusalReason, WebSocketHandlers } from '../types/index.js'
import type { OrderedSet } from '../util/ordered-set.js'
import { isThenable } from '../util/thenable.js'
import { type Acceptance, PLAIN_ACCEPTANCE, toAcceptance } from './acceptance.js'
import { AddressLimit } from './address-limit.js'
import { agreeOnCompression, type ExtensionOffer, extensionOffersOf } from './deflate-negotiation.js'
import type { DueQueue } from './due-queue.js'
import { refusalOf } from './handshake.js'
import { IncomingHandshake } from './incoming-handshake.js'
import { LifetimeLimit } from './lifetime-limit.js'
import { PingSchedule } from './ping-schedule.js'
import { discard, type Refusal, type Refused, refusal, tellRefusal } from './refusals.js'
import { type RouteContext, ServerSocket, type SocketOwner } from './socket.js'
import { offeredProtocols } from './subprotocols.js'
import { IncomingUpgrade } from './upgrade-request.js'

/** Who may connect to a server, and how many. */
export interface UpgradeLimits {
  readonly isAllowedOrigin: OriginCheck | undefined
  /** Infinity for no limit. */
  readonly maxConnections: number
  /** Infinity for no limit. */
  readonly maxConnectionsPerAddress: number
  /** Whether the address that counts is the one that a proxy tells. */
  readonly proxyProtocol: boolean
}

/** What upgrades need of their server. */
export interface UpgradeOwner extends SocketOwner, ExchangeHost {
  readonly engine: EngineServer | undefined
  readonly isClosing: boolean
  /** Those that have not ended. A new one is added here. */
  readonly sockets: OrderedSet<ServerSocket<unknown>>
}

interface Route {
  /** Its place among the engine's routes. */
  readonly index: number
  /** As it was registered. */
  readonly path: string
  handlers: WebSocketHandlers<unknown>
  readonly settings: ResolvedRoute
  /** What comes due for its sockets, some time after they have opened: the end of their lifetime, Pings. */
  readonly dues: readonly DueQueue<ServerSocket<unknown>>[]
  /** From the first socket on. */
  context: RouteContext<unknown> | undefined
}

/** A correct request on a route, within the server's limits. */
interface UpgradeCandidate {
  readonly route: Route
  /** The target as it was sent. */
  readonly url: string
  readonly remoteAddress: string
  /** As RequestHead. */
  readonly endpoints: string
  /** The address group whose places count; undefined where addresses are not limited. */
  readonly group: string | undefined
  /** Where the route's `upgrade` has its say, or a diagnostics channel is listened to. */
  readonly request: IncomingUpgrade | undefined
  /** Where the route's `handshake` has its say. */
  readonly handshake: IncomingHandshake | undefined
  /** What the client offers. */
  readonly extensions: readonly ExtensionOffer[]
  /** As `extensions`. */
  readonly protocols: readonly string[]
  /** What was decided before the connection was adopted; undefined where the route's handler decides. */
  readonly decision: Accept<unknown> | undefined
}

export class Upgrades {
  /** What the engine must know of the routes, in its order. */
  readonly engineRoutes: EngineRoute[] = []
  readonly #owner: UpgradeOwner
  readonly #limits: UpgradeLimits
  readonly #routes = new RouteTable<Route>()
  /** Those of all routes. */
  readonly #dues: DueQueue<ServerSocket<unknown>>[] = []
  /** Those of upgrades whose handler, or whose refusal, is under way. */
  readonly #open: OpenExchanges
  /**
   * Where there is a limit for each address: the exchanges that are open and the sockets, which have a place
   * each.
   */
  readonly #addresses: AddressLimit<Exchange | ServerSocket<unknown>> | undefined
  /** By the requests of adopted connections. */
  readonly #decisions = new WeakMap<IncomingMessage, Accept<unknown>>()

  constructor(owner: UpgradeOwner, limits: UpgradeLimits) {
    this.#owner = owner
    this.#open = new OpenExchanges(owner, (exchange) => this.#addresses?.leave(exchange))
    this.#limits = limits
    const { maxConnectionsPerAddress: max, proxyProtocol } = limits
    if (max !== Number.POSITIVE_INFINITY) this.#addresses = new AddressLimit(max, proxyProtocol)
  }

  /** `maxLifetime` in seconds, 0 for none. */
  addRoute<T, P extends string>(path: P, handlers: WebSocketHandlers<T, P>, settings: ResolvedRoute, maxLifetime: number): void {
    const dues: DueQueue<ServerSocket<unknown>>[] = []
    if (maxLifetime !== 0) dues.push(new LifetimeLimit(maxLifetime))
    if (settings.pingInterval !== undefined) dues.push(new PingSchedule(settings.pingInterval))
    // One table holds routes of all data types. What a route's handlers get is what its own `upgrade`
    // returned, and its own parameters.
    const erased = handlers as unknown as WebSocketHandlers<unknown>
    this.#routes.add('GET', path, { index: this.engineRoutes.length, path, handlers: erased, settings, dues, context: undefined })
    this.engineRoutes.push(settings)
    this.#dues.push(...dues)
  }

  /** Puts other handlers in the place of each route's. Only before the first request. */
  replaceHandlers(replace: (path: string, handlers: WebSocketHandlers<unknown>) => WebSocketHandlers<unknown>): void {
    this.#routes.replaceAll((_method, _path, route) => {
      route.handlers = replace(route.path, route.handlers)
      return route
    })
  }

  decide(incoming: IncomingMessage, accept: Accept<unknown>): void {
    this.#decisions.set(incoming, accept)
  }

  hasRoute(path: string): boolean {
    return this.#routes.find('GET', path) !== undefined
  }

  get isIdle(): boolean {
    return this.#open.size === 0
  }

  /** `target` is undefined where the request has none, or no Host. */
  request(id: ExchangeId, head: RequestHead, target: Target | undefined): void {
    // No handler is going to read the body, and a client that sends a malformed target gets no further
    // request.
    const examined = head.hasBody || target === undefined ? refusal(400, 'malformed', true) : this.#examine(id, head, target)
    if (!('route' in examined)) {
      const { response, reason } = examined
      this.#refuse(id, head, head.method === 'HEAD' ? { ...response, body: undefined } : response, reason)
    } else if (examined.decision !== undefined) {
      this.#acceptAs(id, examined, examined.decision)
    } else if (examined.handshake !== undefined) {
      const { handlers } = examined.route
      void this.#ask(id, examined, examined.handshake, (handshake) => handlers.handshake?.(handshake))
    } else if (examined.request !== undefined && examined.route.handlers.upgrade !== undefined) {
      const { handlers } = examined.route
      void this.#ask(id, examined, examined.request, (request) => handlers.upgrade?.(request))
    } else {
      this.#accept(id, examined, PLAIN_ACCEPTANCE)
    }
  }

  /** The connection has ended. */
  ended(socket: ServerSocket<unknown>): void {
    for (const queue of this.#dues) queue.delete(socket)
    this.#addresses?.leave(socket)
  }

  /**
   * What can be said without the route's handler: the response that refuses, or what is left for the handler
   * to judge.
   */
  #examine(id: ExchangeId, head: RequestHead, target: Target): UpgradeCandidate | Refusal {
    const match = this.#routes.find('GET', target.path)
    if (match === undefined) return refusal(404, 'path')
    if (this.#owner.isClosing) return refusal(503, 'closing')
    const refused = refusalOf(head)
    if (refused !== undefined) return refused
    // Before anything that is in proportion to what the client has sent.
    const group = this.#addresses?.groupOf(head)
    const limited = this.#reachedLimit(head, group)
    if (limited !== undefined) return limited
    const protocols = offeredProtocols(head)
    const extensions = extensionOffersOf(head)
    const params = decodeParams(match.params)
    if (protocols === undefined || extensions === undefined || params === undefined) return refusal(400, 'malformed')
    const { value: route } = match
    const { url, remoteAddress, endpoints } = head
    let request: IncomingUpgrade | undefined
    const decision = head.incoming && this.#decisions.get(head.incoming)
    const readCertificate = () => this.#open.http?.peerCertificate(id)
    let handshake: IncomingHandshake | undefined
    if (route.handlers.handshake !== undefined && decision === undefined) {
      handshake = new IncomingHandshake(head, target, params, protocols, readCertificate)
    }
    // A web-standard Request costs more than all the rest of a handshake: only who looks at it gets one.
    if ((route.handlers.upgrade !== undefined && decision === undefined) || channels.open.hasSubscribers) {
      request = unlessMalformed(() => new IncomingUpgrade(head, target, params, protocols, readCertificate))
      if (request === undefined) return refusal(400, 'malformed')
    }
    // One literal: V8 gives each copy by spreading a hidden class of its own, and finds its members slowly.
    return { route, url, remoteAddress, endpoints, group, extensions, protocols, decision, request, handshake }
  }

  /** For a client that one of the server's limits keeps out. */
  #reachedLimit(head: RequestHead, group: string | undefined): Refusal | undefined {
    const { isAllowedOrigin, maxConnections } = this.#limits
    const { counters, sockets } = this.#owner
    try {
      if (isAllowedOrigin?.(headerOf(head, 'origin')) === false) {
        counters.upgradesRefusedByOrigin += 1
        return refusal(403, 'origin')
      }
    } catch (error) {
      this.#owner.report(error)
      return refusal(500, 'other')
    }
    if (this.#addresses?.hasRoom(group) === false) {
      counters.upgradesRefusedByAddress += 1
      return refusal(503, 'address')
    }
    if (sockets.size + this.#open.size < maxConnections) return undefined
    counters.upgradesRefusedByLimit += 1
    return refusal(503, 'limit')
  }

  /** Lets the route's handler decide; a handler that returns no promise is obeyed at once. */
  async #ask<R extends ExchangeRequest>(
    id: ExchangeId,
    candidate: UpgradeCandidate,
    request: R,
    handler: (request: R) => unknown,
  ): Promise<void> {
    const exchange = new Exchange(this.#open, id, request)
    this.#addresses?.enter(exchange, candidate.group)
    try {
      const result = handler(request)
      const given: unknown = isThenable(result) ? await result : result
      if (exchange.isOpen)
        await this.#decide(exchange, candidate, request, toAcceptance(given, candidate.protocols, candidate.route.settings))
      else if (isResponse(given)) discard(given)
    } catch (error) {
      const response = this.#failed(request, error)
      if (response === undefined) return
      if (exchange.isOpen) this.#refusedByHandler(candidate, response)
      exchange.respond(response)
    } finally {
      exchange.settle()
    }
  }

  /** What the client of a handler that has failed gets; `onError` is told. */
  #failed(request: ExchangeRequest, error: unknown): EngineResponse | undefined {
    // A handler that gave up because the client has gone has done well.
    if (request.isAborted && error === request.signal.reason) return undefined
    this.#owner.failed(error)
    this.#owner.report(error)
    return failureResponse(error)
  }

  /** The caller settles the exchange. */
  async #decide(
    exchange: Exchange,
    candidate: UpgradeCandidate,
    request: ExchangeRequest,
    given: Acceptance | Response,
  ): Promise<void> {
    if (!isResponse(given)) {
      exchange.settle()
      this.#accept(exchange.id, candidate, given)
      return
    }
    const response = await readResponse(given, false)
    if (exchange.isOpen) this.#refusedByHandler(candidate, response)
    try {
      if (isInParts(response)) await exchange.stream(response)
      else exchange.respond(response)
    } catch (error) {
      // It is told already that the upgrade was refused.
      const failure = this.#failed(request, error)
      if (failure !== undefined) exchange.respond(failure)
    }
  }

  /** As was decided before. */
  #acceptAs(id: ExchangeId, candidate: UpgradeCandidate, decision: Accept<unknown>): void {
    let acceptance: Acceptance
    try {
      const given = toAcceptance(decision, candidate.protocols, candidate.route.settings)
      if (isResponse(given)) throw new OptionError('accept', given, 'no Response')
      acceptance = given
    } catch (error) {
      this.#owner.failed(error)
      this.#owner.report(error)
      const response = failureResponse(error)
      this.#refusedByHandler(candidate, response)
      this.#open.http?.respond(id, response)
      return
    }
    this.#accept(id, candidate, acceptance)
  }

  #accept(id: ExchangeId, candidate: UpgradeCandidate, { data, protocol, headers, limits }: Acceptance): void {
    const { engine, sockets, counters, isClosing } = this.#owner
    const { route, remoteAddress, endpoints, group, request } = candidate
    if (engine === undefined) return
    // It may have begun since the request came, by the user's own code too.
    if (isClosing) {
      this.#refuse(id, candidate, plainResponse(503), 'closing')
      return
    }
    // An attempt to listen that failed has left no sockets, but another engine.
    if (route.context?.connections !== engine.connections) {
      route.context = { owner: this.#owner, connections: engine.connections, handlers: route.handlers, route: route.settings }
    }
    const { compression: settings } = limits ?? route.settings
    const compression = settings && agreeOnCompression(candidate.extensions, settings)
    const extensions = compression?.extension ?? ''
    const { remotePort, local } = endpointsOf(endpoints)
    const context = limits === undefined ? route.context : { ...route.context, route: { ...route.settings, ...limits } }
    const socket = new ServerSocket(context, { data, protocol, extensions, remoteAddress, remotePort, local })
    const connection = engine.accept(id, route.index, protocol, headers, compression, socket, limits)
    if (connection === 0) return
    counters.connectionsAccepted += 1
    sockets.add(socket)
    this.#addresses?.enter(socket, group)
    for (const queue of route.dues) queue.add(socket)
    if (request !== undefined && channels.open.hasSubscribers) channels.open.publish({ socket, route: route.path, request })
    socket.opened(connection)
  }

  #refuse(id: ExchangeId, from: Refused, response: EngineResponse, reason: RefusalReason): void {
    this.#owner.counters.upgradesRefused += 1
    this.#open.http?.respond(id, response)
    tellRefusal(from, response, reason)
  }

  #refusedByHandler(from: Refused, response: { readonly status: number }): void {
    this.#owner.counters.upgradesRefusedByHandler += 1
    this.#owner.counters.upgradesRefused += 1
    tellRefusal(from, response, 'handler')
  }
}
