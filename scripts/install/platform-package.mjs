/** Whether a package with a built addon makes the native build unnecessary. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { isClone, root } from './paths.mjs'
import { run } from './processes.mjs'

/** `source`: build from source also where a platform package fits. */
export const BUILD_VARIABLE = 'NATIVE_WEBSOCKET_SERVER_BUILD'

/**
 * The line to print when nothing is to be built. Which package fits is the loader's judgement; a clone, which
 * may not be compiled yet, has none.
 * @returns {Promise<string | undefined>}
 */
export async function usePlatformPackage() {
  const loader = join(root, 'dist', 'engine', 'native', 'platform-package.js')
  if (isClone || !existsSync(loader) || process.env[BUILD_VARIABLE] === 'source') return undefined
  /** @type {typeof import('../../src/engine/native/platform-package.js')} */
  const { findPlatformAddon } = await import(pathToFileURL(loader).href)
  const { name, file } = findPlatformAddon(root)
  if (file === undefined) return undefined
  // In a process of its own: an addon for another C library can end the one that loads it.
  const { ok } = run([process.execPath, '-e', 'require(process.argv[1])', file])
  return ok ? `The native engine comes with ${name}; nothing was built.` : undefined
}
