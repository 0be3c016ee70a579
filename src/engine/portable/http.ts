/** Requests and responses of the portable engine, on `node:http`, which notices what clients get wrong. */
import { Buffer } from 'node:buffer'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import { plainView } from '../../util/bytes.js'
import type { EngineHttp, EngineResponse, ExchangeId, ResponseHead, ServerEvents } from '../contract.js'
import { type Exchange, HttpConnection } from './http-connection.js'
import { destroyLater, endAfterInput, responseTo } from './http-end.js'
import { hasBody, headOf, isMalformed, isNoHandshake, validCertificateOf } from './http-request.js'
import { createHttpServer, refusalBytes } from './http-server.js'
import type { PacedInput } from './input.js'

/** A request that asks for another protocol: Node has let go of its connection. */
export interface UpgradeRequest {
  readonly request: IncomingMessage
  readonly stream: NetSocket
  /** Holds what has come behind the request. */
  readonly input: PacedInput
}

export class PortableHttp implements EngineHttp {
  readonly #server: Server
  readonly #events: ServerEvents
  /** For exchanges and connections alike. */
  readonly #nextId: () => number
  readonly #exchanges = new Map<ExchangeId, Exchange>()
  readonly #connections = new Map<NetSocket, HttpConnection>()
  /** Responses that Node has not handed to the kernel yet. */
  #unflushed = 0
  /** Every response is then the last of its connection. */
  isStopped = false

  /** `requestTimeout` in seconds, 0 for none. */
  constructor(events: ServerEvents, requestTimeout: number, nextId: () => number) {
    this.#events = events
    this.#nextId = nextId
    this.#server = createHttpServer(requestTimeout)
    this.#server.on('request', (request, response) => this.#receive(request, response, false))
    this.#server.on('checkContinue', (request, response) => this.#receive(request, response, true))
    // Expectations other than `100-continue` may be ignored (RFC 9110, section 10.1.1).
    this.#server.on('checkExpectation', (request, response) => this.#receive(request, response, false))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, stream) => this.#refuse(stream as NetSocket, error.code))
    // Node's keep-alive timeout. A connection whose next request waits for its turn is not idle.
    this.#server.on('timeout', (stream) => this.#connections.get(stream)?.input.holds || stream.destroy())
    // Both of Node's servers give a socket of node:net or node:tls here.
    this.#server.on('upgrade', (request, stream) => this.#receiveUpgrade(request, stream as NetSocket))
  }

  /** Serves a connection. As HttpConnection: `proxiedAddress`, `incoming`. */
  serve(stream: NetSocket, proxiedAddress: string, incoming?: IncomingMessage): void {
    const connection = new HttpConnection(stream, proxiedAddress, () => this.#refuse(stream), incoming)
    this.#connections.set(stream, connection)
    endAfterInput(connection)
    stream.once('close', () => this.#abandon(connection))
    this.#server.emit('connection', stream)
    // As the only listener for 'data', Node's parser would read right from the handle, past the stream.
    stream.on('data', () => {})
  }

  /** Ends the watch of timeouts. */
  close(): void {
    this.#server.close()
  }

  /** Called every second or so. */
  probe(): void {
    for (const { input } of this.#connections.values()) input.probe()
  }

  isFlushed(): boolean {
    return this.#unflushed === 0
  }

  respond(id: ExchangeId, { body, ...head }: EngineResponse): boolean {
    const exchange = this.#awaitingResponse(id)
    if (exchange === undefined || exchange.response?.headersSent) return false
    const response = this.#writeHead(exchange, head)
    this.#end(id, exchange, response, head.closes, body)
    return true
  }

  beginResponse(id: ExchangeId, head: ResponseHead): boolean {
    const exchange = this.#awaitingResponse(id)
    if (exchange === undefined || exchange.response?.headersSent) return false
    const response = this.#writeHead(exchange, head)
    response.flushHeaders()
    response.on('drain', () => {
      if (this.#awaitingResponse(id) !== undefined) this.#events.writable(id)
    })
    return true
  }

  write(id: ExchangeId, chunk: Uint8Array): boolean {
    const response = this.#awaitingResponse(id)?.response
    // The caller may change its bytes as soon as the call returns, and they may wait in Node until then.
    return response === undefined || chunk.length === 0 || response.write(Buffer.from(plainView(chunk)))
  }

  endResponse(id: ExchangeId, closes: boolean): void {
    const exchange = this.#awaitingResponse(id)
    if (exchange?.response?.headersSent) this.#end(id, exchange, exchange.response, closes, undefined)
  }

  abort(id: ExchangeId): void {
    const exchange = this.#exchanges.get(id)
    if (exchange === undefined) return
    this.#forget(id, exchange)
    exchange.connection.stream.destroy()
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

  peerCertificate(id: ExchangeId): Buffer | undefined {
    return validCertificateOf(this.#exchanges.get(id)?.connection.stream)
  }

  /**
   * Ends the exchange of an upgrade, for its connection to be taken over. Undefined when the exchange has
   * ended, or is not an upgrade.
   */
  takeUpgrade(id: ExchangeId): UpgradeRequest | undefined {
    const exchange = this.#awaitingResponse(id)
    if (!exchange?.isUpgrade) return undefined
    this.#forget(id, exchange)
    const { stream, input } = exchange.connection
    this.#connections.delete(stream)
    Reflect.deleteProperty(stream, 'destroySoon')
    return { request: exchange.request, stream, input }
  }

  #awaitingResponse(id: ExchangeId): Exchange | undefined {
    const exchange = this.#exchanges.get(id)
    return exchange?.isResponded ? undefined : exchange
  }

  #receive(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = this.#connections.get(request.socket)
    connection?.requests.began(request)
    if (connection === undefined || connection.isLingering) return
    if (isMalformed(request)) {
      this.#refuse(connection.stream)
      return
    }
    const isBodyPending = hasBody(request)
    const id = this.#begin({
      request,
      connection,
      response,
      isUpgrade: false,
      isBodyPending,
      expectsContinue: expectsContinue && isBodyPending,
      isResponded: false,
    })
    if (isBodyPending) this.#readBody(id, request, connection.input)
  }

  #receiveUpgrade(request: IncomingMessage, stream: NetSocket): void {
    // An error of the stream is followed by 'close'.
    stream.on('error', () => {})
    const connection = this.#connections.get(stream)
    if (connection === undefined || connection.isLingering) return
    const { input } = connection
    // Frames that come early wait for the WebSocket.
    input.reader = undefined
    if (isNoHandshake(request)) {
      this.#refuse(stream)
      return
    }
    connection.afterResponses(() => {
      const parts = { isUpgrade: true, isBodyPending: false, expectsContinue: false, isResponded: false }
      this.#begin({ request, connection, response: undefined, ...parts })
    })
  }

  #begin(exchange: Exchange): ExchangeId {
    const id = this.#nextId()
    const { connection, request, isBodyPending } = exchange
    this.#exchanges.set(id, exchange)
    connection.exchanges.set(id, exchange)
    this.#events.request(id, headOf(request, isBodyPending, connection))
    return id
  }

  #readBody(id: ExchangeId, request: IncomingMessage, input: PacedInput): void {
    request.on('data', (chunk: Buffer) => {
      const exchange = this.#exchanges.get(id)
      if (exchange === undefined) return
      exchange.expectsContinue = false
      this.#events.body(id, chunk, false)
    })
    request.on('resume', () => input.proceed())
    request.on('end', () => {
      const exchange = this.#exchanges.get(id)
      if (exchange === undefined) return
      exchange.isBodyPending = false
      if (exchange.isResponded) this.#forget(id, exchange)
      this.#events.body(id, Buffer.alloc(0), true)
    })
    // This error comes with the connection's end, which `#abandon` reports for all exchanges at once.
    request.on('error', () => {})
  }

  /**
   * Ends a connection whose request is malformed or too slow. Node itself would send a status behind a
   * response that was given before the body had come.
   */
  #refuse(stream: NetSocket, code?: string): void {
    const connection = this.#connections.get(stream)
    if (connection === undefined || (connection.isLingering && code === 'ERR_HTTP_REQUEST_TIMEOUT')) {
      stream.destroy()
      return
    }
    const last = connection.isLingering || connection.isResponding ? '' : refusalBytes(code)
    connection.isLingering = true
    connection.input.discard()
    this.#abort(connection)
    connection.afterResponses(() => {
      if (stream.writable) stream.end(last)
      destroyLater(stream)
    })
  }

  /** The connection has gone. */
  #abandon(connection: HttpConnection): void {
    const { stream, input, unflushed } = connection
    // A WebSocket may have taken the connection over.
    if (!this.#connections.delete(stream)) return
    input.discard()
    // Node never attached responses behind a cut one to the connection, and does not close these with it.
    this.#unflushed -= unflushed.size
    unflushed.clear()
    this.#abort(connection)
  }

  #abort({ exchanges }: HttpConnection): void {
    const ids = [...exchanges.keys()]
    exchanges.clear()
    for (const id of ids) if (this.#exchanges.delete(id)) this.#events.aborted(id)
  }

  #forget(id: ExchangeId, { connection }: Exchange): void {
    this.#exchanges.delete(id)
    connection.exchanges.delete(id)
  }

  #writeHead(exchange: Exchange, { status, statusText, headers, contentLength, closes }: ResponseHead): ServerResponse {
    const { isUpgrade, connection } = exchange
    if (isUpgrade) connection.input.discard()
    exchange.response ??= responseTo(exchange.request, connection.stream)
    const all = [...headers]
    if (contentLength !== undefined) all.push('Content-Length', String(contentLength))
    if (closes || this.isStopped || isUpgrade || connection.incoming !== undefined) all.push('Connection', 'close')
    return exchange.response.writeHead(status, statusText, all)
  }

  #end(id: ExchangeId, exchange: Exchange, response: ServerResponse, closes: boolean, body: Uint8Array | undefined): void {
    exchange.isResponded = true
    if (exchange.isBodyPending) this.#letBodyCome(exchange, closes)
    if (closes || !exchange.isBodyPending) this.#forget(id, exchange)
    const { connection } = exchange
    const { unflushed, input } = connection
    this.#unflushed += 1
    unflushed.add(response)
    response.once('close', () => {
      if (unflushed.delete(response)) this.#unflushed -= 1
      input.proceed()
    })
    response.end(body)
    // The next request may have waited for this.
    if (input.holds) input.proceedSoon()
  }

  /**
   * Node ends a connection right behind its last response. A client that is still sending would then see a
   * reset instead of the response, and a handler that reads the body would miss the rest of it.
   */
  #letBodyCome({ connection, request }: Exchange, discards: boolean): void {
    const { stream } = connection
    if (discards) request.resume()
    stream.destroySoon = () => {
      connection.isLingering = true
      stream.end()
      if (discards) destroyLater(stream)
      request.once('end', () => stream.destroy())
    }
    // The connection goes on to the next request.
    request.once('end', () => endAfterInput(connection))
  }
}
