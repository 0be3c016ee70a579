/** Checks what users give, and fills in what they leave out: the only home of every default and every range. */
import { Buffer } from 'node:buffer'
import { isAnyArrayBuffer, isUint8Array } from 'node:util/types'
import { byteLengthOf } from './bytes.js'
import type { EngineName, EngineRoute, Payload } from './engine/contract.js'
import { OptionError } from './errors.js'
import type { CloseOptions, Data, ListenOptions, ServerOptions, TlsOptions, WebSocketHandlers } from './types.js'

/** The largest value of a signed 32-bit integer: what both engines, and Node's timers, can count to. */
const MAX_INT32 = 2 ** 31 - 1

const MEBIBYTE = 1024 * 1024

/** The limits of a WebSocket route that names none. */
const ROUTE_DEFAULTS: EngineRoute = {
  maxPayloadLength: 16 * MEBIBYTE,
  maxBackpressure: 16 * MEBIBYTE,
  idleTimeout: 120,
  sendPings: true,
}

const CLOSE_DEFAULTS = { code: 1001, reason: '', timeout: 10_000 } as const

/** A control frame's payload (RFC 6455, section 5.5). */
const MAX_CONTROL_BYTES = 125
/** What the two bytes of the code leave of a Close frame for the reason. */
const MAX_REASON_BYTES = MAX_CONTROL_BYTES - 2
const MAX_TOPIC_BYTES = 65_535

const HANDLER_NAMES = ['open', 'message', 'drain', 'ping', 'pong', 'close', 'error'] as const

type Names<T> = readonly (keyof T & string)[]
const SERVER_OPTION_NAMES: Names<ServerOptions> = ['engine', 'tls', 'health', 'onError']
const TLS_OPTION_NAMES: Names<TlsOptions> = ['key', 'cert', 'keyFile', 'certFile', 'passphrase', 'ciphers', 'minVersion']
const LISTEN_OPTION_NAMES: Names<ListenOptions> = ['port', 'host', 'reusePort']
const CLOSE_OPTION_NAMES: Names<CloseOptions> = ['code', 'reason', 'timeout']
const WEBSOCKET_OPTION_NAMES: readonly string[] = [...HANDLER_NAMES, ...Object.keys(ROUTE_DEFAULTS)]

/** Server options with every default filled in. */
export interface ResolvedServerOptions {
  readonly engine: EngineName | undefined
  /** Checked in shape only: the files are read by `listen`. */
  readonly tls: TlsOptions | undefined
  readonly health: string | undefined
  readonly onError: ((error: Error) => void) | undefined
}

export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  checkObject('options', options, SERVER_OPTION_NAMES)
  const { engine, tls, health = '/health', onError } = options
  if (tls !== undefined) checkTlsOptions(tls)
  if (onError !== undefined) checkFunction('onError', onError)
  if (health !== false) checkPath('health', health, 'false or ')
  return {
    engine: engine === undefined ? undefined : checkEngineName('engine', engine),
    tls: tls && { ...tls },
    health: health === false ? undefined : health,
    // Called as a method, so that it may use `this`.
    onError: onError?.bind(options),
  }
}

export function checkEngineName(option: string, value: string): EngineName {
  if (value === 'native' || value === 'portable') return value
  throw new OptionError(option, value, "'native' or 'portable'")
}

/** Checks all but the material itself. No value of a key or passphrase gets into an error. */
function checkTlsOptions(tls: TlsOptions): void {
  checkObject('tls', tls, TLS_OPTION_NAMES)
  for (const name of ['key', 'cert'] as const) {
    const [material, file] = [tls[name], tls[`${name}File`]]
    if ((material === undefined) === (file === undefined)) {
      const given = file === undefined ? 'neither' : 'both'
      throw new OptionError(`tls.${name}`, given, `given once, as ${name} or as ${name}File`)
    }
    if (material !== undefined && typeof material !== 'string' && !(material instanceof Uint8Array)) {
      throw new OptionError(`tls.${name}`, typeof material, 'PEM text or bytes')
    }
    if (file !== undefined) checkNonEmptyString(`tls.${name}File`, file, 'the name of a file')
  }
  if (tls.passphrase !== undefined && typeof tls.passphrase !== 'string') {
    throw new OptionError('tls.passphrase', typeof tls.passphrase, 'a string')
  }
  if (tls.ciphers !== undefined) checkNonEmptyString('tls.ciphers', tls.ciphers, 'an OpenSSL cipher list')
  const { minVersion } = tls
  if (minVersion !== undefined && minVersion !== 'TLSv1.2' && minVersion !== 'TLSv1.3') {
    throw new OptionError('tls.minVersion', minVersion, "'TLSv1.2' or 'TLSv1.3'")
  }
}

/** Listen options with every default filled in. */
export interface ResolvedListenOptions {
  readonly port: number
  /** Undefined when none was named: all addresses. */
  readonly host: string | undefined
  readonly reusePort: boolean
}

export function resolveListenOptions(options: ListenOptions): ResolvedListenOptions {
  checkObject('options', options, LISTEN_OPTION_NAMES)
  const { port = 0, host, reusePort = false } = options
  checkInteger('port', port, 0, 65_535)
  if (host !== undefined) checkNonEmptyString('host', host, 'a host name or address')
  checkBoolean('reusePort', reusePort)
  return { port, host, reusePort }
}

export function resolveCloseOptions(options: CloseOptions): Required<CloseOptions> {
  checkObject('options', options, CLOSE_OPTION_NAMES)
  const { code = CLOSE_DEFAULTS.code, reason = CLOSE_DEFAULTS.reason, timeout = CLOSE_DEFAULTS.timeout } = options
  checkCloseFrame(code, reason)
  checkInteger('timeout', timeout, 0, MAX_INT32, ' milliseconds')
  return { code, reason, timeout }
}

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

/** `/`, then segments: literal, `:name`, or `*` as the last one. */
export function checkPath(option: string, path: string, alternative = ''): void {
  const expected = `${alternative}a path that begins with '/'`
  if (typeof path !== 'string' || !path.startsWith('/')) throw new OptionError(option, path, expected)
  if (/[?#]/.test(path)) throw new OptionError(option, path, `${expected}, without query or fragment`)
  const segments = path.split('/')
  const names = segments.filter((segment) => segment.startsWith(':'))
  if (names.some((name) => !/^:[A-Za-z_]\w*$/.test(name)) || new Set(names).size < names.length) {
    throw new OptionError(option, path, `${expected}, with parameters like ':room', each named once`)
  }
  if (segments.slice(0, -1).includes('*') || segments.some((segment) => segment.length > 1 && segment.includes('*'))) {
    throw new OptionError(option, path, `${expected}, with '*' only as its last segment`)
  }
}

export function checkFunction(option: string, value: unknown): void {
  if (typeof value !== 'function') throw new OptionError(option, value, 'a function')
}

export function checkTopic(topic: string): void {
  if (typeof topic === 'string' && topic.length > 0) {
    // No UTF-16 unit takes more than 3 bytes of UTF-8, so that short topics need no counting.
    if (topic.length * 3 <= MAX_TOPIC_BYTES || utf8Length(topic) <= MAX_TOPIC_BYTES) return
  }
  throw new OptionError('topic', topic, 'a string of 1 to 65,535 bytes')
}

/** Which codes an endpoint may send: RFC 6455, section 7.4, and the IANA registry for 1012 to 1014. */
export function checkCloseFrame(code: number, reason: string): void {
  const isValid = isIntegerBetween(code, 1000, 1003) || isIntegerBetween(code, 1007, 1014) || isIntegerBetween(code, 3000, 4999)
  if (!isValid) throw new OptionError('code', code, '1000 to 1003, 1007 to 1014, or 3000 to 4999')
  if (typeof reason !== 'string' || utf8Length(reason) > MAX_REASON_BYTES) {
    throw new OptionError('reason', reason, `a string of at most ${MAX_REASON_BYTES} bytes of UTF-8`)
  }
}

export function checkPingLength(data: Payload): void {
  const length = typeof data === 'string' ? utf8Length(data) : byteLengthOf(data)
  if (length > MAX_CONTROL_BYTES) throw new OptionError('data', data, `at most ${MAX_CONTROL_BYTES} bytes`)
}

/** A message as engines take it: strings and Uint8Arrays as they are, other buffers and views without a copy. */
export function toPayload(data: Data): Payload {
  if (typeof data === 'string' || isUint8Array(data)) return data
  try {
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    if (isAnyArrayBuffer(data)) return new Uint8Array(data)
  } catch {
    // Its memory was transferred to somebody else.
    throw new OptionError('data', data, 'attached to its memory')
  }
  throw new OptionError('data', data, 'a string, an ArrayBuffer or an ArrayBufferView')
}

function utf8Length(text: string): number {
  return Buffer.byteLength(text)
}

function checkObject(option: string, value: object, names: readonly string[] | undefined): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new OptionError(option, value, 'an object')
  const unknown = names && Object.keys(value).find((name) => !names.includes(name))
  if (unknown !== undefined) {
    const prefix = option === 'tls' ? 'tls.' : ''
    throw new OptionError(`${prefix}${unknown}`, unknown, `a known option (${names?.join(', ')})`)
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function checkNonEmptyString(option: string, value: string, meaning: string): void {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw new OptionError(option, value, meaning)
}

function checkBoolean(option: string, value: boolean): void {
  if (typeof value !== 'boolean') throw new OptionError(option, value, 'true or false')
}

function checkInteger(option: string, value: number, low: number, high: number, unit = ''): void {
  if (!isIntegerBetween(value, low, high)) throw new OptionError(option, value, `an integer from ${low} to ${high}${unit}`)
}

function isIntegerBetween(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high
}
