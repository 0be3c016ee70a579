/** Options of the server, of `listen` and of `close`: the home of their defaults and ranges. */

import type { Health } from '../core/health.js'
import type { EngineName, UnixAddress } from '../engine/contract.js'
import { checkEngineName } from '../engine/select.js'
import { OptionError } from '../errors.js'
import type { Backplane, BackplaneEngine, CloseOptions, ListenOptions, ServerOptions, TlsOptions } from '../types/index.js'
import { CLOSE_CODE } from '../websocket/close-codes.js'
import { checkCloseFrame } from './arguments.js'
import { checkBackplane } from './backplane.js'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkNonEmptyString,
  checkObject,
  checkPath,
  isPlain,
  MAX_INT32,
  type Names,
} from './checks.js'
import { type OriginCheck, resolveAllowedOrigins } from './origins.js'
import { resolveTls } from './tls.js'

/** Bytes: 1 MiB. */
const DEFAULT_MAX_REQUEST_BODY_SIZE = 1024 * 1024

/** Seconds: as `requestTimeout` of Node's own server. */
const DEFAULT_REQUEST_TIMEOUT = 300
/** As many milliseconds as Node counts in 32 bits. */
const MAX_REQUEST_TIMEOUT = Math.floor(MAX_INT32 / 1000)

const CLOSE_DEFAULTS = { code: CLOSE_CODE.GOING_AWAY, reason: '', timeout: 10_000 } as const

const HEALTH_PATH = '/health'

const SERVER_OPTION_NAMES: Names<ServerOptions> = [
  'engine',
  'tls',
  'proxyProtocol',
  'health',
  'maxRequestBodySize',
  'requestTimeout',
  'maxConnections',
  'maxConnectionsPerAddress',
  'allowedOrigins',
  'backplane',
  'onError',
]
const HEALTH_OPTION_NAMES: Names<Exclude<ServerOptions['health'], string | false | undefined>> = ['path', 'check', 'backplane']
const LISTEN_OPTION_NAMES: Names<ListenOptions> = ['port', 'host', 'reusePort', 'unix']
const CLOSE_OPTION_NAMES: Names<CloseOptions> = ['code', 'reason', 'timeout']

/** Server options with every default filled in. */
export interface ResolvedServerOptions {
  readonly engine: EngineName | undefined
  /** Checked in shape only: the files are read by `listen`. */
  readonly tls: readonly TlsOptions[] | undefined
  readonly proxyProtocol: boolean
  readonly health: Health | undefined
  readonly maxRequestBodySize: number
  /** Seconds; 0 for no limit. */
  readonly requestTimeout: number
  /** Infinity for no limit. */
  readonly maxConnections: number
  /** Infinity for no limit. */
  readonly maxConnectionsPerAddress: number
  readonly isAllowedOrigin: OriginCheck | undefined
  readonly backplane: BackplaneEngine | Backplane | undefined
  readonly onError: ((error: Error) => void) | undefined
}

export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  checkObject('options', options, SERVER_OPTION_NAMES)
  const { maxRequestBodySize = DEFAULT_MAX_REQUEST_BODY_SIZE, requestTimeout = DEFAULT_REQUEST_TIMEOUT } = options
  const { engine, tls, proxyProtocol = false, health, maxConnections, allowedOrigins, backplane, onError } = options
  const { maxConnectionsPerAddress } = options
  checkBoolean('proxyProtocol', proxyProtocol)
  if (backplane !== undefined) checkBackplane(backplane)
  if (onError !== undefined) checkFunction('onError', onError)
  checkInteger('maxRequestBodySize', maxRequestBodySize, 0, MAX_INT32, ' bytes')
  checkInteger('requestTimeout', requestTimeout, 0, MAX_REQUEST_TIMEOUT, ' seconds')
  if (maxConnections !== undefined) checkInteger('maxConnections', maxConnections, 1, MAX_INT32)
  if (maxConnectionsPerAddress !== undefined) {
    checkInteger('maxConnectionsPerAddress', maxConnectionsPerAddress, 1, MAX_INT32)
  }
  return {
    engine: engine === undefined ? undefined : checkEngineName('engine', engine),
    tls: tls === undefined ? undefined : resolveTls(tls),
    proxyProtocol,
    health: resolveHealth(health),
    maxRequestBodySize,
    requestTimeout,
    maxConnections: maxConnections ?? Number.POSITIVE_INFINITY,
    maxConnectionsPerAddress: maxConnectionsPerAddress ?? Number.POSITIVE_INFINITY,
    isAllowedOrigin: resolveAllowedOrigins(allowedOrigins, options),
    backplane,
    // Called as a method, so that it may use `this`.
    onError: onError?.bind(options),
  }
}

function resolveHealth(health: ServerOptions['health'] = HEALTH_PATH): Health | undefined {
  if (health === false) return undefined
  if (typeof health !== 'object' || health === null) {
    checkPath('health', health, 'false, an object or ')
    return { path: health, check: undefined, backplane: false }
  }
  // As with handlers, an object of a class may have other fields.
  checkObject('health', health, isPlain(health) ? HEALTH_OPTION_NAMES : undefined, 'health.')
  const { path = HEALTH_PATH, check, backplane = false } = health
  checkPath('health.path', path)
  checkBoolean('health.backplane', backplane)
  if (check !== undefined || !backplane) checkFunction('health.check', check)
  // Called as a method, so that it may use `this`.
  return { path, check: check?.bind(health), backplane }
}

/** Listen options with every default filled in. */
export type ResolvedListenOptions = ResolvedTcpOptions | UnixAddress

export interface ResolvedTcpOptions {
  readonly port: number
  /** Undefined when none was named: all addresses. */
  readonly host: string | undefined
  readonly reusePort: boolean
}

export function resolveListenOptions(options: ListenOptions): ResolvedListenOptions {
  checkObject('options', options, LISTEN_OPTION_NAMES)
  const { unix } = options
  if (unix !== undefined) {
    for (const name of ['port', 'host', 'reusePort'] as const) {
      if (options[name] !== undefined) throw new OptionError(name, options[name], 'left out with unix')
    }
    checkNonEmptyString('unix', unix, 'the path of a socket')
    return { unix }
  }
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
