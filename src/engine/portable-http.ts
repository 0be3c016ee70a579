/**
 * Requests and answers of the portable engine, on `node:http`. What HTTP clients get wrong, and the time they may take, is left to
 * Node's own defaults (400, 408, 431; `requestTimeout` and the like).
 */
import { Buffer } from 'node:buffer'
import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import { plainView } from '../bytes.js'
import type { EngineResponse, ExchangeId, RequestHead, ResponseHead, ServerEvents } from './contract.js'
import { EarlyBytes } from './portable-early-bytes.js'
import { withoutMapping } from './portable-proxy.js'

/** Milliseconds for a client to read its last answer while what it still sends is thrown away. As long as the native engine's. */
const LINGER_TIME = 10_000

/** A request that asks for another protocol: Node has let go of its connection. */
export interface UpgradeRequest {
  readonly request: IncomingMessage
  readonly stream: NetSocket
  readonly early: EarlyBytes
}

/** Lasts until the request is answered and its body has come. */
interface Exchange {
  readonly request: IncomingMessage
  readonly stream: NetSocket
  /** None for an upgrade, unless it is refused. */
  response: ServerResponse | undefined
  /** Of an upgrade. */
  readonly early: EarlyBytes | undefined
  isBodyPending: boolean
  expectsContinue: boolean
  isAnswered: boolean
}

/** What PortableHttp needs of its server. */
export interface HttpContext {
  /** For exchanges and connections alike. */
  nextId(): number
  /** What a proxy has told of the connection; empty without one. */
  proxiedAddressOf(stream: NetSocket): string
}

export class PortableHttp {
  readonly #events: ServerEvents
  readonly #context: HttpContext
  readonly #exchanges = new Map<ExchangeId, Exchange>()
  /** The exchanges of each connection, in their order. */
  readonly #streams = new Map<NetSocket, Set<ExchangeId>>()
  /** Answers that Node has not handed to the kernel yet, by connection. */
  readonly #unflushed = new Map<NetSocket, Set<ServerResponse>>()
  /** Connections that have got their last answer while a body was still coming. */
  readonly #lingering = new WeakSet<NetSocket>()
  /** Every answer is then the last of its connection. */
  isStopped = false

  constructor(server: Server, events: ServerEvents, context: HttpContext) {
    this.#events = events
    this.#context = context
    server.on('request', (request, response) => this.#receive(request, response, false))
    server.on('checkContinue', (request, response) => this.#receive(request, response, true))
    // Both of Node's servers give a socket of node:net or node:tls here.
    server.on('upgrade', (request, stream, head) => this.#receiveUpgrade(request, stream as NetSocket, head))
  }

  isFlushed(): boolean {
    return this.#unflushed.size === 0
  }

  respond(id: ExchangeId, { body, ...head }: EngineResponse): boolean {
    const exchange = this.#unanswered(id)
    if (exchange === undefined || exchange.response?.headersSent) return false
    const response = this.#writeHead(exchange, head)
    this.#end(id, exchange, response, head.closes, body)
    return true
  }

  beginResponse(id: ExchangeId, head: ResponseHead): boolean {
    const exchange = this.#unanswered(id)
    if (exchange === undefined || exchange.response?.headersSent) return false
    const response = this.#writeHead(exchange, head)
    response.flushHeaders()
    response.on('drain', () => {
      if (this.#unanswered(id) !== undefined) this.#events.writable(id)
    })
    return true
  }

  write(id: ExchangeId, chunk: Uint8Array): boolean {
    const response = this.#unanswered(id)?.response
    // The caller may change its bytes as soon as the call returns, and they may wait in Node until then.
    return response === undefined || chunk.length === 0 || response.write(Buffer.from(plainView(chunk)))
  }

  endResponse(id: ExchangeId, closes: boolean): void {
    const exchange = this.#unanswered(id)
    if (exchange?.response?.headersSent) this.#end(id, exchange, exchange.response, closes, undefined)
  }

  abort(id: ExchangeId): void {
    const exchange = this.#exchanges.get(id)
    if (exchange === undefined) return
    this.#forget(id, exchange)
    exchange.stream.destroy()
  }

  pauseBody(id: ExchangeId): void {
    const exchange = this.#exchanges.get(id)
    if (exchange?.isBodyPending) exchange.request.pause()
  }

  resumeBody(id: ExchangeId): void {
    const exchange = this.#exchanges.get(id)
    if (!exchange?.isBodyPending) return
    if (exchange.expectsContinue && !exchange.response?.headersSent) exchange.response?.writeContinue()
    exchange.expectsContinue = false
    exchange.request.resume()
  }

  /** Ends the exchange of an upgrade, for its connection to be taken over. Undefined when it has ended, or is none. */
  takeUpgrade(id: ExchangeId): UpgradeRequest | undefined {
    const exchange = this.#unanswered(id)
    if (exchange?.early === undefined) return undefined
    this.#forget(id, exchange)
    return { request: exchange.request, stream: exchange.stream, early: exchange.early }
  }

  #unanswered(id: ExchangeId): Exchange | undefined {
    const exchange = this.#exchanges.get(id)
    return exchange?.isAnswered ? undefined : exchange
  }

  #receive(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const stream = request.socket
    if (this.#lingering.has(stream)) return
    const isBodyPending = hasBody(request)
    const id = this.#begin({
      request,
      stream,
      response,
      early: undefined,
      isBodyPending,
      expectsContinue: expectsContinue && isBodyPending,
      isAnswered: false,
    })
    if (isBodyPending) this.#readBody(id, request)
  }

  #receiveUpgrade(request: IncomingMessage, stream: NetSocket, head: Buffer): void {
    // What goes wrong with the stream ends in 'close'.
    stream.on('error', () => {})
    if (this.#lingering.has(stream)) return
    const isBusy = (this.#streams.get(stream)?.size ?? 0) > 0
    if (isBusy || hasBody(request)) {
      // Node has let go of the connection at once: answers to earlier requests would end up behind the handshake, and a body cannot
      // be read any more.
      if (isBusy) stream.destroy()
      else stream.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    const begin = () => {
      if (stream.destroyed) return
      // Until Node has written them, the answers before own the stream; and it would set the timeout of an idle connection then. They
      // were given in any order.
      const [earlier] = this.#unflushed.get(stream) ?? []
      if (earlier !== undefined) {
        earlier.once('close', begin)
        return
      }
      const early = new EarlyBytes(stream, head)
      const parts = { isBodyPending: false, expectsContinue: false, isAnswered: false }
      const id = this.#begin({ request, stream, response: undefined, early, ...parts })
      if (this.#exchanges.has(id)) early.start()
    }
    begin()
  }

  #begin(exchange: Exchange): ExchangeId {
    const id = this.#context.nextId()
    const { stream, request, isBodyPending } = exchange
    this.#exchanges.set(id, exchange)
    const others = this.#streams.get(stream)
    if (others !== undefined) {
      others.add(id)
    } else {
      this.#streams.set(stream, new Set([id]))
      stream.once('close', () => this.#abandon(stream))
    }
    this.#events.request(id, headOf(request, isBodyPending, this.#context.proxiedAddressOf(stream)))
    return id
  }

  #readBody(id: ExchangeId, request: IncomingMessage): void {
    request.on('data', (chunk: Buffer) => {
      const exchange = this.#exchanges.get(id)
      if (exchange === undefined) return
      exchange.expectsContinue = false
      this.#events.body(id, chunk, false)
    })
    request.on('end', () => {
      const exchange = this.#exchanges.get(id)
      if (exchange === undefined) return
      exchange.isBodyPending = false
      if (exchange.isAnswered) this.#forget(id, exchange)
      this.#events.body(id, Buffer.alloc(0), true)
    })
    // It comes with the connection's end, which is reported for all exchanges at once.
    request.on('error', () => {})
  }

  /** The connection has gone. */
  #abandon(stream: NetSocket): void {
    const ids = this.#streams.get(stream) ?? []
    this.#streams.delete(stream)
    // Those behind an answer that was cut have never got as far as the connection, and are not closed with it.
    this.#unflushed.delete(stream)
    for (const id of ids) if (this.#exchanges.delete(id)) this.#events.aborted(id)
  }

  #forget(id: ExchangeId, { stream }: Exchange): void {
    this.#exchanges.delete(id)
    this.#streams.get(stream)?.delete(id)
  }

  #writeHead(exchange: Exchange, { status, statusText, headers, contentLength, closes }: ResponseHead): ServerResponse {
    exchange.early?.discard()
    exchange.response ??= responseTo(exchange.request, exchange.stream)
    const all = [...headers]
    if (contentLength !== undefined) all.push('Content-Length', String(contentLength))
    if (closes || this.isStopped || exchange.early !== undefined) all.push('Connection', 'close')
    return exchange.response.writeHead(status, statusText, all)
  }

  #end(id: ExchangeId, exchange: Exchange, response: ServerResponse, closes: boolean, body: Uint8Array | undefined): void {
    exchange.isAnswered = true
    if (exchange.isBodyPending) this.#letBodyCome(exchange, closes)
    if (closes || !exchange.isBodyPending) this.#forget(id, exchange)
    this.#noteUnflushed(exchange.stream, response)
    response.end(body)
  }

  #noteUnflushed(stream: NetSocket, response: ServerResponse): void {
    const unflushed = this.#unflushed.get(stream) ?? new Set()
    this.#unflushed.set(stream, unflushed.add(response))
    response.once('close', () => {
      unflushed.delete(response)
      if (unflushed.size === 0 && this.#unflushed.get(stream) === unflushed) this.#unflushed.delete(stream)
    })
  }

  /**
   * Node ends a connection right behind its last answer. A client that is still sending would then see a reset instead of the answer,
   * and whoever reads the body would miss the rest of it.
   */
  #letBodyCome({ stream, request }: Exchange, discards: boolean): void {
    if (discards) request.resume()
    stream.destroySoon = () => {
      this.#lingering.add(stream)
      stream.end()
      const timer = discards ? setTimeout(() => stream.destroy(), LINGER_TIME).unref() : undefined
      stream.once('close', () => clearTimeout(timer))
      request.once('end', () => stream.destroy())
    }
    // The connection goes on to the next request, and to Node's own method.
    request.once('end', () => Reflect.deleteProperty(stream, 'destroySoon'))
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function headOf(
  { method = '', url = '', rawHeaders, socket }: IncomingMessage,
  hasBody: boolean,
  proxiedAddress: string,
): RequestHead {
  return {
    method,
    url,
    fields: rawHeaders.reduce((fields, text, index) => fields + (index % 2 === 0 ? `${text.toLowerCase()}:` : `${text}\n`), '\n'),
    hasBody,
    remoteAddress: withoutMapping(socket.remoteAddress ?? ''),
    proxiedAddress,
  }
}

/** Node makes no response for an upgrade. This one ends the connection, since nothing reads further requests from it. */
function responseTo(request: IncomingMessage, stream: NetSocket): ServerResponse {
  const response = new ServerResponse(request)
  response.assignSocket(stream)
  // Not detached: the response is closed with the stream, when the kernel has taken it.
  response.once('finish', () => stream.destroySoon())
  return response
}
