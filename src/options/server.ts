/** Options of the server, of `listen` and of `close`: the home of their defaults and ranges. */

import type { Health } from '../core/health.js'
import type { DescriptorAddress, EngineName, UnixAddress } from '../engine/contract.js'
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
  isIntegerBetween,
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

const CLOSE_DEFAULTS = { code: CLOSE_CODE.GOING_AWAY, reason: '', timeout: 10_000, drain: false } as const
/** Milliseconds for `drain: true`: HAProxy asks every 2 seconds, and wants 3 failures. */
const DRAIN_TIME = 10_000

const HEALTH_PATH = '/health'
/** Behind the health path. */
const LIVE_SUFFIX = '/live'

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
const HEALTH_OPTION_NAMES: Names<Exclude<ServerOptions['health'], string | false | undefined>> = [
  'path',
  'live',
  'check',
  'backplane',
]
const LISTEN_OPTION_NAMES: Names<ListenOptions> = ['port', 'host', 'reusePort', 'unix', 'fd']
const CLOSE_OPTION_NAMES: Names<CloseOptions> = ['code', 'reason', 'timeout', 'drain']

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
    return { path: health, live: livePathOf(health), check: undefined, backplane: false }
  }
  // As with handlers, an object of a class may have other fields.
  checkObject('health', health, isPlain(health) ? HEALTH_OPTION_NAMES : undefined, 'health.')
  const { path = HEALTH_PATH, check, backplane = false } = health
  checkPath('health.path', path)
  const { live = livePathOf(path) } = health
  if (live !== false) checkPath('health.live', live, 'false, or ')
  checkBoolean('health.backplane', backplane)
  if (check !== undefined) checkFunction('health.check', check)
  // Called as a method, so that it may use `this`.
  return { path, live: live === false ? undefined : live, check: check?.bind(health), backplane }
}

function livePathOf(path: string): string {
  return `${path.replace(/\/$/, '')}${LIVE_SUFFIX}`
}

/** Listen options with every default filled in. */
export type ResolvedListenOptions = ResolvedTcpOptions | UnixAddress | DescriptorAddress

export interface ResolvedTcpOptions {
  readonly port: number
  /** Undefined when none was named: all addresses. */
  readonly host: string | undefined
  readonly reusePort: boolean
}

/** One or several: at least one. */
export function resolveListenOptions(options: ListenOptions | readonly ListenOptions[]): ResolvedListenOptions[] {
  if (!isList(options)) return [resolveAddress(options)]
  if (options.length === 0) throw new OptionError('options', options, 'an address or a list of addresses that is not empty')
  return options.map(resolveAddress)
}

/** As `Array.isArray`, which TypeScript does not take for lists that are read-only. */
function isList(options: ListenOptions | readonly ListenOptions[]): options is readonly ListenOptions[] {
  return Array.isArray(options)
}

function resolveAddress(options: ListenOptions): ResolvedListenOptions {
  checkObject('options', options, LISTEN_OPTION_NAMES)
  const { unix, fd } = options
  if (fd !== undefined) {
    for (const name of ['port', 'host', 'reusePort', 'unix'] as const) {
      if (options[name] !== undefined) throw new OptionError(name, options[name], 'left out with fd')
    }
    checkInteger('fd', fd, 0, MAX_INT32)
    return { fd }
  }
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

/** Close options with every default filled in. */
export interface ResolvedCloseOptions extends Required<CloseOptions> {
  /** Milliseconds; 0 for none. */
  readonly drain: number
}

export function resolveCloseOptions(options: CloseOptions): ResolvedCloseOptions {
  checkObject('options', options, CLOSE_OPTION_NAMES)
  const { code = CLOSE_DEFAULTS.code, reason = CLOSE_DEFAULTS.reason } = options
  const { timeout = CLOSE_DEFAULTS.timeout, drain = CLOSE_DEFAULTS.drain } = options
  checkCloseFrame(code, reason)
  checkInteger('timeout', timeout, 0, MAX_INT32, ' milliseconds')
  if (typeof drain === 'boolean') return { code, reason, timeout, drain: drain ? DRAIN_TIME : 0 }
  if (!isIntegerBetween(drain, 0, MAX_INT32)) {
    throw new OptionError('drain', drain, `true, false, or an integer from 0 to ${MAX_INT32} milliseconds`)
  }
  return { code, reason, timeout, drain }
}
