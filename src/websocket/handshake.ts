/** Checks of the opening handshake of RFC 6455 that need only the request's head. */
import type { EngineResponse, RequestHead } from '../engine/contract.js'
import { elementsOf, headerOf } from '../http/request.js'
import { plainResponse } from '../http/response.js'
import { type Refusal, refusal } from './refusals.js'

/** Whether a comma-separated header contains a token, in any case. */
function hasToken(value: string | undefined, token: string): boolean {
  if (value === undefined) return false
  const list = value.toLowerCase()
  // Most lists have one element: compared first.
  return list === token || elementsOf(list).includes(token)
}

/**
 * Whether the client asks for the WebSocket protocol. An Upgrade field that Connection does not name has no
 * effect (RFC 9110, section 7.8).
 */
export function isWebSocketUpgrade(head: RequestHead): boolean {
  return hasToken(headerOf(head, 'upgrade'), 'websocket') && hasToken(headerOf(head, 'connection'), 'upgrade')
}

/**
 * Why a handshake is refused that cannot be completed (RFC 6455, section 4.2.1); undefined when it can.
 * Subprotocols are checked in `subprotocols.ts`, extensions in `deflate-negotiation.ts`.
 */
export function refusalOf(head: RequestHead): Refusal | undefined {
  if (head.method !== 'GET') return { reason: 'method', response: plainResponse(405, ['allow', 'GET']) }
  const version = headerOf(head, 'sec-websocket-version')
  const key = headerOf(head, 'sec-websocket-key')
  // No handshake of any version.
  if (version === undefined && key === undefined) return refusal(400, 'malformed')
  if (version !== '13') {
    return { reason: 'version', response: plainResponse(426, ['sec-websocket-version', '13', ...UPGRADE]) }
  }
  // 16 bytes in Base64.
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key ?? '')) return refusal(400, 'key')
  // The body's bytes would be taken for frames.
  if (head.hasBody) return refusal(400, 'malformed')
  return undefined
}

const UPGRADE = ['upgrade', 'websocket']

/** The response to an ordinary request for a path that has only a WebSocket route. */
export function upgradeRequired(headOnly: boolean): EngineResponse {
  return plainResponse(426, UPGRADE, headOnly)
}
