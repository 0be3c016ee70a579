/** Checks of the options of pages, and their defaults. */
import { OptionError } from '../errors.js'
import type { ConsolePageOptions, MetricsPageOptions, PageOptions } from '../types/index.js'
import { checkBoolean, checkFunction, checkObject, type Names } from './checks.js'

const METRICS_OPTION_NAMES: Names<MetricsPageOptions> = ['allow', 'prefix', 'process']

const DEFAULT_PREFIX = 'websocket_server_'
/** The names of Prometheus, without the colon, which is for rules. */
const PREFIX = /^[A-Za-z_][A-Za-z0-9_]*$/

export interface ResolvedMetricsPage extends PageOptions {
  readonly prefix: string
  readonly process: boolean
}

export function resolveConsolePage(options: ConsolePageOptions): PageOptions {
  checkObject('options', options, ['allow'] satisfies Names<ConsolePageOptions>)
  return resolveAllow(options)
}

export function resolveMetricsPage(options: MetricsPageOptions): ResolvedMetricsPage {
  checkObject('options', options, METRICS_OPTION_NAMES)
  const { prefix = DEFAULT_PREFIX, process = true } = options
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) {
    throw new OptionError('prefix', prefix, 'letters, digits and _, not a digit first')
  }
  checkBoolean('process', process)
  return { ...resolveAllow(options), prefix, process }
}

function resolveAllow(options: PageOptions): PageOptions {
  const { allow } = options
  if (allow === undefined) return {}
  checkFunction('allow', allow)
  // Called as a method, so that it may use `this`.
  return { allow: allow.bind(options) }
}
