/** `HttpRequest` of uWebSockets.js. */
import { type Facts, fieldsOf, headerOf, methodOf } from './facts.js'
import { type RecognizedString, textOf } from './strings.js'

/** Other than in uWebSockets.js, it may be kept: it stays valid after the handler. */
export class HttpRequest {
  readonly #request: Facts
  readonly #parameters: readonly string[]
  readonly #names: readonly string[]
  #hasYielded = false

  /** `pattern` is that of the route. */
  constructor(request: Facts, parameters: readonly string[], pattern: string) {
    this.#request = request
    this.#parameters = parameters
    this.#names = parameters.length === 0 ? [] : pattern.split('/').filter((segment) => segment.startsWith(':'))
  }

  /** The value, or empty. Repeated fields are joined. */
  getHeader(lowerCaseKey: RecognizedString): string {
    return headerOf(this.#request, textOf(lowerCaseKey)) ?? ''
  }

  /**
   * By its place in the pattern, which must have so many; as it was sent, percent-encoded. Older
   * declarations of uWebSockets.js have this form alone.
   */
  getParameter(index: number): string
  /** By its place or its name; undefined where the pattern has none such. */
  getParameter(key: number | RecognizedString): string | undefined
  getParameter(key: number | RecognizedString): string | undefined {
    return this.#parameters[typeof key === 'number' ? key : this.#names.indexOf(`:${textOf(key)}`)]
  }

  /** The path, in the form that ServerRequest's `path` has. */
  getUrl(): string {
    return this.#request.path
  }

  /** In lower case. */
  getMethod(): string {
    return methodOf(this.#request).toLowerCase()
  }

  getCaseSensitiveMethod(): string {
    return methodOf(this.#request)
  }

  /** The query as sent, without its `?`. */
  getQuery(): string
  /** One value, decoded. */
  getQuery(key: string): string | undefined
  getQuery(key?: string): string | undefined {
    return key === undefined ? this.#request.search.slice(1) : (this.#request.query.get(key) ?? undefined)
  }

  forEach(callback: (key: string, value: string) => void): void {
    for (const [name, value] of fieldsOf(this.#request)) callback(name, value)
  }

  /** True: the router goes on to the next handler that matches. */
  setYield(hasYielded: boolean): this {
    this.#hasYielded = hasYielded
    return this
  }

  static hasYielded(request: HttpRequest): boolean {
    return request.#hasYielded
  }
}
