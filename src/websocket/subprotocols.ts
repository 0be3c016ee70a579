/**
 * Subprotocols (RFC 6455, section 1.9): those that a client offers in Sec-WebSocket-Protocol, and the one
 * that an `upgrade` handler chooses of them.
 */
import type { RequestHead } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import { elementsOf, headerOf } from '../http/request.js'

/** A token (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/

/**
 * The subprotocols that the client offers, in its order: none without the header, undefined when the header
 * is no list of tokens, or names a subprotocol twice (RFC 6455, section 4.1).
 */
export function offeredProtocols(head: RequestHead): string[] | undefined {
  const value = headerOf(head, 'sec-websocket-protocol')
  if (value === undefined) return []
  const offered = elementsOf(value)
  const isList = offered.length > 0 && offered.every((element) => TOKEN.test(element))
  return isList && new Set(offered).size === offered.length ? offered : undefined
}

/**
 * What the response says: the subprotocol that a handler has chosen, empty for none. Throws OptionError when
 * the client has not offered it.
 */
export function chosenProtocol(chosen: string | undefined, offered: readonly string[]): string {
  if (chosen === undefined) return ''
  if (offered.includes(chosen)) return chosen
  const expected =
    offered.length > 0 ? `one that the client offered (${offered.join(', ')})` : 'left out, since the client offered none'
  throw new OptionError('protocol', chosen, expected)
}
