/** The handshake's request, as `ws` gives it to its listeners: an IncomingMessage of `node:http`. */
import type { X509Certificate } from 'node:crypto'
import { IncomingMessage, type ServerResponse } from 'node:http'
import type { ServerRequest } from '../../index.js'
import { BytelessSocket } from '../byteless-socket.js'
import { warn } from '../warning.js'

const SET_COOKIE = 'set-cookie'

/** Knows where the connection leads, and carries no bytes: those are the engine's. */
export class ConnectionFacts extends BytelessSocket {
  readonly encrypted: boolean
  readonly #request: ServerRequest
  /** The server, as Node has it here and documents nowhere: programs keep what they share on it. */
  readonly server: object | undefined

  constructor(request: ServerRequest, server?: object) {
    super(request)
    this.#request = request
    this.server = server
    this.encrypted = request.url.startsWith('https:')
  }

  protected override get what(): string {
    return 'the socket of a request'
  }

  /** As in `node:tls`: whether the client has shown a certificate that an authority in `ca` has signed. */
  get authorized(): boolean | undefined {
    return this.encrypted ? this.#request.clientCertificate !== undefined : undefined
  }

  /** As in `node:tls`; empty where the client has shown none that is valid. */
  get getPeerCertificate(): (() => object) | undefined {
    return this.encrypted ? () => this.#request.clientCertificate?.toLegacyObject() ?? {} : undefined
  }

  /** As in `node:tls`. */
  get getPeerX509Certificate(): (() => X509Certificate | undefined) | undefined {
    return this.encrypted ? () => this.#request.clientCertificate : undefined
  }

  /** A process warning: the engine reads as far as the body is read. */
  override pause(): this {
    warn('pause of the socket of a request has no effect: pause the request')
    return this
  }

  override resume(): this {
    return this
  }

  /** Throws NotSupportedError. */
  override _write(_chunk: unknown, _encoding: BufferEncoding, _callback: (error?: Error | null) => void): void {
    throw this.absent('write', 'write to the response, or to the WebSocket')
  }

  /** What was written is the response, which has the connection end where that has not ended. */
  override _final(callback: (error?: Error | null) => void): void {
    callback()
    this.destroy()
  }

  static {
    // What waits is the response's. The types of Node have it as a property, which no getter may override.
    Object.defineProperty(ConnectionFacts.prototype, 'writableLength', {
      get(this: { readonly _httpMessage?: ServerResponse | null }) {
        return this._httpMessage?.writableLength ?? 0
      },
      configurable: true,
    })
  }

  /** Something has happened on the connection: the time of `setTimeout` begins anew. */
  touch(): void {
    if (this.timeout) this.setTimeout(this.timeout)
  }
}

/** Without a body, which is at its end already. */
export function incomingMessageOf(request: ServerRequest, settings?: HeadSettings): IncomingMessage {
  const message = messageHeadOf(request, settings)
  message.complete = true
  message.push(null)
  // As Node, whose types do not say so.
  Object.assign(message, { upgrade: true })
  return message
}

export interface HeadSettings {
  readonly socket?: ConnectionFacts | undefined
  /** Default: that of `node:http`. */
  readonly Class?: typeof IncomingMessage | undefined
}

/** Method, target and header fields; the body is still to come. */
export function messageHeadOf(request: ServerRequest, settings: HeadSettings = {}): IncomingMessage {
  const { socket = new ConnectionFacts(request), Class = IncomingMessage } = settings
  const message = new Class(socket)
  Object.assign(message, { upgrade: false })
  message.method = request.method
  message.url = request.target
  message.httpVersion = '1.1'
  message.httpVersionMajor = 1
  message.httpVersionMinor = 1
  const distinct: NodeJS.Dict<string[]> = {}
  for (const [name, value] of request.headers) {
    message.rawHeaders.push(name, value)
    // Of this field alone, lines are not joined.
    if (name === SET_COOKIE) message.headers[SET_COOKIE] = [...(message.headers[SET_COOKIE] ?? []), value]
    else message.headers[name] = value
    distinct[name] = [...(distinct[name] ?? []), value]
  }
  // Node would make it of lines that its parser has read.
  message.headersDistinct = distinct
  if ('trailer' in message.headers) warnOfTrailers(message)
  return message
}

/** The client announces trailers: the engine throws them away. No client can have a program fail by that. */
function warnOfTrailers(message: IncomingMessage): void {
  const { trailers, rawTrailers, trailersDistinct } = message
  for (const [name, empty] of Object.entries({ trailers, rawTrailers, trailersDistinct })) {
    Object.defineProperty(message, name, {
      get() {
        warn(`${name} of IncomingMessage is empty: no engine keeps trailers; have clients send header fields`)
        return empty
      },
      configurable: true,
    })
  }
}
