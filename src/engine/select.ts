/**
 * Chooses the engine. Native is the product; portable runs where native cannot, and `reason` always says why.
 */
import process from 'node:process'
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

/**
 * The engine asked for by the option, else by the environment, else native where it loads, else portable.
 * Throws EngineError when what was asked for cannot be loaded, and OptionError when the environment names no
 * engine.
 */
export function selectEngine(option: EngineName | undefined): SelectedEngine {
  const fromEnvironment = process.env[ENGINE_VARIABLE] || undefined
  const wanted = option ?? (fromEnvironment && checkEngineName(ENGINE_VARIABLE, fromEnvironment))
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
    return { engine: portableEngine, reason: error.message }
  }
}
