/** HTTP between the engines, which know flat text, and users, who know web-standard objects. */
import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { EngineResponse, RequestHead } from './engine/contract.js'
import type { Params, ServerRequest } from './types.js'

/** A request as users see it. What is costly to make is made on first use. */
export class IncomingRequest implements ServerRequest {
  readonly method: string
  readonly path: string
  readonly params: Params<string>
  readonly remoteAddress: string
  readonly #head: RequestHead
  readonly #target: Target
  readonly #scheme: string
  #query: URLSearchParams | undefined
  #headers: Headers | undefined
  #controller: AbortController | undefined
  /** Whether the client has gone. */
  isAborted = false

  constructor(head: RequestHead, target: Target, params: Params<string>, scheme: 'http' | 'https') {
    this.method = head.method
    this.path = target.path
    this.params = params
    this.remoteAddress = head.remoteAddress
    this.#head = head
    this.#target = target
    this.#scheme = scheme
  }

  get url(): string {
    // HTTP/1.0 has no Host header.
    const host = this.#target.authority ?? headerOf(this.#head, 'host') ?? 'localhost'
    return `${this.#scheme}://${host}${this.#target.path}${this.#target.search}`
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.#target.search)
    return this.#query
  }

  get headers(): Headers {
    if (this.#headers === undefined) {
      this.#headers = new Headers()
      const { headers } = this.#head
      for (let i = 0; i + 1 < headers.length; i += 2) this.#headers.append(headers[i] ?? '', headers[i + 1] ?? '')
    }
    return this.#headers
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.isAborted) this.#controller.abort()
    }
    return this.#controller.signal
  }

  abort(): void {
    this.isAborted = true
    this.#controller?.abort()
  }
}

/** A request target (RFC 9112, section 3.2). */
export interface Target {
  readonly path: string
  /** With its `?`, or empty. */
  readonly search: string
  /** Given by the absolute form only; it takes precedence over the Host header. */
  readonly authority: string | undefined
}

export function parseTarget(url: string): Target {
  const absolute = /^https?:\/\/([^/?]*)/i.exec(url)
  const rest = absolute === null ? url : url.slice(absolute[0].length)
  const queryAt = rest.indexOf('?')
  const path = queryAt === -1 ? rest : rest.slice(0, queryAt)
  return {
    path: path === '' && absolute !== null ? '/' : path,
    search: queryAt === -1 ? '' : rest.slice(queryAt),
    authority: absolute?.[1],
  }
}

/** The value of a header, repeated ones joined (RFC 9110, section 5.3). */
export function headerOf({ headers }: RequestHead, name: string): string | undefined {
  let value: string | undefined
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i] === name) value = value === undefined ? headers[i + 1] : `${value}, ${headers[i + 1]}`
  }
  return value
}

/** Whether a comma-separated header contains a token, in any case. */
function hasToken(value: string | undefined, token: string): boolean {
  return (value ?? '').split(',').some((part) => part.trim().toLowerCase() === token)
}

/** Whether the client asks for the WebSocket protocol. An Upgrade that Connection does not name is void (RFC 9110, section 7.8). */
export function isWebSocketUpgrade(head: RequestHead): boolean {
  return hasToken(headerOf(head, 'upgrade'), 'websocket') && hasToken(headerOf(head, 'connection'), 'upgrade')
}

/** Why a handshake cannot be completed (RFC 6455, section 4.2.1), or undefined when it can. */
export function refusalOf(head: RequestHead): EngineResponse | undefined {
  if (head.method !== 'GET') return plainResponse(405, ['allow', 'GET'])
  if (headerOf(head, 'sec-websocket-version') !== '13') return plainResponse(426, ['sec-websocket-version', '13', ...UPGRADE])
  // 16 bytes in Base64.
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headerOf(head, 'sec-websocket-key') ?? '')) return plainResponse(400)
  return undefined
}

const UPGRADE = ['upgrade', 'websocket']

/** The answer to an ordinary request for what is a WebSocket endpoint only. */
export function upgradeRequired(headOnly: boolean): EngineResponse {
  return plainResponse(426, UPGRADE, headOnly)
}

/** A small answer in plain text: what its status is called. */
export function plainResponse(status: number, headers: readonly string[] = [], headOnly = false): EngineResponse {
  const statusText = STATUS_CODES[status] ?? ''
  return {
    status,
    statusText,
    headers: ['content-type', 'text/plain; charset=utf-8', ...headers],
    body: new TextEncoder().encode(`${statusText}\n`),
    headOnly,
  }
}

/** Statuses whose answer has no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5). */
const BODILESS = new Set([204, 205, 304])
/** What the engine writes itself, for it owns the connection. */
const ENGINE_HEADERS = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding'])

/** Reads a web-standard Response whole. Rejects with what its body rejects with, or when it is no Response at all. */
export async function toEngineResponse(response: Response, headOnly: boolean): Promise<EngineResponse> {
  if (!isResponse(response)) throw new TypeError(`a route must answer with a Response, got ${describeType(response)}`)
  const { status } = response
  // Response.error() has status 0, and other implementations may let more through.
  const isFinal = Number.isInteger(status) && status >= 200 && status <= 599
  if (!isFinal) throw new RangeError(`a route cannot answer with status ${status}`)
  const headers: string[] = []
  for (const [name, value] of response.headers) {
    if (ENGINE_HEADERS.has(name.toLowerCase())) continue
    // Node's own Headers are checked; those of other implementations could break out of the head.
    validateHeaderName(name)
    validateHeaderValue(name, value)
    headers.push(name, value)
  }
  const statusText = response.statusText || (STATUS_CODES[status] ?? '')
  validateHeaderValue('statusText', statusText)
  const hasBody = !BODILESS.has(status) && response.body !== null
  return {
    status,
    statusText,
    headers,
    body: hasBody ? new Uint8Array(await response.arrayBuffer()) : undefined,
    headOnly,
  }
}

/** By shape rather than by class: frameworks and polyfills bring Response classes of their own. */
function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'arrayBuffer' in value
}

function describeType(value: unknown): string {
  return value === null ? 'null' : typeof value
}
