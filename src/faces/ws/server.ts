/** `WebSocketServer` of the `ws` package. */
import type { Buffer } from 'node:buffer'
import { EventEmitter } from 'node:events'
import { type IncomingMessage, type OutgoingHttpHeaders, STATUS_CODES } from 'node:http'
import process from 'node:process'
import {
  type Accept,
  ClosedError,
  WebSocketServer as EngineServer,
  type Socket as EngineSocket,
  NotSupportedError,
  type TcpListenResult,
  type UpgradeRequest,
} from '../../index.js'
import { checkServerOptions, compressionOf, type ServerOptions, type VerifyClientInfo } from './options.js'
import { incomingMessageOf } from './request.js'
import { socketEvents, socketFor, WebSocket } from './socket.js'

/** Of `ws`: bytes of one received message. */
const MAX_PAYLOAD = 100 * 1024 * 1024
/** What the engine can count to. `ws` has no limit for what waits for a client. */
const NO_LIMIT = 2 ** 31 - 1
/** Milliseconds for HTTP connections that are left when the last socket has gone. */
const PATIENCE = 1000

interface Events {
  listening: []
  connection: [socket: WebSocket, request: IncomingMessage]
  headers: [headers: string[], request: IncomingMessage]
  close: []
  error: [error: Error]
}

/** What a connection carries. */
interface Carried {
  readonly request: IncomingMessage
  socket: WebSocket | undefined
}

/** As `ws` has it, with a port of its own: docs/compatibility.md lists the members. */
export class WebSocketServer extends EventEmitter<Events> {
  readonly options: ServerOptions
  /** The option, or empty. */
  readonly path: string
  /** The open sockets, unless the option `clientTracking` is false. */
  readonly clients!: Set<WebSocket>
  readonly #server: EngineServer
  #open = 0
  #address: TcpListenResult | undefined
  #state: 'running' | 'closing' | 'closed' = 'running'

  /** Throws NotSupportedError for options that this face cannot serve, TypeError where there is no port. */
  constructor(options: ServerOptions = {}, callback?: () => void) {
    super()
    checkServerOptions(options, WebSocket)
    this.options = options
    this.path = options.path ?? ''
    if (options.clientTracking !== false) this.clients = new Set()
    const { engine, tls, maxPayload = MAX_PAYLOAD, perMessageDeflate = false } = options
    this.#server = new EngineServer({
      health: false,
      onError: (error) => this.#fail(error),
      ...(engine !== undefined && { engine }),
      ...(tls !== undefined && { tls }),
    })
    this.#server.ws<Carried>('/*', {
      upgrade: (request) => this.#upgrade(request),
      open: (socket) => this.#opened(socket),
      // Text comes as bytes on this route.
      message: ({ data }, message, isBinary) => data.socket && socketEvents.message(data.socket, message as Buffer, isBinary),
      ping: ({ data }, bytes) => data.socket && socketEvents.ping(data.socket, bytes),
      pong: ({ data }, bytes) => data.socket && socketEvents.pong(data.socket, bytes),
      drain: ({ data }) => data.socket && socketEvents.drained(data.socket),
      dropped: ({ data }) => data.socket && socketEvents.dropped(data.socket),
      close: (socket, code, reason) => this.#ended(socket, code, reason),
      text: 'buffer',
      maxPayloadLength: maxPayload > 0 ? Math.min(maxPayload, NO_LIMIT) : NO_LIMIT,
      maxBackpressure: NO_LIMIT,
      idleTimeout: 0,
      sendPings: false,
      compression: compressionOf(perMessageDeflate),
    })
    this.#server.any('/*', () => new Response(STATUS_CODES[426] ?? null, { status: 426, headers: { upgrade: 'websocket' } }))
    if (callback !== undefined) this.on('listening', callback)
    void this.#listen()
  }

  /** Where the server listens; null before `listening` and after `close`. */
  address(): { address: string; family: string; port: number } | null {
    if (this.#address === undefined) return null
    const { host, port } = this.#address
    return { address: host, family: host.includes(':') ? 'IPv6' : 'IPv4', port }
  }

  /**
   * Stops accepting. `close` is emitted, and `callback` called, when all sockets have ended: close them, or
   * `terminate` them. Once closed, it calls back with an error.
   */
  close(callback?: (error?: Error) => void): void {
    if (this.#state === 'closed') {
      if (callback !== undefined) process.nextTick(callback, new Error('The server is not running'))
      process.nextTick(() => this.emit('close'))
      return
    }
    if (callback !== undefined) this.once('close', callback)
    if (this.#state === 'closing') return
    this.#state = 'closing'
    this.#address = undefined
    this.#server.stopListening()
    if (this.#open === 0) this.#finish()
  }

  /** Whether the server takes the request: by the option `path`. To be overridden. */
  shouldHandle(request: IncomingMessage): boolean | Promise<boolean> {
    const { path } = this.options
    return !path || request.url?.split('?', 1)[0] === path
  }

  /** Throws NotSupportedError. */
  handleUpgrade(..._arguments: unknown[]): void {
    throw new NotSupportedError(
      'WebSocketServer.handleUpgrade',
      'give a port: a connection that node:http has accepted cannot be taken over yet',
    )
  }

  async #listen(): Promise<void> {
    const { host, port } = this.options
    try {
      this.#address = await this.#server.listen({ ...(host !== undefined && { host }), ...(port !== undefined && { port }) })
      this.emit('listening')
    } catch (error) {
      // `close` came before.
      if (!(error instanceof ClosedError)) this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    // Without a listener it is an uncaught exception, rather than a rejection.
    process.nextTick(() => this.emit('error', error instanceof Error ? error : new Error(String(error))))
  }

  async #upgrade(upgrade: UpgradeRequest): Promise<Accept<Carried> | Response> {
    const request = incomingMessageOf(upgrade)
    if (!(await this.shouldHandle(request))) return refusal(400)
    if (this.#state !== 'running') return refusal(503)
    const refused = await this.#verify(upgrade, request)
    if (refused !== undefined) return refused
    const protocol = this.#protocolOf(upgrade, request)
    return {
      data: { request, socket: undefined },
      headers: this.#headersOf(request, protocol),
      ...(protocol && { protocol }),
    }
  }

  #verify(upgrade: UpgradeRequest, request: IncomingMessage): Promise<Response | undefined> | Response | undefined {
    const { verifyClient } = this.options
    if (!verifyClient) return undefined
    const info: VerifyClientInfo = {
      origin: upgrade.origin ?? String(request.headers['sec-websocket-origin'] ?? ''),
      secure: upgrade.url.startsWith('https:'),
      req: request,
    }
    // As `ws` tells one form from the other.
    if (verifyClient.length < 2) return (verifyClient as (given: VerifyClientInfo) => unknown)(info) ? undefined : refusal(401)
    return new Promise((resolve) => {
      verifyClient(info, (accepts, code = 401, message, headers) => {
        resolve(accepts ? undefined : refusal(code, message, headers))
      })
    })
  }

  /** Undefined or false for none. */
  #protocolOf({ protocols }: UpgradeRequest, request: IncomingMessage): string | false | undefined {
    const { handleProtocols } = this.options
    if (protocols.length === 0 || handleProtocols === undefined) return protocols[0]
    return handleProtocols(new Set(protocols), request)
  }

  /** What listeners for `headers` add. */
  #headersOf(request: IncomingMessage, protocol: string | false | undefined): [name: string, value: string][] {
    const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
    if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`)
    const own = lines.length
    this.emit('headers', lines, request)
    return lines.slice(own).map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at), line.slice(at + 1).trim()]
    })
  }

  #opened(connection: EngineSocket<Carried>): void {
    const socket = socketFor(connection)
    connection.data.socket = socket
    this.#open += 1
    this.clients?.add(socket)
    try {
      this.emit('connection', socket, connection.data.request)
    } catch (error) {
      // As with `ws`, what a listener throws is an uncaught exception.
      process.nextTick(() => {
        throw error
      })
    }
  }

  #ended({ data }: EngineSocket<Carried>, code: number, reason: string): void {
    if (data.socket === undefined) return
    this.#open -= 1
    this.clients?.delete(data.socket)
    socketEvents.closed(data.socket, code, reason)
    if (this.#state === 'closing' && this.#open === 0) this.#finish()
  }

  #finish(): void {
    void this.#server.close({ timeout: PATIENCE }).then(() => {
      this.#state = 'closed'
      this.emit('close')
    })
  }
}

/** As `ws` refuses: the status, and its name for a body unless another message is given. */
function refusal(status: number, message = STATUS_CODES[status] ?? '', headers: OutgoingHttpHeaders = {}): Response {
  const fields = new Headers({ 'content-type': 'text/html' })
  for (const [name, values] of Object.entries(headers)) {
    for (const value of Array.isArray(values) ? values : [values]) if (value !== undefined) fields.append(name, String(value))
  }
  return new Response(message, { status, headers: fields })
}
