/** The handshake's request, as `ws` gives it to its listeners: an IncomingMessage of `node:http`. */
import { IncomingMessage } from 'node:http'
import { type AddressInfo, isIPv6, Socket as NetSocket } from 'node:net'
import { NotSupportedError, type ServerRequest } from '../../index.js'

const SET_COOKIE = 'set-cookie'

/** Knows where the connection leads, and carries no bytes: those are the engine's. */
export class ConnectionFacts extends NetSocket {
  /** As in `node:tls`. */
  readonly encrypted: boolean

  constructor(request: ServerRequest) {
    super()
    const { remoteAddress, remotePort, localAddress, localPort } = request
    this.encrypted = request.url.startsWith('https:')
    const remoteFamily = familyOf(remoteAddress)
    for (const [name, value] of Object.entries({ remoteAddress, remotePort, remoteFamily, localAddress, localPort })) {
      // The class of Node has getters of these names, which ask a handle that is not there.
      Object.defineProperty(this, name, { value, enumerable: true })
    }
  }

  /** Throws NotSupportedError. */
  override _write(_chunk: unknown, _encoding: BufferEncoding, _callback: (error?: Error | null) => void): void {
    throw new NotSupportedError('writing to the socket of a request', 'write to the response, or to the WebSocket')
  }

  override address(): AddressInfo | Record<string, never> {
    const { localAddress: address = '', localPort: port = 0 } = this
    return address === '' ? {} : { address, family: familyOf(address), port }
  }

  /** Something has happened on the connection: the time of `setTimeout` begins anew. */
  touch(): void {
    if (this.timeout) this.setTimeout(this.timeout)
  }
}

/** As Node names it. */
function familyOf(address: string): string {
  return isIPv6(address) ? 'IPv6' : 'IPv4'
}

/** Without a body, which is at its end already. */
export function incomingMessageOf(request: ServerRequest, socket?: ConnectionFacts): IncomingMessage {
  const message = messageHeadOf(request, socket)
  message.complete = true
  message.push(null)
  return message
}

/** Method, target and header fields; the body is still to come. */
export function messageHeadOf(request: ServerRequest, socket = new ConnectionFacts(request)): IncomingMessage {
  const message = new IncomingMessage(socket)
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
  return message
}
