/** What of a request, or of a handshake, is costly and not always asked for: made on first use. */
import { X509Certificate } from 'node:crypto'
import { type Endpoints, endpointsOf } from './addresses.js'

/** Gives the client's certificate as DER, while the exchange has no response. */
export type CertificateReader = () => Uint8Array | undefined

export class LateFacts {
  readonly #search: string
  readonly #endpoints: string
  readonly #readCertificate: CertificateReader | undefined
  #query: URLSearchParams | undefined
  #certificate: X509Certificate | undefined
  #controller: AbortController | undefined
  /** Whether the client has gone. */
  isAborted = false

  /** `endpoints` as in RequestHead. */
  constructor(search: string, endpoints: string, readCertificate: CertificateReader | undefined) {
    this.#search = search
    this.#endpoints = endpoints
    this.#readCertificate = readCertificate
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.#search)
    return this.#query
  }

  get endpoints(): Endpoints {
    return endpointsOf(this.#endpoints)
  }

  get clientCertificate(): X509Certificate | undefined {
    if (this.#certificate === undefined) {
      const der = this.#readCertificate?.()
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

  /** The client has gone. */
  abort(): void {
    this.isAborted = true
    this.#controller?.abort()
  }
}
