/** The handshake's request, as `ws` gives it to its listeners: an IncomingMessage of `node:http`. */
import { IncomingMessage } from 'node:http'
import { Socket as NetSocket } from 'node:net'
import type { ServerRequest } from '../../index.js'

/** Knows where the connection leads, and carries no bytes: those are the engine's. */
export class ConnectionFacts extends NetSocket {
  /** As in `node:tls`. */
  readonly encrypted: boolean

  constructor(request: ServerRequest) {
    super()
    const { remoteAddress, remotePort, localAddress, localPort } = request
    this.encrypted = request.url.startsWith('https:')
    for (const [name, value] of Object.entries({ remoteAddress, remotePort, localAddress, localPort })) {
      // The class of Node has getters of these names, which ask a handle that is not there.
      Object.defineProperty(this, name, { value, enumerable: true })
    }
  }
}

/** Without a body, which is at its end already. */
export function incomingMessageOf(request: ServerRequest): IncomingMessage {
  const message = messageHeadOf(request)
  message.complete = true
  message.push(null)
  return message
}

/** Method, target and header fields; the body is still to come. */
export function messageHeadOf(request: ServerRequest): IncomingMessage {
  const message = new IncomingMessage(new ConnectionFacts(request))
  message.method = request.method
  message.url = request.target
  message.httpVersion = '1.1'
  message.httpVersionMajor = 1
  message.httpVersionMinor = 1
  for (const [name, value] of request.headers) {
    message.rawHeaders.push(name, value)
    message.headers[name] = value
  }
  return message
}
