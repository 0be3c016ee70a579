/** From the request for a WebSocket connection to the connection, or to the answer that refuses it. */
import type {
  CompressionAgreement,
  EngineResponse,
  EngineRoute,
  EngineServer,
  ExchangeId,
  RequestHead,
} from '../engine/contract.js'
import { headerOf, unlessMalformed } from '../http/request.js'
import { failureResponse, isResponse, plainResponse, readResponse, type StreamingResponse } from '../http/response.js'
import { decodeParams, RouteTable } from '../http/routes.js'
import type { Target } from '../http/target.js'
import type { OriginCheck } from '../options/origins.js'
import type { ResolvedRoute } from '../options/websocket.js'
import type { WebSocketHandlers } from '../types/index.js'
import type { OrderedSet } from '../util/ordered-set.js'
import { isThenable } from '../util/thenable.js'
import { type Acceptance, PLAIN_ACCEPTANCE, toAcceptance } from './acceptance.js'
import { AddressLimit } from './address-limit.js'
import { agreeOnCompression, extensionOffersOf } from './deflate-negotiation.js'
import type { DueQueue } from './due-queue.js'
import { offeredProtocols, refusalOf } from './handshake.js'
import { LifetimeLimit } from './lifetime-limit.js'
import { PingSchedule } from './ping-schedule.js'
import { type RouteContext, ServerSocket, type SocketOwner } from './socket.js'
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
export interface UpgradeOwner extends SocketOwner {
  readonly engine: EngineServer | undefined
  readonly isClosing: boolean
  /** Those that have not ended. A new one is added here. */
  readonly sockets: OrderedSet<ServerSocket<unknown>>
  /**
   * Answers in pieces. Resolves also when the client has gone; rejects with the body's error, and has then
   * cut the connection.
   */
  stream(exchange: ExchangeId, response: StreamingResponse): Promise<void>
  /** An upgrade is under way no longer. */
  settled(): void
}

interface Route {
  /** Its place among the engine's routes. */
  readonly index: number
  readonly handlers: WebSocketHandlers<unknown>
  readonly settings: ResolvedRoute
  /** What comes due for its sockets, some time after they have opened: the end of their lifetime, Pings. */
  readonly dues: readonly DueQueue<ServerSocket<unknown>>[]
  /** From the first socket on. */
  home: RouteContext<unknown> | undefined
}

/** A correct request on a route, within the server's limits. */
interface UpgradeCandidate {
  readonly route: Route
  readonly remoteAddress: string
  /** Whose places it takes; undefined where that is nobody's business. */
  readonly group: string | undefined
  /** Where the route's handler has its say. */
  readonly request: IncomingUpgrade | undefined
  /** What client and route agree on. */
  readonly compression: CompressionAgreement | undefined
}

export class Upgrades {
  /** What the engine must know of the routes, in its order. */
  readonly engineRoutes: EngineRoute[] = []
  readonly #owner: UpgradeOwner
  readonly #limits: UpgradeLimits
  readonly #routes = new RouteTable<Route>()
  /** Those of all routes. */
  readonly #dues: DueQueue<ServerSocket<unknown>>[] = []
  /** Those whose handler, or whose refusal, is under way. */
  readonly #pending = new Map<ExchangeId, IncomingUpgrade>()
  /**
   * Where there is a limit for each address: who has a place, as an exchange that is pending or as a socket.
   */
  readonly #addresses: AddressLimit<ExchangeId | ServerSocket<unknown>> | undefined

  constructor(owner: UpgradeOwner, limits: UpgradeLimits) {
    this.#owner = owner
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
    this.#routes.add('GET', path, { index: this.engineRoutes.length, handlers: erased, settings, dues, home: undefined })
    this.engineRoutes.push(settings)
    this.#dues.push(...dues)
  }

  hasRoute(path: string): boolean {
    return this.#routes.find('GET', path) !== undefined
  }

  get isIdle(): boolean {
    return this.#pending.size === 0
  }

  /** `target` is undefined where the request has none, or no Host. */
  request(exchange: ExchangeId, head: RequestHead, target: Target | undefined): void {
    // Nobody is going to read the body; and a client without a proper target is not to be trusted with
    // another request.
    const wanted = head.hasBody || target === undefined ? { ...plainResponse(400), closes: true } : this.#examine(head, target)
    if (!('route' in wanted)) this.#refuse(exchange, head.method === 'HEAD' ? { ...wanted, body: undefined } : wanted)
    else if (wanted.request === undefined) this.#open(exchange, wanted, PLAIN_ACCEPTANCE)
    else void this.#ask(exchange, wanted, wanted.request)
  }

  /** The client has gone. */
  aborted(exchange: ExchangeId): void {
    const request = this.#pending.get(exchange)
    this.#settle(exchange)
    request?.abort()
  }

  /** The connection has ended. */
  ended(socket: ServerSocket<unknown>): void {
    for (const queue of this.#dues) queue.delete(socket)
    this.#addresses?.leave(socket)
  }

  /**
   * What can be said without the route's handler: the answer that refuses, or what is left for the handler to
   * judge.
   */
  #examine(head: RequestHead, target: Target): UpgradeCandidate | EngineResponse {
    const match = this.#routes.find('GET', target.path)
    if (match === undefined) return plainResponse(404)
    if (this.#owner.isClosing) return plainResponse(503)
    const refusal = refusalOf(head)
    if (refusal !== undefined) return refusal
    // Before anything that is in proportion to what the client has sent.
    const group = this.#addresses?.groupOf(head)
    const status = this.#reachedLimit(head, group)
    if (status !== undefined) return plainResponse(status)
    const protocols = offeredProtocols(head)
    const extensions = extensionOffersOf(head)
    const params = decodeParams(match.params)
    if (protocols === undefined || extensions === undefined || params === undefined) return plainResponse(400)
    const { value: route } = match
    const { compression: settings } = route.settings
    const compression = settings && agreeOnCompression(extensions, settings)
    const { remoteAddress } = head
    // A web-standard Request costs more than all the rest of a handshake: only who looks at it gets one.
    if (route.handlers.upgrade === undefined) return { route, remoteAddress, group, request: undefined, compression }
    const request = unlessMalformed(() => new IncomingUpgrade(head, target, params, protocols))
    return request === undefined ? plainResponse(400) : { route, remoteAddress, group, request, compression }
  }

  /** The status for a client that one of the server's limits keeps out. */
  #reachedLimit(head: RequestHead, group: string | undefined): number | undefined {
    const { isAllowedOrigin, maxConnections } = this.#limits
    const { counters, sockets } = this.#owner
    try {
      if (isAllowedOrigin?.(headerOf(head, 'origin')) === false) {
        counters.upgradesRefusedByOrigin += 1
        return 403
      }
    } catch (error) {
      this.#owner.report(error)
      return 500
    }
    if (this.#addresses?.hasRoom(group) === false) counters.upgradesRefusedByAddress += 1
    else if (sockets.size + this.#pending.size >= maxConnections) counters.upgradesRefusedByLimit += 1
    else return undefined
    return 503
  }

  /** False when it is pending no longer. */
  #settle(exchange: ExchangeId): boolean {
    if (!this.#pending.delete(exchange)) return false
    this.#addresses?.leave(exchange)
    return true
  }

  /** Lets the route's handler decide; one that answers at once is obeyed at once. */
  async #ask(exchange: ExchangeId, wanted: UpgradeCandidate, request: IncomingUpgrade): Promise<void> {
    const { route } = wanted
    this.#pending.set(exchange, request)
    this.#addresses?.enter(exchange, wanted.group)
    try {
      const result: unknown = route.handlers.upgrade?.(request)
      const answer: unknown = isThenable(result) ? await result : result
      if (this.#pending.has(exchange)) await this.#answer(exchange, wanted, request, toAcceptance(answer, request.protocols))
      else if (isResponse(answer)) discard(answer)
    } catch (error) {
      // A handler that gave up because the client has gone has done well.
      if (request.isAborted && error === request.signal.reason) return
      this.#owner.failed()
      this.#owner.report(error)
      if (this.#settle(exchange)) this.#refuseByHandler(exchange, failureResponse(error))
    } finally {
      this.#settle(exchange)
      this.#owner.settled()
    }
  }

  async #answer(
    exchange: ExchangeId,
    wanted: UpgradeCandidate,
    request: IncomingUpgrade,
    answer: Acceptance | Response,
  ): Promise<void> {
    if (isResponse(answer)) {
      const response = await readResponse(answer, false)
      if (!('rest' in response)) {
        if (this.#settle(exchange)) this.#refuseByHandler(exchange, response)
      } else if (this.#pending.has(exchange)) {
        this.#countRefusalByHandler()
        try {
          await this.#owner.stream(exchange, response)
        } finally {
          this.#settle(exchange)
        }
      } else {
        response.rest.cancel(request.signal.reason)
      }
      return
    }
    this.#settle(exchange)
    this.#open(exchange, wanted, answer)
  }

  #open(
    exchange: ExchangeId,
    { route, remoteAddress, group, compression }: UpgradeCandidate,
    { data, protocol, headers }: Acceptance,
  ): void {
    const { engine, sockets, counters, isClosing } = this.#owner
    if (engine === undefined) return
    // It may have begun since the request came, by the user's own code too.
    if (isClosing) {
      this.#refuse(exchange, plainResponse(503))
      return
    }
    // An attempt to listen that failed has left no sockets, but another engine.
    if (route.home?.engine !== engine) {
      route.home = { owner: this.#owner, engine, handlers: route.handlers, route: route.settings }
    }
    const socket = new ServerSocket(route.home, { data, protocol, remoteAddress })
    const connection = engine.accept(exchange, route.index, protocol, headers, compression, socket)
    if (connection === 0) return
    counters.connectionsAccepted += 1
    sockets.add(socket)
    this.#addresses?.enter(socket, group)
    for (const queue of route.dues) queue.add(socket)
    socket.opened(connection)
  }

  #refuse(exchange: ExchangeId, response: EngineResponse): void {
    this.#owner.counters.upgradesRefused += 1
    this.#owner.engine?.respond(exchange, response)
  }

  #refuseByHandler(exchange: ExchangeId, response: EngineResponse): void {
    this.#countRefusalByHandler()
    this.#owner.engine?.respond(exchange, response)
  }

  #countRefusalByHandler(): void {
    this.#owner.counters.upgradesRefusedByHandler += 1
    this.#owner.counters.upgradesRefused += 1
  }
}

/** Nobody will read it: whatever feeds its body may stop. */
function discard({ body }: Response): void {
  // Its body may be in use elsewhere; then it is not ours to end.
  body?.cancel().catch(() => {})
}
