/** HTTP requests: the route of each, the call of its handler, and the response that comes of that. */
import type { EngineResponse, ExchangeId, RequestHead } from '../engine/contract.js'
import type { Awaitable } from '../types/index.js'
import { IncomingBody } from './body.js'
import { Exchange, type ExchangeHost, OpenExchanges } from './exchange.js'
import { headerOf, IncomingRequest, unlessMalformed } from './request.js'
import { cancelResponse, emptyResponse, failureResponse, isInParts, plainResponse, readResponse } from './response.js'
import { decodeParams, type Match, RouteTable } from './routes.js'
import type { Target } from './target.js'

export type HttpHandler = (request: IncomingRequest) => Awaitable<Response>

/** What the router needs of its server. */
export interface RouterOwner extends ExchangeHost {
  /** The response where no HTTP route has the path, whatever the method. */
  unmatched(head: RequestHead, target: Target): EngineResponse
  /** A handler, or the body of its response, has failed. */
  handlerFailed(error: unknown): void
}

/** How much clients may send. */
export interface BodyLimits {
  /** Bytes. */
  readonly maxRequestBodySize: number
}

export class HttpRouter {
  readonly #owner: RouterOwner
  readonly #maxBodySize: number
  readonly routes = new RouteTable<HttpHandler>()
  /** Those of requests whose response is not whole. */
  readonly #open: OpenExchanges

  constructor(owner: RouterOwner, { maxRequestBodySize }: BodyLimits) {
    this.#owner = owner
    this.#open = new OpenExchanges(owner)
    this.#maxBodySize = maxRequestBodySize
  }

  get isIdle(): boolean {
    return this.#open.size === 0
  }

  request(id: ExchangeId, head: RequestHead, target: Target): void {
    const match = this.routes.find(head.method, target.path)
    if ((declaredLength(head) ?? 0) > this.#maxBodySize) this.#refuse(id, head, plainResponse(413, [], head.method === 'HEAD'))
    else if (match === undefined) this.#refuse(id, head, this.#unroutable(head, target))
    else this.#serve(id, head, target, match)
  }

  /**
   * Refuses a request without a proper target or Host, and ends the connection: where such a client's next
   * request begins is a guess.
   */
  refuseMalformed(id: ExchangeId, head: RequestHead): void {
    this.#open.http?.respond(id, { ...plainResponse(400, [], head.method === 'HEAD'), closes: true })
  }

  /** Calls the handler, unless no request can be made for it. */
  #serve(id: ExchangeId, head: RequestHead, target: Target, { value: handler, params }: Match<HttpHandler>): void {
    const { http } = this.#open
    if (http === undefined) return
    const body = head.hasBody ? new IncomingBody(http, id, this.#maxBodySize, expectsContinue(head)) : undefined
    const decoded = decodeParams(params)
    const readCertificate = () => http.peerCertificate(id)
    const request = decoded && unlessMalformed(() => new IncomingRequest(head, target, decoded, body, readCertificate))
    if (request === undefined) {
      this.#refuse(id, head, plainResponse(400, [], head.method === 'HEAD'))
      return
    }
    void this.#respond(new Exchange(this.#open, id, request, body), invoke(handler, request))
  }

  /** Responds to a request whose body no handler sees. */
  #refuse(id: ExchangeId, head: RequestHead, response: EngineResponse): void {
    // The engine throws away as many bytes as a handler could have been sent; a longer body, or one of
    // unknown length, ends the connection.
    const length = declaredLength(head)
    const isBounded = length !== undefined && length <= this.#maxBodySize && !expectsContinue(head)
    this.#open.http?.respond(id, isBounded ? response : { ...response, closes: true })
  }

  /** Responds with what a handler gives, or with 500 when it fails. Never rejects. */
  async #respond(exchange: Exchange<IncomingRequest>, given: Awaitable<Response>): Promise<void> {
    const { request } = exchange
    const headOnly = request.method === 'HEAD'
    try {
      await send(exchange, await given, headOnly)
    } catch (error) {
      // A handler that gave up because the client has gone, or because the body is too large, has done well.
      const hasGivenUp = (request.isAborted && error === request.signal.reason) || exchange.isTooLarge
      if (!hasGivenUp) this.#owner.handlerFailed(error)
      exchange.respond(exchange.isTooLarge ? plainResponse(413, [], headOnly) : failureResponse(error, headOnly))
    }
    exchange.settle()
  }

  #unroutable(head: RequestHead, target: Target): EngineResponse {
    const { method } = head
    const allowed = this.routes.allowed(target.path)
    if (allowed.length === 0) return this.#owner.unmatched(head, target)
    const allow = ['allow', allowed.join(', ')]
    return method === 'OPTIONS' ? emptyResponse(204, allow) : plainResponse(405, allow, method === 'HEAD')
  }
}

async function send(exchange: Exchange, response: Response, headOnly: boolean): Promise<void> {
  if (!exchange.isOpen) {
    cancelResponse(response, new DOMException('the client has gone', 'AbortError'))
    return
  }
  const read = await readResponse(response, headOnly)
  if (isInParts(read)) await exchange.stream(read)
  else exchange.respond(read)
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
