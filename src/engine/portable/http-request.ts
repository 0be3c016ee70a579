/** Requests as Node's parser gives them. */
import { IncomingMessage } from 'node:http'
import type { RequestHead } from '../contract.js'
import { withoutMapping } from './proxy.js'

/**
 * Node asks each request whether it is an upgrade, and hands over the connection of one that is. Only a
 * WebSocket is: whoever asks for another protocol is served without it, as RFC 9110 has it (section 7.8).
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
}

function asksForWebSocket(upgrade = ''): boolean {
  return WEBSOCKET.test(upgrade)
}

/** As an element of a list. */
const WEBSOCKET = /(?:^|,)[ \t]*websocket[ \t]*(?:,|$)/i

/**
 * What Node takes, and must be refused: another number of Hosts than one (RFC 9112, section 3.2; HTTP/1.0
 * needs none); a Transfer-Encoding other than `chunked`, which nobody decodes here and others may read in
 * another way, or any in HTTP/1.0 (section 6.1); and a Content-Length that is longer than any length.
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
/** Of a Content-Length, with zeros in front: as many as the native engine takes (request_body.h). */
const MAX_LENGTH_DIGITS = 18

/** Whether it can be no handshake (RFC 6455, section 4.2.1). */
export function isNoHandshake(request: IncomingMessage): boolean {
  return request.httpVersionMinor !== 1 || hasBody(request) || isMalformed(request)
}

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

export function headOf(
  { method = '', url = '', rawHeaders, socket }: IncomingMessage,
  hasBody: boolean,
  proxiedAddress: string,
): RequestHead {
  return {
    method,
    url,
    fields: rawHeaders.reduce((fields, text, index) => fields + (index % 2 === 0 ? `${text.toLowerCase()}:` : `${text}\n`), '\n'),
    hasBody,
    remoteAddress: withoutMapping(socket.remoteAddress ?? ''),
    proxiedAddress,
  }
}
