/**
 * `App` and `SSLApp` of uWebSockets.js.
 *
 * Long because each member of an app is here, in a few lines each; routes, requests, responses, sockets and
 * limits are files of their own.
 */
import type { Buffer } from 'node:buffer'
import { createServer } from 'node:net'
import process from 'node:process'
import { setTimeout as pause } from 'node:timers/promises'
import {
  type Accept,
  ClosedError,
  type ListenOptions as EngineListenOptions,
  type Handshake,
  ListenError,
  type ListenResult,
  NotSupportedError,
  type ServerRequest,
  type Socket,
  type TlsOptions,
  WebSocketServer,
} from '../../index.js'
import { NODE_CAN_REUSE_PORT } from '../../util/reuse-port.js'
import type { us_socket_context_t, WebSocketBehavior } from './behavior.js'
import { type Facts, methodOf } from './facts.js'
import { limitsOf } from './limits.js'
import { HttpRequest } from './request.js'
import { HttpResponse, type Outcome, responseControl } from './response.js'
import { PRIORITY, Router } from './router.js'
import { sendOptionsOf, socketControl, WebSocket } from './socket.js'
import { arrayBufferOf, type RecognizedString, textOf, toArrayBuffer } from './strings.js'
import { callHandler, throwLater } from './uncaught.js'

/** As uWebSockets.js has it; `engine` and `proxyProtocol` are those of this package's ServerOptions. */
export interface AppOptions {
  key_file_name?: RecognizedString
  cert_file_name?: RecognizedString
  /** Clients must then have a certificate that one of these authorities has signed. */
  ca_file_name?: RecognizedString
  passphrase?: RecognizedString
  /** Throws NotSupportedError. */
  dh_params_file_name?: RecognizedString
  ssl_ciphers?: RecognizedString
  /** No effect. */
  ssl_prefer_low_memory_usage?: boolean
  engine?: 'native' | 'portable'
  proxyProtocol?: boolean
}

export type HttpHandler = (response: HttpResponse, request: HttpRequest) => void | Promise<void>

/** As uWebSockets.js: a port is shared with other servers unless it is asked for alone. */
export const LIBUS_LISTEN_DEFAULT = 0
export const LIBUS_LISTEN_EXCLUSIVE_PORT = 1

/** Where an app listens, until `us_listen_socket_close`. As in uWebSockets.js, its type has no members. */
// biome-ignore lint/suspicious/noEmptyInterface: uWebSockets.js' own type has no members
export interface us_listen_socket {}

export class ListenSocket implements us_listen_socket {
  readonly #app: WebSocketServer
  readonly #where: ListenResult
  #isOpen = true

  constructor(app: WebSocketServer, where: ListenResult) {
    this.#app = app
    this.#where = where
  }

  static isOpen(socket: ListenSocket): boolean {
    return socket.#isOpen
  }

  static port(socket: us_listen_socket): number {
    return ListenSocket.#of(socket).#where.port ?? -1
  }

  static close(socket: us_listen_socket): void {
    const own = ListenSocket.#of(socket)
    if (own.#isOpen) own.#app.stopListening()
    own.#isOpen = false
  }

  static #of(socket: us_listen_socket): ListenSocket {
    if (#isOpen in socket) return socket
    throw new TypeError('a listen socket is what the callback of `listen` gets')
  }
}

/** Stops accepting connections; open ones go on. */
export function us_listen_socket_close(listenSocket: us_listen_socket): void {
  ListenSocket.close(listenSocket)
}

/** -1 for a unix socket. */
export function us_socket_local_port(listenSocket: us_listen_socket): number {
  return ListenSocket.port(listenSocket)
}

export type ListenCallback = (listenSocket: us_listen_socket | false) => void | Promise<void>

/** A handler as the router has it. */
interface Route {
  readonly pattern: string
  readonly handler: HttpHandler
  /** The path under which the engine has the route's limits; undefined of an HTTP route. */
  readonly enginePath: string | undefined
}

/** What a connection carries. */
interface Carried {
  readonly userData: object | undefined
  socket: WebSocket<unknown> | undefined
}

const CONTEXT: us_socket_context_t = Object.freeze({})
const EVERYTHING = '/*'
/** What the engine can count to: uWebSockets.js has no limit. */
const MAX_BODY = 2 ** 31 - 1
/**
 * How often a port that is to be shared is tried again, and after how many milliseconds: another thread or
 * process may just be looking whether it is free (`freePort`), which takes far less than a millisecond.
 */
const SHARED_RETRIES = 5
const RETRY_AFTER = 20

/** As uWebSockets.js has it: docs/compatibility.md lists the members. */
export class TemplatedApp {
  readonly #server: WebSocketServer
  readonly #router = new Router<Route>()
  readonly #enginePaths = new Set<string>()
  #isStarted = false
  /** Where it listens; `soon` until that is known. */
  #listenSocket: ListenSocket | 'soon' | undefined
  /** Whether it listens on IPv6, and thus on IPv4 through it. */
  #isMapped = false
  readonly #certificates: TlsOptions[] | undefined
  /** Whose handlers have returned. */
  readonly #unanswered = new Set<HttpResponse>()

  constructor({ engine, proxyProtocol }: AppOptions, certificate: TlsOptions | undefined) {
    this.#server = new WebSocketServer({
      health: false,
      maxRequestBodySize: MAX_BODY,
      ...(engine !== undefined && { engine }),
      ...(proxyProtocol !== undefined && { proxyProtocol }),
      ...(certificate !== undefined && { tls: certificate }),
    })
    if (certificate === undefined) return
    this.#certificates = [certificate]
    // Reads the files: what is wrong with them is thrown here rather than when the app listens.
    this.#server.reloadTls(certificate)
  }

  get(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('GET', pattern, handler)
  }

  post(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('POST', pattern, handler)
  }

  options(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('OPTIONS', pattern, handler)
  }

  del(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('DELETE', pattern, handler)
  }

  patch(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('PATCH', pattern, handler)
  }

  put(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('PUT', pattern, handler)
  }

  head(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('HEAD', pattern, handler)
  }

  trace(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add('TRACE', pattern, handler)
  }

  /** Throws NotSupportedError. */
  connect(): never {
    throw new NotSupportedError('App.connect', 'no engine serves CONNECT, use an HTTP proxy')
  }

  any(pattern: RecognizedString, handler: HttpHandler): this {
    return this.#add(undefined, pattern, handler)
  }

  /** Before the app listens, since an engine's routes are fixed then. */
  ws<UserData>(pattern: RecognizedString, behavior: WebSocketBehavior<UserData>): this {
    const path = textOf(pattern)
    const enginePath = toEnginePath(path)
    if (!this.#enginePaths.has(enginePath)) {
      // The engine gives a route's handlers the sockets of that route alone.
      this.#addEngineRoute(enginePath, behavior as WebSocketBehavior<unknown>)
    }
    const handler: HttpHandler = (response, request) => {
      if (behavior.upgrade === undefined)
        response.upgrade(undefined, '', request.getHeader('sec-websocket-protocol'), '', CONTEXT)
      else return behavior.upgrade(response, request, CONTEXT)
    }
    this.#router.add(path, 'GET', PRIORITY.UPGRADE, { pattern: path, handler, enginePath })
    return this
  }

  /** To every subscriber. False when there is none. */
  publish(topic: RecognizedString, message: RecognizedString, isBinary = false, compress = false): boolean {
    return this.#server.publish(textOf(topic), message, sendOptionsOf(isBinary, compress))
  }

  numSubscribers(topic: RecognizedString): number {
    return this.#server.subscribers(textOf(topic))
  }

  /**
   * Listens on a port, or a host and a port. Calls back with false when the address cannot be listened on.
   * Without a host, it calls back before it returns, unless another server has the port: clients of Node's
   * can be made at once, others from the end of the turn on. It calls back later otherwise, and then clients
   * can come at once. An app listens in one place at a time: NotSupportedError while it listens elsewhere.
   */
  listen(host: RecognizedString, port: number, callback: ListenCallback): this
  listen(port: number, callback: ListenCallback): this
  listen(port: number, options: number, callback: ListenCallback): this
  listen(host: RecognizedString, port: number, options: number, callback: ListenCallback): this
  listen(...given: readonly (RecognizedString | number | ListenCallback)[]): this {
    this.#checkNotListening('App.listen')
    const callback = given.find((value): value is ListenCallback => typeof value === 'function')
    const [port = 0, options = LIBUS_LISTEN_DEFAULT] = given.filter((value) => typeof value === 'number')
    const [first] = given
    const host = typeof first === 'number' || typeof first === 'function' || first === undefined ? undefined : textOf(first)
    const canShare = this.#server.engine === 'native' || NODE_CAN_REUSE_PORT
    const isShared = port !== 0 && canShare && (options & LIBUS_LISTEN_EXCLUSIVE_PORT) === 0
    const place = host === undefined ? freePort(port) : undefined
    if (place === undefined) {
      this.#listenSocket = 'soon'
      this.#listenSoon({ port, ...(host !== undefined && { host }), reusePort: isShared }, callback)
    } else {
      const listenSocket = new ListenSocket(this.#server, place)
      this.#listenSocket = listenSocket
      // Before the callback: what connects in there does so after this.
      this.#listenSoon({ ...place, reusePort: isShared }, undefined, listenSocket)
      callHandler(callback, listenSocket)
    }
    return this
  }

  /** As `listen`, on a unix socket. */
  listen_unix(callback: ListenCallback, path: RecognizedString): this {
    this.#checkNotListening('App.listen_unix')
    this.#listenSocket = 'soon'
    this.#listenSoon({ unix: textOf(path) }, callback)
    return this
  }

  /** A certificate for clients that ask for this name. No effect on an App without TLS. */
  addServerName(hostname: string, options: AppOptions): this {
    this.#changeCertificates((certificates) => {
      certificates.push({ ...tlsOptionsOf(options), serverName: hostname })
    })
    return this
  }

  removeServerName(hostname: string): this {
    this.#changeCertificates((certificates) => {
      const at = certificates.findIndex(({ serverName }) => serverName === hostname)
      if (at !== -1) certificates.splice(at, 1)
    })
    return this
  }

  /**
   * The callback is never called: clients that ask for a name without a certificate get the first one. On an
   * SSLApp a process warning says so, and what to do.
   */
  missingServerName(_callback: (hostname: string) => void): this {
    if (this.#certificates !== undefined) {
      process.emitWarning('App.missingServerName has no effect: call addServerName ahead, at any time')
    }
    return this
  }

  /** Throws NotSupportedError. */
  domain(): never {
    throw new NotSupportedError('App.domain', "compare the request's `host` header in the handler")
  }

  /** Throws NotSupportedError. */
  filter(): never {
    throw new NotSupportedError('App.filter', 'count connections in the handlers, or use `metrics` of this package')
  }

  /** Throws NotSupportedError. */
  getDescriptor(): never {
    throw sharedPort('App.getDescriptor')
  }

  /** Throws NotSupportedError. */
  addChildAppDescriptor(): never {
    throw sharedPort('App.addChildAppDescriptor')
  }

  /** Throws NotSupportedError. */
  removeChildAppDescriptor(): never {
    throw sharedPort('App.removeChildAppDescriptor')
  }

  /**
   * Stops listening, and cuts every connection; handlers of `onAborted` and `close` are called before this
   * returns. The app cannot listen again.
   */
  close(): this {
    this.#isStarted = true
    for (const response of this.#unanswered) responseControl.cut(response)
    for (const connection of this.#server.sockets()) {
      // No route of another kind is on the server.
      const { socket } = connection.data as Carried
      if (socket === undefined || !socketControl.cut(socket)) connection.terminate()
    }
    void this.#server.close({ timeout: 0 })
    return this
  }

  #add(method: string | undefined, pattern: RecognizedString, handler: HttpHandler): this {
    const path = textOf(pattern)
    const priority = method === undefined ? PRIORITY.ANY : PRIORITY.METHOD
    this.#router.add(path, method, priority, { pattern: path, handler, enginePath: undefined })
    return this
  }

  #checkNotListening(member: string): void {
    const listenSocket = this.#listenSocket
    if (listenSocket === undefined || (listenSocket !== 'soon' && !ListenSocket.isOpen(listenSocket))) return
    throw new NotSupportedError(`${member} in a second place`, 'make an app for each, or use `listen` of this package')
  }

  #addEngineRoute(path: string, behavior: WebSocketBehavior<unknown> | undefined): void {
    this.#server.ws<Carried>(path, {
      handshake: (handshake) => this.#upgrade(handshake, path),
      ...(behavior !== undefined && handlersOf(behavior, () => this.#isMapped)),
    })
    this.#enginePaths.add(path)
  }

  /**
   * Programs may add routes after the call, as long as they do it at once. `nextTick` is what Node's own
   * `connect` waits for: a client that is made after this call finds the port taken.
   */
  #listenSoon(options: EngineListenOptions, callback: ListenCallback | undefined, promised?: ListenSocket): void {
    process.nextTick(() => void this.#listen(options, callback, promised))
  }

  /** `promised` has been given to the program already. */
  async #listen(options: EngineListenOptions, callback: ListenCallback | undefined, promised?: ListenSocket): Promise<void> {
    if (!this.#isStarted) {
      this.#isStarted = true
      this.#server.any(EVERYTHING, (request) => this.#serve(request))
      // What no route of `ws` has goes to the routes of HTTP, as in uWebSockets.js.
      if (!this.#enginePaths.has(EVERYTHING)) this.#addEngineRoute(EVERYTHING, undefined)
    }
    if (promised !== undefined && !ListenSocket.isOpen(promised)) return
    let listenSocket: ListenSocket | false = false
    try {
      const place = await this.#bind(options, promised)
      if (place === undefined) return
      this.#isMapped = place.host?.includes(':') ?? false
      listenSocket = promised ?? new ListenSocket(this.#server, place)
      this.#listenSocket = listenSocket
    } catch (error) {
      this.#listenSocket = undefined
      const isTold = error instanceof ClosedError || (error instanceof ListenError && promised === undefined)
      if (!isTold) {
        callHandler(() => {
          throw error
        })
        return
      }
    }
    callHandler(callback, listenSocket)
  }

  /** What is promised can be had, at least alone. Undefined when that is closed meanwhile. */
  async #bind(options: EngineListenOptions, promised: ListenSocket | undefined): Promise<ListenResult | undefined> {
    const isShared = 'reusePort' in options && options.reusePort === true
    for (let retries = isShared ? SHARED_RETRIES : 0; ; retries -= 1) {
      try {
        return await this.#server.listen(options)
      } catch (error) {
        const isTaken = error instanceof ListenError && error.code === 'EADDRINUSE'
        if (isTaken && retries > 0) {
          await pause(RETRY_AFTER)
          if (promised !== undefined && !ListenSocket.isOpen(promised)) return undefined
          continue
        }
        // A port that a connection has had shortly before cannot be shared.
        if (!isTaken || !isShared || promised === undefined) throw error
        return await this.#server.listen({ ...options, reusePort: false } as EngineListenOptions)
      }
    }
  }

  #serve(request: ServerRequest): Response | Promise<Response> {
    return this.#route(request, undefined) as Response | Promise<Response>
  }

  #upgrade(handshake: Handshake, enginePath: string): Accept<Carried> | Response | Promise<Accept<Carried> | Response> {
    const outcome = this.#route(handshake, enginePath)
    return outcome instanceof Promise ? outcome.then(carry) : carry(outcome)
  }

  /** Calls the handlers, until one of them has not yielded. */
  #route(request: Facts, enginePath: string | undefined): Outcome | Promise<Outcome> {
    let outcome: Outcome | undefined
    let resolve = (given: Outcome) => {
      outcome ??= given
    }
    const settle = (given: Outcome) => resolve(given)
    let response: HttpResponse | undefined
    const isTaken = this.#router.route(methodOf(request), request.path, (route, parameters) => {
      if (route.enginePath !== undefined && enginePath === undefined) return false
      if (route.enginePath !== undefined && route.enginePath !== enginePath) {
        throw new NotSupportedError('setYield of one route of `ws` to another', 'decide in one upgrade handler')
      }
      response = new HttpResponse(request, route.enginePath !== undefined, this.#isMapped, settle)
      const asked = new HttpRequest(request, parameters, route.pattern)
      try {
        route.handler(response, asked)
      } catch (error) {
        responseControl.failed(response)
        throwLater(error)
      }
      return !HttpRequest.hasYielded(asked)
    })
    response ??= new HttpResponse(request, false, this.#isMapped, settle)
    // uWebSockets.js cuts the connection.
    if (!isTaken) response.writeStatus('404 Not Found').end('Not Found\n')
    responseControl.handled(response)
    if (outcome !== undefined) return outcome
    const unanswered = response
    this.#unanswered.add(unanswered)
    return new Promise((answer) => {
      resolve = (given) => {
        this.#unanswered.delete(unanswered)
        answer(given)
      }
    })
  }

  /** Without TLS no effect, as in uWebSockets.js. */
  #changeCertificates(change: (certificates: TlsOptions[]) => void): void {
    if (this.#certificates === undefined) return
    const changed = [...this.#certificates]
    change(changed)
    this.#server.reloadTls(changed)
    this.#certificates.splice(0, this.#certificates.length, ...changed)
  }
}

/** Makes an app without TLS: the options of TLS have no effect, as in uWebSockets.js. */
export function App(options: AppOptions = {}): TemplatedApp {
  return new TemplatedApp(options, undefined)
}

/** Makes an app with TLS. Throws TlsError, OptionError or NotSupportedError. */
export function SSLApp(options: AppOptions): TemplatedApp {
  return new TemplatedApp(options, tlsOptionsOf(options))
}

function tlsOptionsOf(options: AppOptions): TlsOptions {
  const { key_file_name, cert_file_name, ca_file_name, passphrase, ssl_ciphers, dh_params_file_name } = options
  if (dh_params_file_name !== undefined) {
    throw new NotSupportedError('the option dh_params_file_name', 'leave it out: keys are exchanged on elliptic curves')
  }
  return {
    ...(key_file_name !== undefined && { keyFile: textOf(key_file_name) }),
    ...(cert_file_name !== undefined && { certFile: textOf(cert_file_name) }),
    ...(ca_file_name !== undefined && { caFile: textOf(ca_file_name), requestCert: true }),
    ...(passphrase !== undefined && { passphrase: textOf(passphrase) }),
    ...(ssl_ciphers !== undefined && { ciphers: textOf(ssl_ciphers) }),
  }
}

/** Parameters have their places for names, which must differ; nothing follows a `*`. */
function toEnginePath(pattern: string): string {
  const segments = pattern.split('/')
  const end = segments.findIndex((segment) => segment.startsWith('*'))
  const kept = end === -1 ? segments : [...segments.slice(0, end), '*']
  return kept.map((segment, index) => (segment.startsWith(':') ? `:p${index}` : segment)).join('/')
}

function carry(outcome: Outcome): Accept<Carried> | Response {
  if (outcome instanceof Response) return outcome
  // Its `data` is what HttpResponse's `upgrade` was given; what is no object has no members to carry.
  const { data } = outcome
  const userData = typeof data === 'object' && data !== null ? data : undefined
  return { ...outcome, data: { userData, socket: undefined } }
}

/**
 * A port that can be listened on, found before this returns; `undefined` where that cannot be told now. The
 * engine takes the port at the end of this turn.
 */
function freePort(port: number): { port: number; host: string } | undefined {
  // Without a host, and beside any cluster, Node binds at once.
  const probe = createServer().on('error', () => {})
  probe.listen({ port, exclusive: true })
  const address = probe.address()
  probe.close(() => {})
  return typeof address === 'object' && address !== null ? { port: address.port, host: address.address } : undefined
}

function handlersOf(behavior: WebSocketBehavior<unknown>, isMapped: () => boolean) {
  const { message, drain, ping, pong, dropped, subscription } = behavior
  const tellEnd = (socket: WebSocket<unknown>, code: number, reason: string) =>
    callHandler(behavior.close, socket, code, toArrayBuffer(reason))
  const limits = limitsOf(behavior)
  return {
    ...limits,
    text: 'buffer' as const,
    lendMessages: 'detach' as const,
    open(connection: Socket<Carried>) {
      const { userData } = connection.data
      const own = { isMapped: isMapped(), maxBackpressure: limits.maxBackpressure }
      const socket: WebSocket<unknown> = new WebSocket(connection, own, userData, (code, reason) => tellEnd(socket, code, reason))
      connection.data.socket = socket
      callHandler(behavior.open, socket)
    },
    ...(message && {
      message({ data: { socket } }: Socket<Carried>, bytes: string | Buffer, isBinary: boolean) {
        // Text comes as bytes on this route.
        if (socket !== undefined) socketControl.message(message, socket, bytes as Buffer, isBinary)
      },
    }),
    close({ data: { socket } }: Socket<Carried>, code: number, reason: string) {
      if (socket !== undefined && socketControl.ended(socket)) tellEnd(socket, code, reason)
    },
    ...(drain && { drain: ({ data }: Socket<Carried>) => data.socket && callHandler(drain, data.socket) }),
    ...(ping && {
      ping: ({ data }: Socket<Carried>, bytes: Buffer) => data.socket && callHandler(ping, data.socket, arrayBufferOf(bytes)),
    }),
    ...(pong && {
      pong: ({ data }: Socket<Carried>, bytes: Buffer) => data.socket && callHandler(pong, data.socket, arrayBufferOf(bytes)),
    }),
    ...(dropped && {
      dropped: ({ data }: Socket<Carried>, lost: string | Buffer, isBinary: boolean) =>
        data.socket &&
        callHandler(dropped, data.socket, typeof lost === 'string' ? toArrayBuffer(lost) : arrayBufferOf(lost), isBinary),
    }),
    ...(subscription && {
      subscription: ({ data }: Socket<Carried>, topic: string, newCount: number, oldCount: number) =>
        data.socket && callHandler(subscription, data.socket, toArrayBuffer(topic), newCount, oldCount),
    }),
  }
}

function sharedPort(member: string): NotSupportedError {
  return new NotSupportedError(member, 'let each thread listen on the same port, which spreads connections over them')
}
