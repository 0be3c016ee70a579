/** The request as users see it, made from the flat text that engines know. */
import type { RequestHead } from '../engine/contract.js'
import type { Params, ServerRequest } from '../types.js'

/** A request as users see it. What is costly to make is made on first use. */
export class IncomingRequest implements ServerRequest {
  readonly method: string
  readonly path: string
  readonly params: Params<string>
  readonly remoteAddress: string
  declare readonly proxiedAddress?: string
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
    if (head.proxiedAddress !== '') this.proxiedAddress = head.proxiedAddress
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
