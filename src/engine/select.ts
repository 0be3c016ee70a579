/**
 * Chooses the engine. Native is the product; portable runs where native cannot, and `reason` always says why.
 */
import process from 'node:process'
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'
import { EngineError, OptionError } from '../errors.js'
import type { Engine, EngineName } from './contract.js'
import { loadNative } from './native/engine.js'
import { portableEngine } from './portable/engine.js'

export { nodeTlsSettings } from './portable/tls-settings.js'

/** Chooses the engine where no option does. */
const ENGINE_VARIABLE = 'NATIVE_WEBSOCKET_SERVER_ENGINE'

export interface SelectedEngine {
  readonly engine: Engine
  /** Why the portable engine was chosen; undefined for native. */
  readonly reason: string | undefined
}

/** Throws OptionError unless the value of the option (or variable) names an engine. */
export function checkEngineName(option: string, value: string): EngineName {
  if (value === 'native' || value === 'portable') return value
  throw new OptionError(option, value, "'native' or 'portable'")
}

/** The engine that the environment asks for, if any. Throws OptionError when it names none. */
export function engineOfEnvironment(): EngineName | undefined {
  const named = process.env[ENGINE_VARIABLE] || undefined
  return named === undefined ? undefined : checkEngineName(ENGINE_VARIABLE, named)
}

/**
 * The engine asked for by the option, else by the environment, else native where it loads, else portable:
 * then with a process warning, once, with what brings the native one.
 * Throws EngineError when what was asked for cannot be loaded, and OptionError when the environment names no
 * engine.
 */
export function selectEngine(option: EngineName | undefined): SelectedEngine {
  const wanted = option ?? engineOfEnvironment()
  if (wanted === 'portable') {
    return {
      engine: portableEngine,
      reason: option ? "asked for by the option engine: 'portable'" : `asked for by ${ENGINE_VARIABLE}=portable`,
    }
  }
  try {
    return { engine: loadNative(), reason: undefined }
  } catch (error) {
    if (wanted === 'native' || !(error instanceof EngineError)) throw error
    warnOfFallback(error.message)
    return { engine: portableEngine, reason: error.message }
  }
}

/** `code` of the process warning: the portable engine serves, and has not been asked for. */
const FALLBACK_WARNING = 'NATIVE_WEBSOCKET_SERVER_FALLBACK'

/** Node warns once of this in a process: workers that are made later inherit the mark. */
function warnOfFallback(reason: string): void {
  if (getEnvironmentData(FALLBACK_WARNING) !== undefined) return
  setEnvironmentData(FALLBACK_WARNING, true)
  const [short = '', ...details] = reason.split('\n')
  process.emitWarning(`the portable engine serves: ${short}`, {
    type: 'EngineWarning',
    code: FALLBACK_WARNING,
    detail: [...details, `Without this warning: the option engine: 'portable', or ${ENGINE_VARIABLE}=portable.`]
      .join('\n')
      .trim(),
  })
}
