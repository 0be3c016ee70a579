/** Options of the server, of `listen` and of `close`: the home of their defaults and ranges. */
import type { EngineName } from '../engine/contract.js'
import { checkEngineName } from '../engine/index.js'
import { OptionError } from '../errors.js'
import type { Health } from '../health.js'
import type { Backplane, CloseOptions, ListenOptions, ServerOptions, TlsOptions } from '../types.js'
import { checkCloseFrame } from './arguments.js'
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

const CLOSE_DEFAULTS = { code: 1001, reason: '', timeout: 10_000 } as const

const HEALTH_PATH = '/health'

const SERVER_OPTION_NAMES: Names<ServerOptions> = [
  'engine',
  'tls',
  'health',
  'maxConnections',
  'allowedOrigins',
  'backplane',
  'onError',
]
const HEALTH_OPTION_NAMES: Names<Exclude<ServerOptions['health'], string | false | undefined>> = ['path', 'check']
const TLS_OPTION_NAMES: Names<TlsOptions> = ['key', 'cert', 'keyFile', 'certFile', 'passphrase', 'ciphers', 'minVersion']
const LISTEN_OPTION_NAMES: Names<ListenOptions> = ['port', 'host', 'reusePort']
const CLOSE_OPTION_NAMES: Names<CloseOptions> = ['code', 'reason', 'timeout']

/** Server options with every default filled in. */
export interface ResolvedServerOptions {
  readonly engine: EngineName | undefined
  /** Checked in shape only: the files are read by `listen`. */
  readonly tls: TlsOptions | undefined
  readonly health: Health | undefined
  /** Infinity for no limit. */
  readonly maxConnections: number
  readonly isAllowedOrigin: OriginCheck | undefined
  readonly backplane: Backplane | undefined
  readonly onError: ((error: Error) => void) | undefined
}

export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  checkObject('options', options, SERVER_OPTION_NAMES)
  const { engine, tls, health, maxConnections, allowedOrigins, backplane, onError } = options
  if (tls !== undefined) checkTlsOptions(tls)
  if (backplane !== undefined) checkBackplane(backplane)
  if (onError !== undefined) checkFunction('onError', onError)
  if (maxConnections !== undefined) checkInteger('maxConnections', maxConnections, 1, MAX_INT32)
  return {
    engine: engine === undefined ? undefined : checkEngineName('engine', engine),
    tls: tls && { ...tls },
    health: resolveHealth(health),
    maxConnections: maxConnections ?? Number.POSITIVE_INFINITY,
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
    return { path: health, check: undefined }
  }
  // As with handlers: an object of a class may have fields of its own.
  checkObject('health', health, isPlain(health) ? HEALTH_OPTION_NAMES : undefined)
  const { path = HEALTH_PATH, check } = health
  checkPath('health.path', path)
  checkFunction('health.check', check)
  // Called as a method, so that it may use `this`.
  return { path, check: check.bind(health) }
}

function checkBackplane(backplane: Backplane): void {
  // Its other members are its own business.
  checkObject('backplane', backplane, undefined)
  for (const name of ['start', 'publish', 'close'] as const) checkFunction(`backplane.${name}`, backplane[name])
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
