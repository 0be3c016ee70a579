/** `DeclarativeResponse` of uWebSockets.js: a response that is said once, in place of a handler. */
import { Buffer } from 'node:buffer'
import type { HttpRequest } from './request.js'
import type { HttpResponse } from './response.js'
import { bufferOf, type RecognizedString, textOf } from './strings.js'

/** A piece of the body. */
type Piece = (request: HttpRequest, body: Uint8Array) => RecognizedString

/** What the engine can count to: the body of the request is collected whole. */
const MAX_BODY = 2 ** 31 - 1

const NOTHING = new Uint8Array()

/** The pieces of a body leave as one, with their length. What `end` returns is a handler like any other. */
export class DeclarativeResponse {
  readonly #headers: [name: string, value: string][] = []
  readonly #pieces: Piece[] = []
  #status: string | undefined
  #hasBody = false

  /** For example `404 Not Found`. */
  writeStatus(status: RecognizedString): this {
    this.#status = textOf(status)
    return this
  }

  writeHeader(key: RecognizedString, value: RecognizedString): this {
    this.#headers.push([textOf(key), textOf(value)])
    return this
  }

  /** A value of the query, decoded; nothing where there is none. */
  writeQueryValue(key: RecognizedString): this {
    return this.#add((request) => request.getQuery(textOf(key)) ?? '')
  }

  /** A field of the request; nothing where there is none. */
  writeHeaderValue(lowerCaseKey: RecognizedString): this {
    return this.#add((request) => request.getHeader(lowerCaseKey))
  }

  /** A parameter of the pattern, by its name; nothing where there is none. */
  writeParameterValue(key: RecognizedString): this {
    return this.#add((request) => request.getParameter(key) ?? '')
  }

  /** The body of the request. */
  writeBody(): this {
    this.#hasBody = true
    return this.#add((_request, body) => body)
  }

  write(value: RecognizedString): this {
    return this.#add(() => value)
  }

  /** What a route takes in place of a handler. */
  end(value: RecognizedString = ''): (response: HttpResponse, request: HttpRequest) => void {
    this.write(value)
    return (response, request) => {
      if (this.#hasBody) response.collectBody(MAX_BODY, (body) => this.#respond(response, request, new Uint8Array(body ?? [])))
      else this.#respond(response, request, NOTHING)
    }
  }

  #add(piece: Piece): this {
    this.#pieces.push(piece)
    return this
  }

  #respond(response: HttpResponse, request: HttpRequest, body: Uint8Array): void {
    if (this.#status !== undefined) response.writeStatus(this.#status)
    for (const [name, value] of this.#headers) response.writeHeader(name, value)
    response.end(Buffer.concat(this.#pieces.map((piece) => bufferOf(piece(request, body)))))
  }
}
