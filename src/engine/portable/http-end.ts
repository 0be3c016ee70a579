/** How connections of the portable engine end behind their last response. */
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import type { HttpConnection } from './http-connection.js'

/**
 * Milliseconds for a client to read its last response, while what it still sends is thrown away. The native
 * engine has the same time.
 */
const LINGER_TIME = 10_000

/**
 * Node ends a connection right behind its last response. Where the client has sent more, that end would reset
 * the connection, and a reset can overtake the response (RFC 9112, section 9.6). So the input is thrown away
 * until the client ends its side, for LINGER_TIME at most.
 */
export function endAfterInput(connection: HttpConnection): void {
  const { stream, input } = connection
  stream.destroySoon = () => {
    connection.isLingering = true
    input.discard()
    stream.end()
    destroyLater(stream)
  }
}

/** Destroys the connection of a client that does not end its side. */
export function destroyLater(stream: NetSocket): void {
  const timer = setTimeout(() => stream.destroy(), LINGER_TIME).unref()
  stream.once('close', () => clearTimeout(timer))
}

/**
 * Node makes no response for an upgrade. This one ends the connection, since nothing reads further requests
 * from it.
 */
export function responseTo(request: IncomingMessage, stream: NetSocket): ServerResponse {
  const response = new ServerResponse(request)
  response.assignSocket(stream)
  // Not detached: the response is closed with the stream, when the kernel has taken it.
  response.once('finish', () => stream.destroySoon())
  return response
}
