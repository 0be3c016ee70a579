/**
 * The engine that runs everywhere: the `ws` package on `node:http`, behind a listener of its own. Beside serving where no addon can be
 * built, it says in plain code what the contract means. What HTTP clients get wrong, and the
 * time they may take, is left to Node's own defaults (400, 408, 431; `requestTimeout` and the like).
 *
 * Long because one server answers HTTP and accepts WebSockets, and each way out of a request has to know of the others.
 */
import { Buffer } from 'node:buffer'
import { closeSync, openSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import { devNull } from 'node:os'
import type { Duplex } from 'node:stream'
import { WebSocketServer as WsServer } from 'ws'
import { plainView } from '../bytes.js'
import { ClosedError } from '../errors.js'
import type {
  CompressionAgreement,
  ConnectionEvents,
  ConnectionId,
  Engine,
  EngineCounters,
  EngineResponse,
  EngineServer,
  EngineServerOptions,
  EngineTls,
  ExchangeId,
  ListenAddress,
  Payload,
  RequestHead,
  ServerEvents,
} from './contract.js'
import { compressionOf } from './portable-compression.js'
import { PortableConnection, Traffic } from './portable-connection.js'
import { EarlyBytes } from './portable-early-bytes.js'
import { PortableListener } from './portable-listener.js'
import { withoutMapping } from './portable-proxy.js'
import { Topics } from './portable-topics.js'

/** Milliseconds between two looks at silent connections and at the descriptors that are left. */
const SWEEP_INTERVAL = 1000

/** A request that waits: Node gives the response to write to, or with an upgrade the bare stream. */
type Exchange =
  | { readonly request: IncomingMessage; readonly response: ServerResponse }
  | { readonly request: IncomingMessage; readonly stream: NetSocket; readonly early: EarlyBytes }

export const portableEngine: Engine = {
  name: 'portable',
  createServer: (options, events) => new PortableServer(options, events),
}

class PortableServer implements EngineServer {
  readonly #options: EngineServerOptions
  readonly #events: ServerEvents
  readonly #listener: PortableListener
  /** Listens nowhere: it is handed the connections. */
  readonly #http: Server = createServer()
  /** By connection, where a proxy has told one. */
  readonly #proxiedAddresses = new WeakMap<NetSocket, string>()
  /** One for each route: ws keeps the limits of messages here. */
  readonly #acceptors: readonly WsServer[]
  readonly #exchanges = new Map<ExchangeId, Exchange>()
  readonly #connections = new Map<ConnectionId, PortableConnection>()
  /** Answers that Node has not handed to the kernel yet. */
  readonly #unflushed = new Set<ServerResponse>()
  readonly #topics = new Topics()
  readonly #traffic = new Traffic()
  #lastId = 0
  #isStopped = false
  #isOutOfDescriptors = false
  #sweeper: NodeJS.Timeout | undefined

  constructor(options: EngineServerOptions, events: ServerEvents) {
    this.#options = options
    this.#events = events
    this.#listener = new PortableListener(options, (stream, proxiedAddress) => {
      if (proxiedAddress !== '') this.#proxiedAddresses.set(stream, proxiedAddress)
      this.#http.emit('connection', stream)
    })
    // An HTTP server begins to watch `headersTimeout` and `requestTimeout` when it listens.
    this.#http.emit('listening')
    // The 30 seconds in which a peer must answer a Close frame are the default of ws.
    this.#acceptors = options.routes.map(
      (route) => new WsServer({ noServer: true, clientTracking: false, autoPong: false, ...compressionOf(route) }),
    )
    this.#http.on('request', (request, response) => {
      // The request, rather than the response: of several that wait on one connection, only the first has a response that knows it.
      this.#begin({ request, response }, request)
    })
    // Both of Node's servers give a socket of node:net or node:tls here.
    this.#http.on('upgrade', (request, stream, head) => {
      // What goes wrong with the stream ends in 'close'.
      stream.on('error', () => {})
      if (this.#hasUnanswered(request)) {
        // Node has let go of the connection at once: the answers to earlier requests would end up behind the handshake.
        stream.destroy()
        return
      }
      const begin = () => {
        if (stream.destroyed) return
        const early = new EarlyBytes(stream as NetSocket, head)
        const exchange = this.#begin({ request, stream: stream as NetSocket, early }, stream)
        if (this.#exchanges.has(exchange)) early.start()
      }
      // Until Node has written it, the answer before owns the stream; and it would set the timeout of an idle connection then.
      const earlier = [...this.#unflushed].findLast(({ req }) => req.socket === stream)
      if (earlier === undefined) begin()
      else earlier.once('close', begin)
    })
  }

  async listen(address: ListenAddress): Promise<number> {
    if (this.#isStopped) throw new ClosedError()
    const port = await this.#listener.listen(address, (error) => this.#noteDescriptors(!isShortage(error)))
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL).unref()
    return port
  }

  stopListening(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#listener.stop()
  }

  reloadTls(tls: readonly EngineTls[]): void {
    this.#listener.reloadTls(tls)
  }

  respond(exchange: ExchangeId, { status, statusText, headers, body, headOnly }: EngineResponse): boolean {
    const found = this.#exchanges.get(exchange)
    if (found === undefined) return false
    this.#exchanges.delete(exchange)
    if ('early' in found) found.early.discard()
    const response = 'response' in found ? found.response : responseTo(found.request, found.stream)
    const all = [...headers]
    // RFC 9110, section 8.6: none with 204; with 304 it would be the length of what is not sent.
    if (status !== 204 && status !== 304) all.push('Content-Length', String(body?.byteLength ?? 0))
    if (this.#isStopped || 'stream' in found) all.push('Connection', 'close')
    response.writeHead(status, statusText, all)
    response.end(headOnly ? undefined : body)
    this.#unflushed.add(response)
    response.once('close', () => this.#unflushed.delete(response))
    return true
  }

  accept(
    exchange: ExchangeId,
    route: number,
    protocol: string,
    headers: readonly string[],
    compression: CompressionAgreement | undefined,
    events: ConnectionEvents,
  ): ConnectionId {
    const found = this.#exchanges.get(exchange)
    const [acceptor, limits] = [this.#acceptors[route], this.#options.routes[route]]
    if (found === undefined || !('stream' in found) || acceptor === undefined || limits === undefined) return 0
    this.#exchanges.delete(exchange)
    const { request, stream, early } = found
    // The handshake was decided above. ws reads these once more, and would choose the first protocol of several.
    request.headers.upgrade = 'websocket'
    if (protocol === '') delete request.headers['sec-websocket-protocol']
    else request.headers['sec-websocket-protocol'] = protocol
    if (compression === undefined) delete request.headers['sec-websocket-extensions']
    else request.headers['sec-websocket-extensions'] = compression.extension
    const addHeaders = (lines: string[]) => {
      for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`)
    }
    let connection = 0
    acceptor.once('headers', addHeaders)
    // Calls back before it returns, or not at all when the client has gone.
    acceptor.handleUpgrade(request, stream, early.take(), (socket) => {
      const id = this.#nextId()
      connection = id
      this.#connections.set(id, new PortableConnection(socket, stream, limits, this.#traffic, events, () => this.#forget(id)))
    })
    acceptor.off('headers', addHeaders)
    stream.resume()
    return connection
  }

  send(id: ConnectionId, data: Payload, compress?: boolean): number {
    return this.#connections.get(id)?.send(ownCopy(data), compress) ?? 0
  }

  ping(id: ConnectionId, data: Payload): number {
    return this.#connections.get(id)?.ping(ownCopy(data)) ?? 0
  }

  close(id: ConnectionId, code: number, reason: string): void {
    this.#topics.unsubscribeAll(id)
    this.#connections.get(id)?.close(code, reason)
  }

  terminate(id: ConnectionId): void {
    this.#topics.unsubscribeAll(id)
    this.#connections.get(id)?.terminate()
  }

  bufferedAmount(id: ConnectionId): number {
    return this.#connections.get(id)?.bufferedAmount ?? 0
  }

  subscribe(id: ConnectionId, topic: string): boolean {
    return (this.#connections.get(id)?.isOpen ?? false) && this.#topics.subscribe(id, topic)
  }

  unsubscribe(id: ConnectionId, topic: string): boolean {
    return this.#topics.unsubscribe(id, topic)
  }

  isSubscribed(id: ConnectionId, topic: string): boolean {
    return this.#topics.has(id, topic)
  }

  topics(id: ConnectionId): string[] {
    return this.#topics.of(id)
  }

  publish(topic: string, data: Payload, except: ConnectionId, compress?: boolean): boolean {
    const payload = ownCopy(data)
    let hasSubscriber = false
    for (const id of this.#topics.subscribers(topic)) {
      if (id === except) continue
      hasSubscriber = true
      this.#connections.get(id)?.send(payload, compress)
    }
    return hasSubscriber
  }

  subscribers(topic: string): number {
    return this.#topics.subscribers(topic).size
  }

  counters(): EngineCounters {
    return { ...this.#traffic, tcpConnections: this.#listener.accepted }
  }

  isFlushed(): boolean {
    return this.#unflushed.size === 0
  }

  ref(): void {
    this.#listener.ref()
  }

  unref(): void {
    this.#listener.unref()
  }

  dispose(): void {
    this.stopListening()
    clearInterval(this.#sweeper)
    this.#http.close() // ends its watch
    this.#listener.cut()
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }

  /** Whether a request that came before it on the same connection still waits. */
  #hasUnanswered({ socket }: IncomingMessage): boolean {
    for (const { request } of this.#exchanges.values()) if (request.socket === socket) return true
    return false
  }

  #begin(exchange: Exchange, ending: IncomingMessage | Duplex): ExchangeId {
    const id = this.#nextId()
    this.#exchanges.set(id, exchange)
    ending.once('close', () => {
      if (this.#exchanges.delete(id)) this.#events.aborted(id)
    })
    this.#events.request(id, this.#headOf(exchange.request))
    return id
  }

  #headOf({ method = '', url = '', rawHeaders, socket }: IncomingMessage): RequestHead {
    return {
      method,
      url,
      headers: rawHeaders.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text)),
      remoteAddress: withoutMapping(socket.remoteAddress ?? ''),
      proxiedAddress: this.#proxiedAddresses.get(socket) ?? '',
    }
  }

  #forget(id: ConnectionId): void {
    this.#topics.unsubscribeAll(id)
    this.#connections.delete(id)
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#connections.values()) connection.checkSilence(now)
    this.#noteDescriptors(hasDescriptorLeft())
  }

  #noteDescriptors(areLeft: boolean): void {
    if (!areLeft && !this.#isOutOfDescriptors) this.#events.descriptorsExhausted()
    this.#isOutOfDescriptors = !areLeft
  }
}

/** The caller may change its bytes as soon as a call returns, and they may wait in Node until then. */
function ownCopy(data: Payload): Payload {
  return typeof data === 'string' ? data : Buffer.from(plainView(data))
}

/** Node makes no response for an upgrade. This one ends the connection, since nothing reads further requests from it. */
function responseTo(request: IncomingMessage, stream: NetSocket): ServerResponse {
  const response = new ServerResponse(request)
  response.assignSocket(stream)
  // Not detached: the response is closed with the stream, when the kernel has taken it.
  response.once('finish', () => stream.destroySoon())
  return response
}

function isShortage({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EMFILE' || code === 'ENFILE'
}

/**
 * Whether another descriptor can be had. It must be tried: when accept(2) fails for want of one, libuv accepts with a spare
 * descriptor and closes at once, which keeps the loop from spinning but tells nobody.
 */
function hasDescriptorLeft(): boolean {
  try {
    closeSync(openSync(devNull, 'r'))
    return true
  } catch (error) {
    // Anything that fs throws is an ErrnoException.
    return !isShortage(error as NodeJS.ErrnoException)
  }
}
