/** One HTTP exchange, upgrades included: its request, its body, its response, and whether it still lives. */
import type { Buffer } from 'node:buffer'
import type { EngineHttp, EngineResponse, EngineServer, ExchangeId } from '../engine/contract.js'
import type { IncomingBody } from './body.js'
import type { StreamingResponse, WrittenResponse } from './response.js'
import { ResponseStream } from './response-stream.js'
import { ResponseWriter } from './response-writer.js'

/** The exchanges of a server to which the engine's events can still belong. */
export type ExchangeTable = Map<ExchangeId, Exchange>

/** What an exchange does with its request. */
export interface ExchangeRequest {
  readonly signal: AbortSignal
  /** Whether the client has gone. */
  readonly isAborted: boolean
  /** Cuts the connection. */
  cut: (() => void) | undefined
  /** The client has gone. */
  abort(): void
}

/** What exchanges need of their server. */
export interface ExchangeHost {
  /** Undefined before the server listens, and when it has closed. */
  readonly engine: Pick<EngineServer, 'http'> | undefined
  readonly exchanges: ExchangeTable
  /** An exchange is open no longer. */
  settled(): void
}

/** The open exchanges of HttpRouter, or of Upgrades. */
export class OpenExchanges {
  readonly #host: ExchangeHost
  readonly #onSettled: ((exchange: Exchange) => void) | undefined
  #size = 0

  /** Calls `onSettled` before the host learns that an exchange is open no longer. */
  constructor(host: ExchangeHost, onSettled?: (exchange: Exchange) => void) {
    this.#host = host
    this.#onSettled = onSettled
  }

  get size(): number {
    return this.#size
  }

  get http(): EngineHttp | undefined {
    return this.#host.engine?.http
  }

  add(exchange: Exchange): void {
    this.#size += 1
    this.#host.exchanges.set(exchange.id, exchange)
  }

  /** The exchange is open no longer; of its body, pieces may still come. */
  settle(exchange: Exchange): void {
    this.#size -= 1
    this.#onSettled?.(exchange)
    this.#host.settled()
  }

  /** No event of the engine can belong to the exchange any more. */
  forget(exchange: Exchange): void {
    this.#host.exchanges.delete(exchange.id)
  }
}

/**
 * From the moment when a handler gets the request until the response is whole and the body has come to its
 * end, or the client has gone. A request that is refused unseen needs no exchange: it gets its response at
 * once.
 */
export class Exchange<R extends ExchangeRequest = ExchangeRequest> {
  readonly id: ExchangeId
  readonly request: R
  readonly #open: OpenExchanges
  readonly #body: IncomingBody | undefined
  /** While the response goes out in pieces. */
  #stream: ResponseStream | ResponseWriter | undefined
  #isOpen = true
  /** Whether pieces of the body, or the end of the connection before its last piece, can still come. */
  #isReceiving: boolean

  constructor(open: OpenExchanges, id: ExchangeId, request: R, body?: IncomingBody) {
    this.#open = open
    this.id = id
    this.request = request
    this.#body = body
    this.#isReceiving = body !== undefined
    request.cut = () => this.#cut()
    open.add(this)
  }

  /** Whether the client waits for the response, or for the rest of it. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Whether more of the body has come than the limit allows. */
  get isTooLarge(): boolean {
    return this.#body?.isTooLarge ?? false
  }

  /** Responds at once. Does nothing when the client has gone. */
  respond(response: EngineResponse): void {
    if (!this.#isOpen) return
    const body = this.#body
    const closes = response.closes || (body?.mustClose ?? false)
    this.#open.http?.respond(this.id, closes ? { ...response, closes } : response)
    body?.responded()
    if (!closes) return
    this.#isReceiving = false
    body?.fail(new TypeError('the connection has ended before the body of the request was read'))
  }

  /**
   * Responds in pieces. Resolves when the engine has all of them, or when the client has gone; rejects with
   * the body's error, and has then cut the connection.
   */
  async stream(response: StreamingResponse | WrittenResponse): Promise<void> {
    const { http } = this.#open
    if (!this.#isOpen || http === undefined) {
      if ('rest' in response) response.rest.cancel(this.request.isAborted ? this.request.signal.reason : undefined)
      return
    }
    const body = this.#body
    const mustClose = () => body?.mustClose ?? false
    const closes = response.closes || mustClose()
    this.#stream =
      'rest' in response
        ? new ResponseStream(http, this.id, { ...response, closes }, mustClose)
        : new ResponseWriter(http, this.id, { ...response, closes }, mustClose)
    try {
      await this.#stream.send()
      if (mustClose()) this.#isReceiving = false
      else body?.responded()
    } catch (error) {
      this.#isReceiving = false
      body?.fail(error)
      throw error
    } finally {
      this.#stream = undefined
    }
  }

  /** The response is whole, or never will be. Does nothing the second time. */
  settle(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (!this.#isReceiving) this.#open.forget(this)
    this.#open.settle(this)
  }

  #cut(): void {
    if (!this.#isOpen) return
    this.#open.http?.abort(this.id)
    this.aborted()
  }

  // ---- what the engine reports ----

  /** A piece of the body. */
  receive(chunk: Buffer, isLast: boolean): void {
    if (!this.#isReceiving) return
    this.#body?.push(chunk, isLast)
    // A body that becomes too large after the response has ended its connection.
    if (!isLast && (this.#isOpen || !this.isTooLarge)) return
    this.#isReceiving = false
    if (!this.#isOpen) this.#open.forget(this)
  }

  /** The engine has sent what it was given of a response in pieces. */
  writable(): void {
    this.#stream?.writable()
  }

  /** The client has gone. */
  aborted(): void {
    const { request } = this
    const wasReceiving = this.#isReceiving
    this.#isReceiving = false
    // Before the request tells its handler: the handler's next call must find an exchange that has ended.
    this.settle()
    this.#open.forget(this)
    request.abort()
    if (wasReceiving) this.#body?.fail(request.signal.reason)
    this.#stream?.aborted(request.signal.reason)
  }
}
