/** HTTP requests from their route to the end of their answer, and of their body. */
import type { Buffer } from 'node:buffer'
import type { EngineResponse, EngineServer, ExchangeId, RequestHead } from '../engine/contract.js'
import type { Awaitable } from '../types/index.js'
import { IncomingBody } from './body.js'
import { headerOf, IncomingRequest, unlessMalformed } from './request.js'
import {
  cancelResponse,
  emptyResponse,
  failureResponse,
  plainResponse,
  readResponse,
  type StreamingResponse,
} from './response.js'
import { ResponseStream } from './response-stream.js'
import { decodeParams, type Match, RouteTable } from './routes.js'
import type { Target } from './target.js'

export type HttpHandler = (request: IncomingRequest) => Awaitable<Response>

/** What exchanges need of whoever has them. */
export interface ExchangeOwner {
  readonly engine: EngineServer | undefined
  /** A handler, or the body of its answer, has failed. */
  handlerFailed(error: unknown): void
  /** A request waits no more. */
  settled(): void
}

/** How much clients may send. */
export interface BodyLimits {
  /** Bytes. */
  readonly maxRequestBodySize: number
}

/** A body that is coming, and whose it is: the request may be answered by then. */
interface Receiving {
  readonly body: IncomingBody
  readonly request: IncomingRequest
}

export class HttpExchanges {
  readonly #owner: ExchangeOwner
  readonly #maxBodySize: number
  readonly routes = new RouteTable<HttpHandler>()
  /** Requests that are not answered, or not to the end. */
  readonly #requests = new Map<ExchangeId, IncomingRequest>()
  /** Bodies that have not come to their end. */
  readonly #bodies = new Map<ExchangeId, Receiving>()
  readonly #streams = new Map<ExchangeId, ResponseStream>()

  constructor(owner: ExchangeOwner, { maxRequestBodySize }: BodyLimits) {
    this.#owner = owner
    this.#maxBodySize = maxRequestBodySize
  }

  /** Requests that are not answered to the end. */
  get size(): number {
    return this.#requests.size
  }

  /** `elsewhere` says what to answer where no route has the path. */
  request(exchange: ExchangeId, head: RequestHead, target: Target, elsewhere: (headOnly: boolean) => EngineResponse): void {
    const match = this.routes.find(head.method, target.path)
    if ((declaredLength(head) ?? 0) > this.#maxBodySize)
      this.#refuse(exchange, head, plainResponse(413, [], head.method === 'HEAD'))
    else if (match === undefined) this.#refuse(exchange, head, this.#unroutable(head, target, elsewhere))
    else this.#serve(exchange, head, target, match)
  }

  /**
   * Answers a request without a proper target or Host, and ends the connection: where such a client's next
   * request begins is a guess.
   */
  refuseMalformed(exchange: ExchangeId, head: RequestHead): void {
    this.#owner.engine?.respond(exchange, { ...plainResponse(400, [], head.method === 'HEAD'), closes: true })
  }

  body(exchange: ExchangeId, chunk: Buffer, isLast: boolean): void {
    const body = this.#bodies.get(exchange)?.body
    body?.push(chunk, isLast)
    // One that has become too large after the answer was the end of its connection.
    if (isLast || (body?.isTooLarge && !this.#requests.has(exchange))) this.#bodies.delete(exchange)
  }

  writable(exchange: ExchangeId): void {
    this.#streams.get(exchange)?.writable()
  }

  /**
   * Answers in pieces. Resolves when all is given to the engine, or when the client has gone; rejects with
   * the body's error, and has then cut the connection.
   */
  async stream(exchange: ExchangeId, response: StreamingResponse): Promise<void> {
    const { engine } = this.#owner
    const body = this.#bodies.get(exchange)?.body
    if (engine === undefined) {
      response.rest.cancel()
      return
    }
    const stream = new ResponseStream(engine, exchange, response, () => body?.mustClose ?? false)
    this.#streams.set(exchange, stream)
    try {
      await stream.send()
      if (body?.mustClose) this.#bodies.delete(exchange)
      else body?.answered()
    } catch (error) {
      this.#bodies.delete(exchange)
      body?.fail(error)
      throw error
    } finally {
      this.#streams.delete(exchange)
    }
  }

  aborted(exchange: ExchangeId): void {
    const receiving = this.#bodies.get(exchange)
    const request = this.#requests.get(exchange) ?? receiving?.request
    this.#bodies.delete(exchange)
    request?.abort()
    const reason: unknown = request?.signal.reason ?? new DOMException('the client has gone', 'AbortError')
    receiving?.body.fail(reason)
    this.#streams.get(exchange)?.aborted(reason)
    this.#settle(exchange)
  }

  #serve(exchange: ExchangeId, head: RequestHead, target: Target, { value, params }: Match<HttpHandler>): void {
    const request = this.#open(exchange, head, target, params)
    if (request !== undefined) void this.#answer(exchange, request, invoke(value, request))
  }

  /** Answers a request whose body nobody has looked at. */
  #refuse(exchange: ExchangeId, head: RequestHead, response: EngineResponse): void {
    // As much as a handler could have been sent is thrown away; more, or nobody knows how much, ends the
    // connection.
    const length = declaredLength(head)
    const isBounded = length !== undefined && length <= this.#maxBodySize && !expectsContinue(head)
    this.#owner.engine?.respond(exchange, isBounded ? response : { ...response, closes: true })
  }

  /**
   * Makes the request of an exchange, which then waits for its answer. Undefined when that is impossible; the
   * client has been told.
   */
  #open(exchange: ExchangeId, head: RequestHead, target: Target, params: Match<unknown>['params']): IncomingRequest | undefined {
    const { engine } = this.#owner
    if (engine === undefined) return undefined
    const body = head.hasBody ? new IncomingBody(engine, exchange, this.#maxBodySize, expectsContinue(head)) : undefined
    const decoded = decodeParams(params)
    const request = decoded && unlessMalformed(() => new IncomingRequest(head, target, decoded, body))
    if (request === undefined) {
      this.#refuse(exchange, head, plainResponse(400, [], head.method === 'HEAD'))
      return undefined
    }
    this.#requests.set(exchange, request)
    if (body !== undefined) this.#bodies.set(exchange, { body, request })
    return request
  }

  /** Answers with what a handler gives, or with 500 when it fails. Never rejects. */
  async #answer(exchange: ExchangeId, request: IncomingRequest, response: Awaitable<Response>): Promise<void> {
    const headOnly = request.method === 'HEAD'
    const body = this.#bodies.get(exchange)?.body
    try {
      await this.#send(exchange, await response, headOnly, body)
    } catch (error) {
      // A handler that gave up because the client has gone, or because the body is too large, has done well.
      const hasGivenUp = (request.isAborted && error === request.signal.reason) || body?.isTooLarge
      if (!hasGivenUp) this.#owner.handlerFailed(error)
      const failure = body?.isTooLarge ? plainResponse(413, [], headOnly) : failureResponse(error, headOnly)
      this.#respond(exchange, failure, body)
    }
    this.#settle(exchange)
  }

  async #send(exchange: ExchangeId, response: Response, headOnly: boolean, body: IncomingBody | undefined): Promise<void> {
    const request = this.#requests.get(exchange)
    if (request === undefined) {
      cancelResponse(response, new DOMException('the client has gone', 'AbortError'))
      return
    }
    const read = await readResponse(response, headOnly)
    if (!('rest' in read)) {
      this.#respond(exchange, read, body)
    } else if (request.isAborted) {
      read.rest.cancel(request.signal.reason)
    } else {
      await this.stream(exchange, { ...read, closes: body?.mustClose ?? false })
    }
  }

  #respond(exchange: ExchangeId, response: EngineResponse, body: IncomingBody | undefined): void {
    if (!this.#requests.has(exchange)) return
    const closes = response.closes || (body?.mustClose ?? false)
    this.#owner.engine?.respond(exchange, closes ? { ...response, closes } : response)
    body?.answered()
    if (!closes) return
    this.#bodies.delete(exchange)
    body?.fail(new TypeError('the connection has ended before the body of the request was read'))
  }

  #settle(exchange: ExchangeId): void {
    this.#requests.delete(exchange)
    this.#owner.settled()
  }

  #unroutable({ method }: RequestHead, { path }: Target, elsewhere: (headOnly: boolean) => EngineResponse): EngineResponse {
    const headOnly = method === 'HEAD'
    const allowed = this.routes.allowed(path)
    if (allowed.length === 0) return elsewhere(headOnly)
    const allow = ['allow', allowed.join(', ')]
    return method === 'OPTIONS' ? emptyResponse(204, allow) : plainResponse(405, allow, headOnly)
  }
}

/** What a handler that throws has in common with one that rejects. */
async function invoke(handler: HttpHandler, request: IncomingRequest): Promise<Response> {
  return handler(request)
}

/** Bytes of the body; undefined when the head does not say. */
function declaredLength(head: RequestHead): number | undefined {
  if (!head.hasBody) return 0
  const length = headerOf(head, 'content-length')
  return length === undefined ? undefined : Number(length)
}

function expectsContinue(head: RequestHead): boolean {
  return head.hasBody && headerOf(head, 'expect')?.toLowerCase() === '100-continue'
}
