/**
 * `WebSocketServer` of the `ws` package.
 *
 * Long because each member and event of that class is here, for servers of Node's and for ports with TLS, on
 * which the engine listens; handshakes, options, requests and sockets are files of their own.
 */
import type { Buffer } from 'node:buffer'
import { EventEmitter } from 'node:events'
import { createServer, type Server as HttpServer, type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import { Socket as NetSocket } from 'node:net'
import process from 'node:process'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import {
  type Accept,
  ClosedError,
  WebSocketServer as EngineServer,
  type Socket as EngineSocket,
  NotSupportedError,
  type TcpListenResult,
  type UpgradeRequest,
} from '../../index.js'
import { type Taken, type TakenHandlers, UpgradeSocket } from '../http/upgrade.js'
import { warn } from '../warning.js'
import { bridge } from './bridge.js'
import {
  abortHandshake,
  attach,
  destroyAfterError,
  extensionsFaultOf,
  faultOf,
  INVALID_PROTOCOL,
  protocolFor,
  protocolsOf,
  type Refusal,
  responseLines,
  understood,
  verify,
} from './handshake.js'
import { checkServerOptions, compressionOf, DEFAULTS, MAX_PAYLOAD, notOnNative, type ServerOptions } from './options.js'
import { incomingMessageOf } from './request.js'
import { type Added, addedFields, refusal } from './responses.js'
import { socketEvents, socketFor, WebSocket } from './socket.js'

/** What the engine can count to. `ws` has no limit for what waits for a client. */
const NO_LIMIT = 2 ** 31 - 1
/** Milliseconds for HTTP connections that are left after `close`, or when the last socket has gone. */
const PATIENCE = 1000

/** In the words of `ws`. */
const CALLED_TWICE = 'server.handleUpgrade() was called more than once with the same socket, possibly due to a misconfiguration'

/** The sockets of `node:http` that servers of this face have taken over. */
const handedOver = new WeakSet<Duplex>()

interface Events<S extends WebSocket> {
  listening: []
  connection: [socket: S, request: IncomingMessage]
  headers: [headers: string[], request: IncomingMessage]
  close: []
  error: [error: Error]
  wsClientError: [error: Error, socket: Duplex, request: IncomingMessage]
}

/** The numbers of `ws`. */
const STATES = { running: 0, closing: 1, closed: 2 } as const

/** What a connection carries. */
interface Carried extends Taken {
  readonly request: IncomingMessage
  socket: WebSocket | undefined
  /** What `handleUpgrade` was given; undefined on the server's own port. */
  readonly callback: ((client: WebSocket, request: IncomingMessage) => void) | undefined
}

/** Those of TakenHandlers, for connections of this face. */
type ConnectionHandlers = {
  readonly [K in keyof TakenHandlers]: TakenHandlers[K] extends (socket: EngineSocket<Taken>, ...rest: infer Rest) => unknown
    ? (socket: EngineSocket<Carried>, ...rest: Rest) => unknown
    : never
}

/** As `ws` has it: docs/compatibility.md lists the members. */
export class WebSocketServer<T extends typeof WebSocket = typeof WebSocket> extends EventEmitter<Events<InstanceType<T>>> {
  /** With defaults. `@types/ws` does not know servers of the face of `node:http`. */
  readonly options: Omit<ServerOptions<T>, 'server'> & { readonly server?: HttpServer | HttpsServer | undefined }
  /** The option, or empty. */
  readonly path: string
  /** The open sockets, unless the option `clientTracking` is false. */
  readonly clients!: Set<InstanceType<T>>
  /**
   * The server of `node:http` that listens, or that was given; null after `close`. Undefined with `noServer`
   * and with `tls`. As in `ws`, which documents it nowhere, as `_state`.
   */
  _server: NonNullable<ServerOptions['server']> | null | undefined
  /** Of connections of every server. */
  readonly #handlers: ConnectionHandlers = {
    open: (socket) => this.#opened(socket),
    // Text comes as bytes.
    message: ({ data }, message, isBinary) => data.socket && socketEvents.message(data.socket, message as Buffer, isBinary),
    ping: ({ data }, bytes) => data.socket && socketEvents.ping(data.socket, bytes),
    pong: ({ data }, bytes) => data.socket && socketEvents.pong(data.socket, bytes),
    drain: ({ data }) => data.socket && socketEvents.drained(data.socket),
    dropped: ({ data }) => data.socket && socketEvents.dropped(data.socket),
    close: (socket, code, reason, wasClean) => this.#ended(socket, code, reason, wasClean),
  }
  readonly #server: EngineServer
  /** Milliseconds; undefined where the program has not asked for a time. */
  readonly #closeTimeout: number | undefined
  /** For connections of `node:https`, where `#server` is native. From the first of them on. */
  #secureServer: EngineServer | undefined
  /** Sockets that have asked for an upgrade, until they are handed over or gone. */
  readonly #undecided = new Set<Duplex>()
  #open = 0
  /** With TLS. */
  #address: TcpListenResult | undefined
  #state: 'running' | 'closing' | 'closed' = 'running'
  #removeListeners: (() => void) | undefined
  /** Whether the server of `node:http` that this one has made has not closed yet. */
  #isHttpOpen = false
  #hasWarned = false

  /** Throws NotSupportedError for options that this face cannot serve, TypeError where there is no port. */
  constructor(options: ServerOptions<T> = {}, callback?: () => void) {
    super()
    checkServerOptions(options, WebSocket)
    this.options = { ...DEFAULTS, WebSocket, ...options } as typeof this.options
    this.#closeTimeout = options.closeTimeout
    this.path = options.path ?? ''
    if (this.completeUpgrade !== WebSocketServer.prototype.completeUpgrade) throw notCompleted()
    if (options.clientTracking !== false) this.clients = new Set()
    this.#server = this.#makeServer(options.engine)
    if (options.server) {
      this._server = options.server
      this.#removeListeners = this.#attach(options.server)
    } else if (!options.noServer) {
      if (callback !== undefined) this.on('listening', callback)
      if (options.tls === undefined) this.#listenOnHttp()
      else void this.#listenOnTls()
    }
  }

  /** 0 while it runs, 1 from `close` on, and 2 when it has closed. */
  get _state(): 0 | 1 | 2 {
    return STATES[this.#state]
  }

  /**
   * Throws NotSupportedError: `ws` has it for itself. A class that has its own is told when it is made, since
   * nobody would call that one.
   */
  completeUpgrade(): never {
    throw notCompleted()
  }

  /** Where the server listens; null before `listening` and after `close`. Throws with `noServer`. */
  address(): { address: string; family: string; port: number } | string | null {
    if (this.options.noServer) throw new Error('The server is operating in "noServer" mode')
    if (this._server !== undefined) return this._server?.address() ?? null
    if (this.#address === undefined) return null
    const { host, port } = this.#address
    return { address: host, family: host.includes(':') ? 'IPv6' : 'IPv4', port }
  }

  /**
   * Stops accepting. `close` is emitted, and `callback` called, when all sockets have ended: close them, or
   * `terminate` them. Once closed, it calls back with an error. A server that was given goes on.
   */
  close(callback?: (error?: Error) => void): void {
    if (this.#state === 'closed') {
      if (callback !== undefined) this.once('close', () => callback(new Error('The server is not running')))
      process.nextTick(() => this.emit('close'))
      return
    }
    if (callback !== undefined) this.once('close', callback)
    if (this.#state === 'closing') return
    this.#state = 'closing'
    this.#address = undefined
    this.#removeListeners?.()
    this.#removeListeners = undefined
    const http = this.#isHttpOpen ? this._server : undefined
    if (this._server !== undefined) this._server = null
    if (http) this.#closeHttp(http)
    this.#server.stopListening()
    // As `ws`, which does not know who is left.
    if (this.#open > 0 && http === undefined && this.options.port == null && this.clients === undefined) {
      process.nextTick(() => this.#closed())
    } else {
      this.#finishOnceEmpty()
    }
  }

  /** Whether the server takes the request: by the option `path`. To be overridden. */
  shouldHandle(request: IncomingMessage): boolean | Promise<boolean> {
    const { path } = this.options
    return !path || request.url?.split('?', 1)[0] === path
  }

  /**
   * Takes over a connection of `node:http`, in a listener for its `upgrade` event. Calls back when the
   * handshake is done, which, other than in `ws`, is after this has returned. Throws when it is called twice
   * for a socket, and AdoptError where the connection cannot be taken over.
   */
  handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    callback: (client: InstanceType<T>, request: IncomingMessage) => void,
  ): void {
    socket.on('error', destroyAfterError)
    this.#undecided.add(socket)
    socket.once('close', () => this.#undecided.delete(socket))
    const fault = faultOf(request)
    if (fault !== undefined) {
      this.#refuseFault(request, socket, fault)
      return
    }
    const go = (handles: boolean) => {
      const protocols = protocolsOf(request)
      const extensionsFault = extensionsFaultOf(request, this.options.perMessageDeflate)
      if (!handles) abortHandshake(socket, { code: 400 })
      else if (protocols === undefined) this.#refuseFault(request, socket, INVALID_PROTOCOL)
      else if (extensionsFault !== undefined) this.#refuseFault(request, socket, extensionsFault)
      else
        verify(this.options, request, (refused) => {
          if (refused === undefined) this.#adopt(request, socket, head, protocols, callback)
          else abortHandshake(socket, refused)
        })
    }
    const handles = this.shouldHandle(request)
    if (typeof handles !== 'object') go(handles)
    else
      handles.then(go).catch((error) => {
        const refused = this.#undecidable(error)
        if (!handedOver.has(socket)) abortHandshake(socket, refused)
      })
  }

  get #limits() {
    const { maxPayload = MAX_PAYLOAD, perMessageDeflate = false } = this.options
    return {
      maxPayloadLength: maxPayload > 0 ? Math.min(maxPayload, NO_LIMIT) : NO_LIMIT,
      compression: compressionOf(perMessageDeflate),
    }
  }

  #makeServer(engine: ServerOptions['engine']): EngineServer {
    const { tls, autoPong = true } = this.options
    const server = new EngineServer({
      health: false,
      onError: (error) => this.#report(error),
      ...(engine !== undefined && { engine }),
      ...(tls !== undefined && { tls }),
    })
    server.ws<Carried>('/*', {
      upgrade: (request) => this.#upgrade(request),
      ...this.#handlers,
      text: 'buffer',
      ...this.#limits,
      maxBackpressure: NO_LIMIT,
      idleTimeout: 0,
      sendPings: false,
      autoPong: Boolean(autoPong),
    })
    server.any('/*', () => new Response(STATUS_CODES[426] ?? null, { status: 426, headers: { upgrade: 'websocket' } }))
    return server
  }

  #attach(server: NonNullable<ServerOptions['server']>): () => void {
    return attach(server, {
      listening: () => this.emit('listening'),
      error: (error) => (this.#isHttpOpen ? this.#report(error) : this.emit('error', error)),
      upgrade: (request, socket, head) =>
        this.handleUpgrade(request, socket, head, (client) => this.emit('connection', client, request)),
    })
  }

  /** As `ws` does, so that handshakes are judged and refused as there: the engine gets what is accepted. */
  #listenOnHttp(): void {
    const { host, port, backlog } = this.options
    const server = createServer((_request, response) => {
      const body = STATUS_CODES[426] ?? ''
      response.writeHead(426, { 'Content-Length': body.length, 'Content-Type': 'text/plain' }).end(body)
    })
    this._server = server
    this.#isHttpOpen = true
    this.#removeListeners = this.#attach(server)
    // In this form of the call a port may also be the path of a unix socket, as programs have it in PORT.
    server.listen(port, host, backlog)
  }

  async #listenOnTls(): Promise<void> {
    const { host, port } = this.options
    try {
      this.#address = await this.#server.listen({ ...(host && { host }), ...(port !== undefined && { port }) })
      // A listener that throws is an uncaught exception, rather than a rejection.
      process.nextTick(() => this.emit('listening'))
    } catch (error) {
      // `close` came before.
      if (!(error instanceof ClosedError)) this.#fail(error)
    }
  }

  /** Clients can exhaust the file descriptors, and must not end the process by that: `ws` is silent there. */
  #report(error: Error): void {
    if ('code' in error && error.code === 'EMFILE') process.emitWarning(error)
    else this.#fail(error)
  }

  #fail(error: unknown): void {
    // Without a listener it is an uncaught exception, rather than a rejection.
    process.nextTick(() => this.emit('error', error instanceof Error ? error : new Error(String(error))))
  }

  /** What a client has done wrong goes to listeners for `wsClientError`, where there are any. */
  #refuseFault(request: IncomingMessage, socket: Duplex, fault: Refusal & { readonly message: string }): void {
    if (!this.emit('wsClientError', new Error(fault.message), socket, request)) abortHandshake(socket, fault)
  }

  #adopt(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    protocols: ReadonlySet<string>,
    callback: (client: InstanceType<T>, request: IncomingMessage) => void,
  ): void {
    if (handedOver.has(socket)) throw new Error(CALLED_TWICE)
    if (!socket.readable || !socket.writable) {
      socket.destroy()
      return
    }
    if (this.#state !== 'running') {
      abortHandshake(socket, { code: 503 })
      return
    }
    // This server's sockets are of the class T, as `#opened` makes them.
    const acceptance = this.#acceptanceOf(request, protocols, callback as Carried['callback'])
    if ('code' in acceptance) {
      abortHandshake(socket, acceptance)
      return
    }
    this.#undecided.delete(socket)
    if (socket instanceof UpgradeSocket) {
      handedOver.add(socket)
      const { maxPayloadLength, compression } = this.#limits
      socket.accept({ ...acceptance, maxPayloadLength, compression })
      return
    }
    const asked = understood(request, this.options.perMessageDeflate)
    if (socket instanceof NetSocket) {
      this.#serverFor(socket).adopt(asked, socket, head, acceptance)
      handedOver.add(socket)
      socket.off('error', destroyAfterError)
      return
    }
    handedOver.add(socket)
    bridge(socket).then(
      (near) => this.#server.adopt(asked, near, head, acceptance),
      (error) => {
        socket.destroy()
        this.#fail(error)
      },
    )
  }

  #serverFor(socket: Duplex): EngineServer {
    if (!(socket instanceof TLSSocket) || this.#server.engine === 'portable') return this.#server
    if (this.options.engine === 'native') throw notOnNative()
    this.#secureServer ??= this.#makeServer('portable')
    return this.#secureServer
  }

  async #upgrade(upgrade: UpgradeRequest): Promise<Accept<Carried> | Response> {
    const request = incomingMessageOf(upgrade)
    try {
      if (!(await this.shouldHandle(request))) return refusal({ code: 400 })
    } catch (error) {
      return refusal(this.#undecidable(error))
    }
    if (this.#state !== 'running') return refusal({ code: 503 })
    const fault = extensionsFaultOf(request, this.options.perMessageDeflate)
    if (fault !== undefined) return refusal(fault)
    const refused = await new Promise<Refusal | undefined>((resolve) => verify(this.options, request, resolve))
    if (refused !== undefined) return refusal(refused)
    const acceptance = this.#acceptanceOf(request, new Set(upgrade.protocols), undefined)
    return 'code' in acceptance ? refusal(acceptance) : acceptance
  }

  /** What the 101 response says, as the program would have it; where that cannot be sent, what refuses. */
  #acceptanceOf(
    request: IncomingMessage,
    offered: ReadonlySet<string>,
    callback: Carried['callback'],
  ): Accept<Carried> | Refusal {
    const chosen = protocolFor(this.options, offered, request)
    // `ws` would send it, and the client would end the connection (RFC 6455, section 4.1).
    if (chosen && !offered.has(chosen)) {
      return this.#unusable('handleProtocols has returned a subprotocol that the client did not offer')
    }
    const added = this.#headersOf(request, chosen)
    if (typeof added === 'string') return this.#unusable(added)
    const { fields: headers, protocol = chosen } = added
    if (protocol && (!offered.has(protocol) || (chosen && protocol !== chosen))) {
      return this.#unusable('a listener for headers has added a subprotocol that the client did not offer, or a second one')
    }
    const { autoPong = true } = this.options
    // Only connections of this face get here, in which `Carried` says what they carry.
    const handlers = this.#handlers as unknown as TakenHandlers
    const data = { request, socket: undefined, callback, handlers, autoPong: Boolean(autoPong) }
    return { data, headers, ...(protocol && { protocol }) }
  }

  /**
   * Refuses a client whose handshake the program has made impossible. The response says why, and so does a
   * process warning, the first time. No `error` is emitted: without a listener, one client could end the
   * process.
   */
  #unusable(reason: string): Refusal {
    this.#warn(reason)
    return { code: 500, message: reason }
  }

  /** An asynchronous decision on a client has failed. The client is not told why. */
  #undecidable(error: unknown): Refusal {
    if (this.listenerCount('error') > 0) this.#fail(error)
    else this.#warn(String(error))
    return { code: 500 }
  }

  #warn(reason: string): void {
    if (!this.#hasWarned) process.emitWarning(`a WebSocket handshake was refused: ${reason}`)
    this.#hasWarned = true
  }

  /** What listeners for `headers` add; what is wrong with it where it cannot be sent. */
  #headersOf(request: IncomingMessage, protocol: string | false | undefined): Added | string {
    if (this.listenerCount('headers') === 0) return { fields: [] }
    const own = responseLines(request, protocol)
    const lines = [...own]
    this.emit('headers', lines, request)
    const hasChanged = own.some((line, index) => lines[index] !== line)
    if (hasChanged) warn('a listener for headers has changed lines of the handshake: they stay as the engine writes them')
    return addedFields(lines.slice(own.length))
  }

  #opened(connection: EngineSocket<Carried>): void {
    const { data } = connection
    const { autoPong, maxPendingAutoPongs = 0 } = this.options
    const made = {
      connection,
      facts: data.request.socket,
      closeTimeout: this.#closeTimeout,
      maxPendingAutoPongs: autoPong && maxPendingAutoPongs > 0 ? maxPendingAutoPongs : Number.POSITIVE_INFINITY,
    }
    const socket = socketFor<T>(made, this.options.WebSocket)
    data.socket = socket
    this.#open += 1
    this.clients?.add(socket)
    try {
      if (data.callback === undefined) this.emit('connection', socket, data.request)
      else data.callback(socket, data.request)
    } catch (error) {
      // As with `ws`, what a listener throws is an uncaught exception.
      process.nextTick(() => {
        throw error
      })
    }
  }

  #ended({ data }: EngineSocket<Carried>, code: number, reason: string, wasClean: boolean): void {
    const { socket } = data
    if (socket === undefined) return
    socketEvents.closed(socket, code, reason, wasClean, () => {
      this.#open -= 1
      // As above.
      this.clients?.delete(socket as InstanceType<T>)
      if (this.#state !== 'running') this.#finishOnceEmpty()
    })
  }

  /**
   * From `close` on, Node has no timeouts for requests (`headersTimeout`): what is no socket by then is cut,
   * so that clients that say nothing, or whom `verifyClient` does not answer, keep no server from closing.
   */
  #closeHttp(http: NonNullable<ServerOptions['server']>): void {
    const cut = setTimeout(() => {
      http.closeAllConnections()
      for (const socket of this.#undecided) socket.destroy()
    }, PATIENCE).unref()
    http.close(() => {
      clearTimeout(cut)
      this.#isHttpOpen = false
      this.#finishOnceEmpty()
    })
  }

  /** When no socket is left, and no HTTP connection of the server that this one has made. */
  #finishOnceEmpty(): void {
    if (this.#open > 0 || this.#isHttpOpen) return
    const closing = [this.#server, this.#secureServer].map((server) => server?.close({ timeout: PATIENCE }))
    // A listener that throws is an uncaught exception, rather than a rejection.
    void Promise.all(closing).then(() => process.nextTick(() => this.#closed()))
  }

  #closed(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.emit('close')
  }
}

function notCompleted(): NotSupportedError {
  return new NotSupportedError(
    'WebSocketServer.completeUpgrade',
    'the engine completes handshakes: use `verifyClient`, `handleProtocols`, and listeners for `headers` and `connection`',
  )
}
