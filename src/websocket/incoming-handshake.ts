/** The request for a WebSocket connection without a web-standard Request around it. */
import { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { RequestHead } from '../engine/contract.js'
import { endpointsOf } from '../http/addresses.js'
import { type CertificateReader, fieldsOf, headerOf } from '../http/request.js'
import type { Target } from '../http/target.js'
import type { Handshake, Params } from '../types/index.js'

/** Members that are not always needed are made on first use. */
export class IncomingHandshake implements Handshake {
  readonly params: Params<string>
  readonly protocols: readonly string[]
  declare readonly proxiedAddress?: string
  declare readonly incoming?: IncomingMessage
  readonly #head: RequestHead
  readonly #target: Target
  readonly #readCertificate: CertificateReader
  #certificate: X509Certificate | undefined
  #query: URLSearchParams | undefined
  #fields: readonly [name: string, value: string][] | undefined
  #controller: AbortController | undefined
  /** Whether the client has gone. */
  isAborted = false
  /** Cuts the connection. Undefined where no exchange can be cut. */
  cut: (() => void) | undefined

  constructor(
    head: RequestHead,
    target: Target,
    params: Params<string>,
    protocols: readonly string[],
    readCertificate: CertificateReader,
  ) {
    this.#head = head
    this.#target = target
    this.params = params
    this.protocols = protocols
    this.#readCertificate = readCertificate
    if (head.proxiedAddress !== '') this.proxiedAddress = head.proxiedAddress
    if (head.incoming !== undefined) this.incoming = head.incoming
  }

  get url(): string {
    return this.#target.url
  }

  get path(): string {
    return this.#target.path
  }

  get target(): string {
    return this.#head.url
  }

  get search(): string {
    return this.#target.search
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.search)
    return this.#query
  }

  get origin(): string | undefined {
    return headerOf(this.#head, 'origin')
  }

  get remoteAddress(): string {
    return this.#head.remoteAddress
  }

  get remotePort(): number {
    return endpointsOf(this.#head.endpoints).remotePort
  }

  get localAddress(): string {
    return endpointsOf(this.#head.endpoints).local.address
  }

  get localPort(): number {
    return endpointsOf(this.#head.endpoints).local.port
  }

  get clientCertificate(): X509Certificate | undefined {
    if (this.#certificate === undefined) {
      const der = this.#readCertificate()
      if (der !== undefined) this.#certificate = new X509Certificate(der)
    }
    return this.#certificate
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.isAborted) this.#controller.abort()
    }
    return this.#controller.signal
  }

  get fields(): readonly [name: string, value: string][] {
    this.#fields ??= fieldsOf(this.#head)
    return this.#fields
  }

  header(name: string): string | undefined {
    // An empty name would be found everywhere.
    return name === '' ? undefined : headerOf(this.#head, name.toLowerCase())
  }

  terminate(): void {
    this.cut?.()
  }

  abort(): void {
    this.isAborted = true
    this.#controller?.abort()
  }
}
