/** Handlers and limits of a WebSocket route: the home of their defaults and ranges. */
import type { ConnectionLimits, EngineRoute } from '../engine/contract.js'
import { OptionError } from '../errors.js'
import type {
  Accept,
  Data,
  DrainedOptions,
  PingOptions,
  RateLimit,
  SendStreamOptions,
  WebSocketHandlers,
} from '../types/index.js'
import type { RateLimitSettings } from '../websocket/rate-limit.js'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkObject,
  isIntegerBetween,
  isPlain,
  MAX_INT32,
  type Names,
} from './checks.js'
import { resolveCompression, resolveOwnCompression } from './compression.js'

const MEBIBYTE = 1024 * 1024

/** The options of `Socket.sendStream`, checked. */
export interface StreamSettings {
  /** Undefined: the first chunk decides. */
  readonly binary: boolean | undefined
  readonly compress: boolean | undefined
  readonly signal: AbortSignal | undefined
}

/** The limits of a WebSocket route that names none. */
const ROUTE_DEFAULTS: Omit<
  ResolvedRoute,
  'maxFragmentLength' | 'reportDrops' | 'pingInterval' | 'textAsBytes' | 'detachMessages'
> = {
  maxPayloadLength: 16 * MEBIBYTE,
  maxBackpressure: 16 * MEBIBYTE,
  idleTimeout: 120,
  sendPings: true,
  autoPong: true,
  closeOnBackpressureLimit: false,
  lendMessages: false,
  rateLimit: undefined,
  compression: undefined,
}

/** What a route is made of besides its handlers. */
export interface ResolvedRoute extends EngineRoute {
  readonly closeOnBackpressureLimit: boolean
  /** As ConnectionEvents has it. */
  readonly detachMessages: boolean
  /** Whether Pings are answered for the program. */
  readonly autoPong: boolean
  /** Seconds; undefined where no Pings but those before the idle timeout are asked for. */
  readonly pingInterval: number | undefined
  /** Undefined for none. */
  readonly rateLimit: RateLimitSettings | undefined
}

/** Seconds of `rateLimit` and `sendPings`: what timers can tell apart, and a day. */
const MIN_SECONDS = 0.01
const MAX_SECONDS = 86_400

/**
 * Bytes: so many that the cost of a fragment does not matter, and so few that each client can have as many in
 * memory.
 */
const MAX_FRAGMENT_LENGTH = 64 * 1024

const STREAM_OPTION_NAMES: Names<SendStreamOptions> = ['binary', 'compress', 'signal']
const DRAINED_OPTION_NAMES: Names<DrainedOptions> = ['threshold', 'signal']
const PING_OPTION_NAMES: Names<PingOptions> = ['interval']
const RATE_LIMIT_NAMES: Names<RateLimit> = ['messages', 'bytes', 'seconds', 'action']

const HANDLER_NAMES = [
  'upgrade',
  'handshake',
  'open',
  'message',
  'drain',
  'dropped',
  'ping',
  'pong',
  'subscription',
  'close',
  'error',
] as const

const WEBSOCKET_OPTION_NAMES: readonly string[] = [...HANDLER_NAMES, ...Object.keys(ROUTE_DEFAULTS), 'text', 'maxLifetime']

/** Checks the handlers of a WebSocket route, and takes its limits. */
export function resolveRoute<T, P extends string>(handlers: WebSocketHandlers<T, P>): ResolvedRoute {
  // An object of a class may have handlers as methods, and other fields: only the names in an object literal
  // are checked.
  const isLiteral = handlers !== null && typeof handlers === 'object' && isPlain(handlers)
  checkObject('handlers', handlers, isLiteral ? WEBSOCKET_OPTION_NAMES : undefined)
  for (const name of HANDLER_NAMES) {
    if (handlers[name] !== undefined) checkFunction(name, handlers[name])
  }
  if (handlers.upgrade !== undefined && handlers.handshake !== undefined) {
    throw new OptionError('handshake', handlers.handshake, 'left out where there is an upgrade handler')
  }
  const {
    maxPayloadLength = ROUTE_DEFAULTS.maxPayloadLength,
    maxBackpressure = ROUTE_DEFAULTS.maxBackpressure,
    idleTimeout = ROUTE_DEFAULTS.idleTimeout,
    sendPings = ROUTE_DEFAULTS.sendPings,
    autoPong = ROUTE_DEFAULTS.autoPong,
    closeOnBackpressureLimit = ROUTE_DEFAULTS.closeOnBackpressureLimit,
    lendMessages = ROUTE_DEFAULTS.lendMessages,
    rateLimit,
    compression = false,
  } = handlers
  checkInteger('maxPayloadLength', maxPayloadLength, 1, MAX_INT32, ' bytes')
  checkInteger('maxBackpressure', maxBackpressure, 1, MAX_INT32, ' bytes')
  if (idleTimeout !== 0 && !isIntegerBetween(idleTimeout, 8, 960)) {
    throw new OptionError('idleTimeout', idleTimeout, '0 (never) or an integer from 8 to 960 seconds')
  }
  checkBoolean('closeOnBackpressureLimit', closeOnBackpressureLimit)
  checkBoolean('autoPong', autoPong)
  return {
    maxPayloadLength,
    maxBackpressure,
    idleTimeout,
    ...resolvePings(sendPings),
    autoPong,
    closeOnBackpressureLimit,
    rateLimit: rateLimit === undefined ? undefined : resolveRateLimit(rateLimit),
    textAsBytes: resolveText(handlers.text),
    ...resolveLending(lendMessages),
    maxFragmentLength: fragmentLengthFor(maxBackpressure),
    reportDrops: closeOnBackpressureLimit || handlers.dropped !== undefined,
    compression: compression === false ? undefined : resolveCompression(compression),
  }
}

const fragmentLengthFor = (maxBackpressure: number) => Math.min(MAX_FRAGMENT_LENGTH, Math.ceil(maxBackpressure / 2))

/** What may be limited further for one connection than its route does. */
export type OwnLimits = ConnectionLimits & Pick<EngineRoute, 'compression'>

/**
 * The limits that an `upgrade` handler has given to one client; undefined when it has given none. Throws
 * OptionError when one of them is no limit, or larger than the route's.
 */
export function resolveOwnLimits(
  given: Pick<Accept<unknown>, 'maxPayloadLength' | 'maxBackpressure' | 'compression'>,
  route: OwnLimits,
): OwnLimits | undefined {
  const { maxPayloadLength = route.maxPayloadLength, maxBackpressure = route.maxBackpressure, compression } = given
  if (given.maxPayloadLength === undefined && given.maxBackpressure === undefined && compression === undefined) return undefined
  checkInteger('maxPayloadLength', maxPayloadLength, 1, route.maxPayloadLength, " bytes, the route's limit")
  checkInteger('maxBackpressure', maxBackpressure, 1, route.maxBackpressure, " bytes, the route's limit")
  return {
    maxPayloadLength,
    maxBackpressure,
    maxFragmentLength: fragmentLengthFor(maxBackpressure),
    compression: compression === undefined ? route.compression : resolveOwnCompression(compression, route.compression),
  }
}

function resolveLending(lend: boolean | 'detach'): Pick<ResolvedRoute, 'lendMessages' | 'detachMessages'> {
  if (typeof lend !== 'boolean' && lend !== 'detach') throw new OptionError('lendMessages', lend, "true, false or 'detach'")
  return { lendMessages: lend === true, detachMessages: lend === 'detach' }
}

/** Whether handlers get text as bytes. */
function resolveText(text: 'string' | 'buffer' = 'string'): boolean {
  if (text !== 'string' && text !== 'buffer') throw new OptionError('text', text, "'string' or 'buffer'")
  return text === 'buffer'
}

/**
 * With Pings in an interval, the Ping before the idle timeout is sent too, since the idle timeout may strike
 * before the interval is over.
 */
function resolvePings(sendPings: boolean | PingOptions): Pick<ResolvedRoute, 'sendPings' | 'pingInterval'> {
  if (typeof sendPings === 'boolean') return { sendPings, pingInterval: undefined }
  if (typeof sendPings !== 'object' || sendPings === null) {
    throw new OptionError('sendPings', sendPings, 'a boolean or an object with an interval')
  }
  checkObject('sendPings', sendPings, PING_OPTION_NAMES, 'sendPings.')
  checkSeconds('sendPings.interval', sendPings.interval)
  return { sendPings: true, pingInterval: sendPings.interval }
}

function checkSeconds(option: string, seconds: number): void {
  // For NaN neither comparison holds.
  if (typeof seconds !== 'number' || !(seconds >= MIN_SECONDS && seconds <= MAX_SECONDS)) {
    throw new OptionError(option, seconds, `a number from ${MIN_SECONDS} to ${MAX_SECONDS}`)
  }
}

function resolveRateLimit(rateLimit: RateLimit): RateLimitSettings {
  checkObject('rateLimit', rateLimit, RATE_LIMIT_NAMES, 'rateLimit.')
  const { messages, bytes, seconds, action } = rateLimit
  if (messages !== undefined) checkInteger('rateLimit.messages', messages, 1, MAX_INT32)
  if (bytes !== undefined) checkInteger('rateLimit.bytes', bytes, 1, MAX_INT32)
  if (messages === undefined && bytes === undefined) {
    throw new OptionError('rateLimit.messages', undefined, 'given, or bytes, or both')
  }
  checkSeconds('rateLimit.seconds', seconds)
  if (action !== 'pause' && action !== 'close') throw new OptionError('rateLimit.action', action, "'pause' or 'close'")
  return {
    messages: messages ?? Number.POSITIVE_INFINITY,
    bytes: bytes ?? Number.POSITIVE_INFINITY,
    window: seconds * 1000,
    closes: action === 'close',
  }
}

/** In seconds; 0, the default, is never. The upper limit is the largest number that µWebSockets counts to. */
export function resolveMaxLifetime<T, P extends string>({ maxLifetime = 0 }: WebSocketHandlers<T, P>): number {
  if (maxLifetime !== 0 && !isIntegerBetween(maxLifetime, 60, 14_400)) {
    throw new OptionError('maxLifetime', maxLifetime, '0 (never) or an integer from 60 to 14400 seconds')
  }
  return maxLifetime
}

/** Options of `Socket.drained`. */
export function resolveDrained(options: DrainedOptions): { threshold: number; signal: AbortSignal | undefined } {
  checkObject('options', options, DRAINED_OPTION_NAMES)
  const { threshold = 0, signal } = options
  checkInteger('threshold', threshold, 0, MAX_INT32, ' bytes')
  if (signal !== undefined) checkSignal(signal)
  return { threshold, signal }
}

export function checkSource(source: AsyncIterable<Data>): void {
  const isIterable = typeof source === 'object' && source !== null && typeof source[Symbol.asyncIterator] === 'function'
  if (!isIterable) throw new OptionError('source', source, 'an async iterable')
}

/** Options of `Socket.sendStream`. */
export function resolveStream(options: SendStreamOptions): StreamSettings {
  checkObject('options', options, STREAM_OPTION_NAMES)
  const { binary, compress, signal } = options
  if (binary !== undefined) checkBoolean('binary', binary)
  if (compress !== undefined) checkBoolean('compress', compress)
  if (signal !== undefined) checkSignal(signal)
  return { binary, compress, signal }
}

function checkSignal(signal: AbortSignal): void {
  if (!(signal instanceof AbortSignal)) throw new OptionError('signal', signal, 'an AbortSignal')
}
