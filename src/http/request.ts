/** The request as users see it, made from the flat text that engines know. */
import type { X509Certificate } from 'node:crypto'
import type { RequestHead } from '../engine/contract.js'
import type { Params, ServerRequest } from '../types/index.js'
import { decodeUtf8 } from '../util/text.js'
import type { IncomingBody } from './body.js'
import { type CertificateReader, LateFacts } from './late-facts.js'
import type { Target } from './target.js'

/**
 * Methods that a web-standard Request refuses: its constructor is told GET, and IncomingRequest's `method`
 * says what was sent.
 */
const NOT_FOR_REQUEST = new Set(['TRACE', 'TRACK'])

type Overridden = 'bytes' | 'json' | 'method' | 'signal' | Collecting
/** Methods that collect the body. */
type Collecting = 'arrayBuffer' | 'blob' | 'formData' | 'text'

/**
 * Stands for the global Request until the first request comes. The global Request has Node load its fetch,
 * which takes 8 MB of memory and 10 GiB of addresses: a server of WebSockets alone needs no fetch.
 */
class LateRequest {}

/** Puts the global Request in the place of LateRequest. */
function linkRequest(): void {
  Object.setPrototypeOf(IncomingRequest, Request)
  Object.setPrototypeOf(IncomingRequest.prototype, Request.prototype)
}

// The types of Node describe methods and accessors as properties, which no class could override; the class
// itself has no such trouble.
const WebRequest = LateRequest as unknown as new (
  url: string,
  init: RequestInit,
) => Omit<Request, Overridden> & {
  arrayBuffer(): ReturnType<Request['arrayBuffer']>
  blob(): ReturnType<Request['blob']>
  formData(): ReturnType<Request['formData']>
  text(): ReturnType<Request['text']>
}

/**
 * A request as users see it: a web-standard Request, so that code for such requests takes this one. Members
 * that are costly and not always needed are made on first use.
 */
export class IncomingRequest extends WebRequest implements ServerRequest {
  readonly path: string
  readonly target: string
  readonly search: string
  readonly params: Params<string>
  readonly remoteAddress: string
  declare readonly proxiedAddress?: string
  readonly #method: string
  readonly #late: LateFacts
  readonly #incoming: IncomingBody | undefined
  /** Cuts the connection. Undefined where no exchange can be cut: the request was refused unseen. */
  cut: (() => void) | undefined

  /**
   * Throws TypeError when the head makes no web-standard Request: URL, method or header names are malformed.
   */
  constructor(
    head: RequestHead,
    target: Target,
    params: Params<string>,
    body?: IncomingBody,
    readCertificate?: CertificateReader,
  ) {
    const method = NOT_FOR_REQUEST.has(head.method) ? 'GET' : head.method
    const headers = fieldsOf(head)
    if (IncomingRequest.prototype instanceof LateRequest) linkRequest()
    const isReadable = body !== undefined && method !== 'GET' && method !== 'HEAD'
    super(target.url, { method, headers, ...(isReadable && { body: body.stream, duplex: 'half' }) })
    this.path = target.path
    this.target = head.url
    this.search = target.search
    this.params = params
    this.remoteAddress = head.remoteAddress
    if (head.proxiedAddress !== '') this.proxiedAddress = head.proxiedAddress
    this.#method = head.method
    this.#late = new LateFacts(target.search, head.endpoints, readCertificate)
    this.#incoming = body
  }

  get method(): string {
    return this.#method
  }

  get query(): URLSearchParams {
    return this.#late.query
  }

  get remotePort(): number {
    return this.#late.endpoints.remotePort
  }

  get localAddress(): string {
    return this.#late.endpoints.local.address
  }

  get localPort(): number {
    return this.#late.endpoints.local.port
  }

  get clientCertificate(): X509Certificate | undefined {
    return this.#late.clientCertificate
  }

  /** Whether the client has gone. */
  get isAborted(): boolean {
    return this.#late.isAborted
  }

  get signal(): AbortSignal {
    return this.#late.signal
  }

  override arrayBuffer(): ReturnType<Request['arrayBuffer']> {
    this.#collect()
    return super.arrayBuffer()
  }

  override blob(): ReturnType<Request['blob']> {
    this.#collect()
    return super.blob()
  }

  override formData(): ReturnType<Request['formData']> {
    this.#collect()
    return super.formData()
  }

  override async text(): Promise<string> {
    return decodeUtf8(await this.arrayBuffer())
  }

  async json<T = unknown>(): Promise<T> {
    // The caller says what it expects, as with fetch.
    return JSON.parse(await this.text()) as T
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await this.arrayBuffer())
  }

  terminate(): void {
    this.cut?.()
  }

  /**
   * Has the body gathered, unless the handler reads the stream itself or has cloned the request: such a
   * reader gets each chunk as it comes.
   */
  #collect(): void {
    const { body } = this
    if (body !== null && body === this.#incoming?.stream && !body.locked && !this.bodyUsed) this.#incoming.collect()
  }

  abort(): void {
    this.#late.abort()
  }
}

/**
 * What `make` returns; undefined when `make` throws, as the constructor of IncomingRequest does for a
 * malformed request.
 */
export function unlessMalformed<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}

/** All header fields, in their order. */
export function fieldsOf({ fields }: RequestHead): [name: string, value: string][] {
  const all: [string, string][] = []
  for (let start = 1; start < fields.length; ) {
    const colon = fields.indexOf(':', start)
    const end = fields.indexOf('\n', colon)
    all.push([fields.slice(start, colon), fields.slice(colon + 1, end)])
    start = end + 1
  }
  return all
}

const LINE_BREAK = 10
const COLON = 58

/**
 * The elements of a comma-separated header in which no comma is quoted. Empty elements are left out (RFC
 * 9110, section 5.6.1.2).
 */
export function elementsOf(value: string): string[] {
  return value
    .split(',')
    .map(withoutBlanks)
    .filter((element) => element !== '')
}

/**
 * The text without the blanks around it: `OWS` of RFC 9110, section 5.6.3; `trim` would remove many other
 * characters.
 */
export function withoutBlanks(text: string): string {
  let [start, end] = [0, text.length]
  while (isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

/** Space or horizontal tab. */
function isBlank(code: number): boolean {
  return code === 32 || code === 9
}

/** The value of a header, repeated ones joined (RFC 9110, section 5.3). */
export function headerOf({ fields }: RequestHead, name: string): string | undefined {
  let value: string | undefined
  for (let at = fields.indexOf(name); at !== -1; at = fields.indexOf(name, at)) {
    const isWhole = fields.charCodeAt(at - 1) === LINE_BREAK && fields.charCodeAt(at + name.length) === COLON
    at += name.length
    if (!isWhole) continue
    const more = fields.slice(at + 1, fields.indexOf('\n', at))
    value = value === undefined ? more : `${value}, ${more}`
  }
  return value
}
