/** The request for a WebSocket connection without a web-standard Request around it. */
import type { X509Certificate } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { RequestHead } from '../engine/contract.js'
import { type CertificateReader, LateFacts } from '../http/late-facts.js'
import { fieldsOf, headerOf } from '../http/request.js'
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
  readonly #late: LateFacts
  #fields: readonly [name: string, value: string][] | undefined
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
    this.#late = new LateFacts(target.search, head.endpoints, readCertificate)
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
    return this.#late.query
  }

  get origin(): string | undefined {
    return headerOf(this.#head, 'origin')
  }

  get remoteAddress(): string {
    return this.#head.remoteAddress
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
    this.#late.abort()
  }
}
