/** Requests as Node's parser gives them. */
import { IncomingMessage } from 'node:http'
import type { RequestHead } from './contract.js'
import { withoutMapping } from './portable-proxy.js'

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
  return upgrade.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket')
}

/**
 * What Node takes, and must be refused: more than one Host (RFC 9112, section 3.2), and a Transfer-Encoding
 * of which `chunked` is not the last (section 6.3), such as an empty one.
 */
export function isMalformed({ rawHeaders, headers }: IncomingMessage): boolean {
  let hosts = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]
    if (name?.length === HOST.length && name.toLowerCase() === HOST) hosts += 1
  }
  const coding = headers['transfer-encoding']
  return hosts > 1 || (coding !== undefined && !coding.toLowerCase().endsWith('chunked'))
}

const HOST = 'host'

/**
 * Whether it can be no handshake (RFC 6455, section 4.2.1). Node asks for Host too, but not where another
 * protocol is asked for.
 */
export function isNoHandshake(request: IncomingMessage): boolean {
  return request.httpVersion !== '1.1' || request.headers.host === undefined || hasBody(request) || isMalformed(request)
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
