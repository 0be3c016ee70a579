/** Handlers and limits of a WebSocket route: the home of their defaults and ranges. */
import type { EngineRoute } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import type { WebSocketHandlers } from '../types.js'
import { checkBoolean, checkFunction, checkInteger, checkObject, isIntegerBetween, isPlain, MAX_INT32 } from './checks.js'

const MEBIBYTE = 1024 * 1024

/** The limits of a WebSocket route that names none. */
const ROUTE_DEFAULTS: EngineRoute = {
  maxPayloadLength: 16 * MEBIBYTE,
  maxBackpressure: 16 * MEBIBYTE,
  idleTimeout: 120,
  sendPings: true,
}

const HANDLER_NAMES = ['open', 'message', 'drain', 'ping', 'pong', 'subscription', 'close', 'error'] as const

const WEBSOCKET_OPTION_NAMES: readonly string[] = [...HANDLER_NAMES, ...Object.keys(ROUTE_DEFAULTS)]

/** Checks the handlers of a WebSocket route, and takes its limits. */
export function resolveRoute<T>(handlers: WebSocketHandlers<T>): EngineRoute {
  // The methods of a class are handlers too, and its fields are its own business: only literals are checked for names.
  const isLiteral = handlers !== null && typeof handlers === 'object' && isPlain(handlers)
  checkObject('handlers', handlers, isLiteral ? WEBSOCKET_OPTION_NAMES : undefined)
  for (const name of HANDLER_NAMES) {
    if (handlers[name] !== undefined) checkFunction(name, handlers[name])
  }
  const {
    maxPayloadLength = ROUTE_DEFAULTS.maxPayloadLength,
    maxBackpressure = ROUTE_DEFAULTS.maxBackpressure,
    idleTimeout = ROUTE_DEFAULTS.idleTimeout,
    sendPings = ROUTE_DEFAULTS.sendPings,
  } = handlers
  checkInteger('maxPayloadLength', maxPayloadLength, 1, MAX_INT32, ' bytes')
  checkInteger('maxBackpressure', maxBackpressure, 1, MAX_INT32, ' bytes')
  if (idleTimeout !== 0 && !isIntegerBetween(idleTimeout, 8, 960)) {
    throw new OptionError('idleTimeout', idleTimeout, '0 (never) or an integer from 8 to 960 seconds')
  }
  checkBoolean('sendPings', sendPings)
  return { maxPayloadLength, maxBackpressure, idleTimeout, sendPings }
}
