/** What is installed, and what came of it: for `doctor`, which tells a person. */

import { join } from 'node:path'
import { EngineError, OptionError } from '../errors.js'
import type { EngineName } from './contract.js'
import { loadAddon, type TlsLibrary, tlsLibraryOf } from './native/addon.js'
import { packageRoot, readManifest } from './native/package-root.js'
import { platformPackageOf, thisSystem } from './native/platform-package.js'
import { engineOfEnvironment } from './select.js'

/** The addon that a server here would load. */
export interface AddonReport {
  readonly file: string
  /** `'variable'`, `'build'`, or the name of a platform package. */
  readonly source: string
  /** Undefined for an addon that is too old to tell. */
  readonly tlsLibrary: TlsLibrary | undefined
}

export interface EngineReport {
  /** This package's version. */
  readonly version: string
  /** The platform package that fits this system; undefined where none is made. */
  readonly platformPackage: string | undefined
  /** What the environment asks for. */
  readonly asked: EngineName | undefined
  /** Why the environment cannot be followed; undefined where it can. */
  readonly problem: string | undefined
  /** The addon, or what keeps it from being loaded, with what to do. */
  readonly addon: AddonReport | string
}

/** Loads the addon, whatever engine is asked for. */
export function reportEngine(): EngineReport {
  const system = thisSystem()
  const root = packageRoot()
  const version = root === undefined ? 'unknown' : readManifest(join(root, 'package.json')).version
  const common = { version, platformPackage: system && platformPackageOf(system), addon: reportAddon() }
  try {
    return { ...common, asked: engineOfEnvironment(), problem: undefined }
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    return { ...common, asked: undefined, problem: error.message }
  }
}

function reportAddon(): AddonReport | string {
  try {
    const { addon, file, source } = loadAddon()
    return { file, source, tlsLibrary: tlsLibraryOf(addon) }
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    return error.message
  }
}
