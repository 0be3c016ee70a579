/**
 * Checks what a route's `upgrade` handler has returned: a fault must be found before the engine writes a
 * byte.
 */
import { validateHeaderName } from 'node:http'
import { OptionError } from '../errors.js'
import { addDefaultHeaders, DEFAULT_HEADERS } from '../http/default-headers.js'
import { isResponse } from '../http/response.js'
import { checkObject } from '../options/checks.js'
import { type OwnLimits, resolveOwnLimits } from '../options/websocket.js'
import type { Accept } from '../types/index.js'
import { chosenProtocol } from './subprotocols.js'

/** An accepted upgrade as engines take it. */
export interface Acceptance {
  readonly data: unknown
  /** Empty for none. */
  readonly protocol: string
  /** name, value, name, value … */
  readonly headers: readonly string[]
  /** Undefined where the route's hold. */
  readonly limits: OwnLimits | undefined
}

const ACCEPT_NAMES: readonly (keyof Accept<unknown>)[] = [
  'data',
  'protocol',
  'headers',
  'maxPayloadLength',
  'maxBackpressure',
  'compression',
]

/**
 * Headers that the engine itself writes into the response; a 101 has no content that could have a length (RFC
 * 9110, section 8.6).
 */
const OWN_HEADERS = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding', 'upgrade'])
const OWN_PREFIX = 'sec-websocket-'

/** The acceptance on a route without an `upgrade` handler. */
export const PLAIN_ACCEPTANCE: Acceptance = { data: undefined, protocol: '', headers: DEFAULT_HEADERS, limits: undefined }

/**
 * Takes the result of an `upgrade` or `handshake` handler. A Response is told by its shape (`isResponse`).
 * Throws TypeError when the result is neither a Response nor an Accept, OptionError when the protocol, a
 * header or a limit of the Accept cannot be used.
 */
export function toAcceptance(result: unknown, offered: readonly string[], route: OwnLimits): Acceptance | Response {
  if (isResponse(result)) return result
  if (typeof result !== 'object' || result === null || !('data' in result)) {
    const given = typeof result === 'object' && result !== null ? 'an object without data' : String(result)
    throw new TypeError(`upgrade must return { data, protocol?, headers? } to accept, or a Response to refuse, got ${given}`)
  }
  // Unknown members are refused, so that a result meant as a refusal never accepts a client.
  checkObject('upgrade', result, ACCEPT_NAMES)
  // The cast is safe: everything is checked below but `data`, which may be anything.
  const accept = result as Accept<unknown>
  const { data, protocol, headers } = accept
  return {
    data,
    protocol: chosenProtocol(protocol, offered),
    headers: headers === undefined ? DEFAULT_HEADERS : toHeaderList(headers),
    limits: resolveOwnLimits(accept, route),
  }
}

function toHeaderList(headers: NonNullable<Accept<unknown>['headers']>): string[] {
  const list: string[] = []
  for (const [name, values] of pairsOf(headers)) {
    checkName(name)
    for (const value of Array.isArray(values) ? values : [values]) {
      checkValue(name, value)
      list.push(name, value)
    }
  }
  return addDefaultHeaders(list)
}

function pairsOf(headers: NonNullable<Accept<unknown>['headers']>): (readonly [string, string | readonly string[]])[] {
  if (typeof headers !== 'object' || headers === null) throw new OptionError('headers', headers, 'an object')
  if (!(Symbol.iterator in headers)) return Object.entries(headers)
  const pairs = [...headers]
  const wrong: unknown = pairs.find((pair: unknown) => !Array.isArray(pair) || pair.length !== 2)
  if (wrong !== undefined) throw new OptionError('headers', wrong, 'pairs of name and value')
  return pairs
}

function checkName(name: string): void {
  const lower = String(name).toLowerCase()
  if (OWN_HEADERS.has(lower) || lower.startsWith(OWN_PREFIX)) {
    const instead = lower === 'sec-websocket-protocol' ? '; use protocol' : ''
    throw new OptionError('headers', name, `without what the server writes itself (${lower}${instead})`)
  }
  try {
    validateHeaderName(name)
  } catch {
    throw new OptionError('headers', name, 'named by tokens of RFC 9110')
  }
}

function checkValue(name: string, value: unknown): void {
  // RFC 9110, section 5.5, calls other bytes obsolete; a line break would begin another header, chosen by the
  // source of the value.
  if (typeof value !== 'string' || !/^[\t\x20-\x7e]*$/.test(value)) {
    throw new OptionError(`headers.${name}`, value, 'a string of printable ASCII characters')
  }
}
