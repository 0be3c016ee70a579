/**
 * Connections that a server of `node:http` or `node:https` has accepted: from its `upgrade` event to an
 * engine.
 */
import { Buffer } from 'node:buffer'
import { IncomingMessage, type ServerResponse } from 'node:http'
import { Socket as NetSocket } from 'node:net'
import type { ForeignConnection } from '../engine/contract.js'
import { AdoptError, OptionError } from '../errors.js'
import { bufferOver } from '../util/bytes.js'

/** What Node keeps on a socket of its HTTP servers, and documents nowhere. */
interface HttpSocket extends NetSocket {
  /** While Node reads requests from the socket. */
  readonly parser?: object | null
  /** The response that has the socket. */
  readonly _httpMessage?: ServerResponse | null
  readonly _readableState?: { readonly ended?: boolean }
}

/** A target as it stands in a request line: what middleware may have made of it must not be another line. */
const TARGET = /^[!-\xff]+$/
const LINE_BREAK = /[\r\n]/

const A_SOCKET = 'a Socket of node:net, or of node:tls'

/** All that were adopted, by any server. */
const adopted = new WeakSet<NetSocket>()

/**
 * Hands the connection to `take`, and returns what that returns; false when the client has left, or has asked
 * for this before it had the responses to its earlier requests, and then the socket is destroyed. Throws
 * OptionError and AdoptError, and what `take` throws: for faults of the program, never for what a client can
 * do. The socket is the caller's then, with everything that can be read from it.
 */
export function adopt(
  request: unknown,
  socket: unknown,
  head: unknown,
  take: (connection: ForeignConnection) => boolean,
): boolean {
  if (!(request instanceof IncomingMessage)) throw new OptionError('request', request, 'an IncomingMessage of node:http')
  if (!(socket instanceof NetSocket)) throw new OptionError('socket', socket, A_SOCKET)
  if (!(head instanceof Uint8Array)) throw new OptionError('head', head, 'a Buffer')
  if (request.headers.upgrade === undefined) throw new OptionError('request', request, 'one that asks for an upgrade')
  if (!TARGET.test(request.url ?? '')) throw new OptionError('request.url', request.url, 'a request target')
  if (request.rawHeaders.some((text) => LINE_BREAK.test(text))) {
    throw new OptionError('request.rawHeaders', request.rawHeaders, 'without line breaks')
  }
  if (adopted.has(socket)) throw new AdoptError('it was adopted already')
  // As HttpSocket says: Node has no public way to ask.
  const { parser, _httpMessage: response, _readableState: state } = socket as HttpSocket
  const hasLeft = socket.destroyed || !socket.readable || !socket.writable || state?.ended === true
  if (!hasLeft && parser) throw new AdoptError("Node still reads requests from it: call `adopt` in a listener for 'upgrade'")
  const awaitsResponse = (response && (response.req !== request || response.headersSent)) || socket.writableLength > 0
  if (hasLeft || awaitsResponse) {
    socket.destroy()
    return false
  }
  const rest = takeRest(socket)
  let isTaken: boolean
  try {
    isTaken = take({ socket, input: Buffer.concat([headOf(request), bufferOver(head), ...rest]), incoming: request })
  } catch (error) {
    for (const chunk of rest.reverse()) socket.unshift(chunk)
    throw error
  }
  adopted.add(socket)
  // A framework that routes upgrades has made a response: nothing is to be written by it.
  response?.detachSocket(socket)
  return isTaken
}

/** Answers for a server that has closed, and ends the connection. Returns false. Throws OptionError. */
export function turnAway(socket: unknown): false {
  if (!(socket instanceof NetSocket)) throw new OptionError('socket', socket, A_SOCKET)
  if (socket.destroyed) return false
  // Nothing listens for errors any more: Node's HTTP server has let go of the socket.
  socket.on('error', () => socket.destroy())
  socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  socket.destroySoon()
  return false
}

/** What Node has read behind `head`, in the time in which the caller has made up its mind. */
function takeRest(socket: NetSocket): Buffer[] {
  keepAddresses(socket)
  socket.setTimeout(0)
  socket.removeAllListeners('data')
  socket.removeAllListeners('readable')
  socket.pause()
  const chunks: Buffer[] = []
  for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) chunks.push(chunk)
  return chunks
}

/** An engine may destroy the socket: `request.socket` goes on to know where the connection leads. */
function keepAddresses(socket: NetSocket): void {
  // Node asks for the peer's address on first use, and keeps it; of its own it forgets the answer.
  void socket.remoteAddress
  for (const name of ['localAddress', 'localPort', 'localFamily'] as const) {
    Object.defineProperty(socket, name, { value: socket[name], configurable: true })
  }
}

/** The request's head as it came, but for blanks around values. */
function headOf({ method = '', url = '', httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}
