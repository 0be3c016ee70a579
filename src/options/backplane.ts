/**
 * Options that all backplanes have, and of questions to all servers: the home of their defaults and
 * ranges.
 */
import type { BackplaneEngine, BackplaneSettings } from '../backplane/contract.js'
import { OptionError } from '../errors.js'
import type { Backplane, DisconnectTarget, EverywhereOptions } from '../types/index.js'
import { checkTopic } from './arguments.js'
import { checkBoolean, checkFunction, checkInteger, checkNonEmptyString, checkObject, MAX_INT32, type Names } from './checks.js'

/** Names of the settings that every engine takes among its options. */
export const BACKPLANE_SETTING_NAMES: Names<BackplaneSettings> = ['required', 'maxPendingBytes', 'linger']

/** 16 MiB: a second of 16,000 messages of 1 KiB. */
const DEFAULT_MAX_PENDING_BYTES = 16 * 1024 * 1024
/** Less would not hold the envelopes of one turn. */
const MIN_PENDING_BYTES = 65_536
/** Milliseconds: a page that is loaded anew subscribes again within this time. */
const DEFAULT_LINGER = 1000
/** Milliseconds. */
const DEFAULT_QUESTION_TIMEOUT = 1000

/** Throws OptionError. The names of other options are for the engine to check. */
export function resolveBackplaneSettings(options: Partial<BackplaneSettings>): BackplaneSettings {
  const { required = true, maxPendingBytes = DEFAULT_MAX_PENDING_BYTES, linger = DEFAULT_LINGER } = options
  checkBoolean('required', required)
  checkInteger('maxPendingBytes', maxPendingBytes, MIN_PENDING_BYTES, MAX_INT32, ' bytes')
  checkInteger('linger', linger, 0, MAX_INT32, ' milliseconds')
  return { required, maxPendingBytes, linger }
}

/**
 * The settings of a backplane behind `threads` have no effect: those of `threads` are the ones. Throws
 * OptionError for a setting that is neither the default nor what `threads` has.
 */
export function checkOutsideSettings(outside: BackplaneSettings, threads: BackplaneSettings): void {
  const defaults = resolveBackplaneSettings({})
  for (const name of BACKPLANE_SETTING_NAMES) {
    if (outside[name] === defaults[name] || outside[name] === threads[name]) continue
    throw new OptionError(`outside.${name}`, outside[name], 'left out: it is an option of threads() itself')
  }
}

export function checkBackplane(backplane: BackplaneEngine | Backplane): void {
  // A backplane may have other members.
  checkObject('backplane', backplane, undefined)
  for (const name of ['start', 'publish', 'close'] as const) checkFunction(`backplane.${name}`, backplane[name])
  if (!isBackplaneEngine(backplane)) return
  checkFunction('backplane.interest', backplane.interest)
  checkObject('backplane.settings', backplane.settings, undefined)
  resolveBackplaneSettings(backplane.settings)
}

/** Engines that a server has, or has had. */
const claimed = new WeakSet<BackplaneEngine>()

/**
 * For one server: with a second one, both would be up, and the first would get nothing. Throws OptionError.
 */
export function claimBackplane(engine: BackplaneEngine): void {
  if (claimed.has(engine)) {
    throw new OptionError('backplane', engine, 'made for this server: one object serves one server, also when that is closed')
  }
  claimed.add(engine)
}

export function isBackplaneEngine(backplane: BackplaneEngine | Backplane): backplane is BackplaneEngine {
  return 'interest' in backplane
}

/** The timeout in milliseconds. */
export function resolveEverywhere(options: EverywhereOptions): number {
  checkObject('options', options, ['timeout'])
  const { timeout = DEFAULT_QUESTION_TIMEOUT } = options
  checkInteger('timeout', timeout, 1, MAX_INT32, ' milliseconds')
  return timeout
}

export function checkDisconnectTarget(target: DisconnectTarget): void {
  checkObject('target', target, ['topic', 'socketId'], 'target.')
  const { topic, socketId } = target
  if ((topic === undefined) === (socketId === undefined)) {
    throw new OptionError('target', target, 'an object with either topic or socketId')
  }
  if (topic !== undefined) checkTopic(topic)
  if (socketId !== undefined) checkNonEmptyString('target.socketId', socketId, 'the id of a socket')
}

/** What brokers are asked for. */
export interface BrokerOptions {
  readonly delivery: 'at-most-once' | 'replayed'
  /** Milliseconds. */
  readonly retention: number
  /** Milliseconds. */
  readonly pingTimeout: number
}

/** Milliseconds: longer than a broker takes to be started anew, or a host to come back. */
const DEFAULT_RETENTION = 60_000
/** Milliseconds: a broker that is under load has replied by then. */
const DEFAULT_PING_TIMEOUT = 2000

/** Throws OptionError. */
export function resolveBrokerOptions(options: Partial<BrokerOptions>): BrokerOptions {
  const { delivery = 'at-most-once', retention = DEFAULT_RETENTION, pingTimeout = DEFAULT_PING_TIMEOUT } = options
  if (delivery !== 'at-most-once' && delivery !== 'replayed') {
    throw new OptionError('delivery', delivery, "'at-most-once' or 'replayed'")
  }
  checkInteger('retention', retention, 1000, MAX_INT32, ' milliseconds')
  checkInteger('pingTimeout', pingTimeout, 100, MAX_INT32, ' milliseconds')
  return { delivery, retention, pingTimeout }
}
