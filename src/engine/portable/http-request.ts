/** Requests as Node's parser gives them. */
import type { Buffer } from 'node:buffer'
import { IncomingMessage } from 'node:http'
import type { Socket as NetSocket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { RequestHead } from '../contract.js'
import { withoutMapping } from './proxy.js'

/**
 * Node asks each request whether it is an upgrade, and hands over the connection of an upgrade. Only a
 * request for WebSocket is an upgrade here: a client that asks for another protocol gets an HTTP response,
 * which RFC 9110 (section 7.8) allows.
 */
export class PortableRequest extends IncomingMessage {
  /** What Node has set. */
  private asksForUpgrade: boolean | null = null

  get upgrade(): boolean {
    return this.asksForUpgrade === true && (this.method === 'CONNECT' || asksForWebSocket(this.headers.upgrade))
  }

  set upgrade(value: boolean | null) {
    this.asksForUpgrade = value
  }

  /** Whether Node takes the request for an upgrade, and it is none. */
  get asksForAnotherProtocol(): boolean {
    return this.asksForUpgrade === true && !this.upgrade
  }
}

function asksForWebSocket(upgrade = ''): boolean {
  return WEBSOCKET.test(upgrade)
}

/** As an element of a list. */
const WEBSOCKET = /(?:^|,)[ \t]*websocket[ \t]*(?:,|$)/i

/**
 * Requests that Node accepts, and that must be refused: with no Host or several (RFC 9112, section 3.2;
 * HTTP/1.0 needs none); with a Transfer-Encoding other than `chunked`, which this server does not decode and
 * a proxy may read in another way, or with any Transfer-Encoding in HTTP/1.0 (section 6.1); and with a
 * Content-Length of too many digits.
 */
export function isMalformed({ rawHeaders, headers, httpVersionMinor }: IncomingMessage): boolean {
  let hosts = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === HOST.length && name.toLowerCase() === HOST) hosts += 1
  }
  const coding = headers['transfer-encoding']
  const isCodingWrong = coding !== undefined && (coding.toLowerCase() !== 'chunked' || httpVersionMinor === 0)
  const isHostWrong = hosts > 1 || (hosts === 0 && httpVersionMinor === 1)
  return isHostWrong || isCodingWrong || (headers['content-length']?.length ?? 0) > MAX_LENGTH_DIGITS
}

const HOST = 'host'
/**
 * Digits of a Content-Length, leading zeros included: as many as the native engine takes (request_body.h).
 */
const MAX_LENGTH_DIGITS = 18

/** Whether the request cannot be a handshake (RFC 6455, section 4.2.1). */
export function isNoHandshake(request: IncomingMessage): boolean {
  return request.httpVersionMinor !== 1 || hasBody(request) || isMalformed(request)
}

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

export function headOf(
  { method = '', url = '', rawHeaders, socket }: IncomingMessage,
  hasBody: boolean,
  { proxiedAddress, incoming }: { readonly proxiedAddress: string; readonly incoming?: IncomingMessage | undefined },
): RequestHead {
  const head = {
    method,
    url,
    fields: rawHeaders.reduce((fields, text, index) => fields + (index % 2 === 0 ? `${text.toLowerCase()}:` : `${text}\n`), '\n'),
    hasBody,
    remoteAddress: withoutMapping(socket.remoteAddress ?? ''),
    endpoints: `${socket.remotePort ?? 0} ${withoutMapping(socket.localAddress ?? '')} ${socket.localPort ?? 0}`,
    proxiedAddress,
  }
  return incoming === undefined ? head : { ...head, incoming }
}

/** As EngineHttp.peerCertificate. */
export function validCertificateOf(stream: NetSocket | undefined): Buffer | undefined {
  if (!(stream instanceof TLSSocket && stream.authorized)) return undefined
  const certificate = stream.getPeerX509Certificate()
  // A resumed session was verified when it began.
  const isValid = certificate !== undefined && Date.parse(certificate.validTo) > Date.now()
  return isValid ? certificate.raw : undefined
}
