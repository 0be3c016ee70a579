/**
 * The folder of this package, and what its package.json says. In a bundle the code has left that folder: the
 * package is then looked for where the program would import it from.
 */
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { LOCATION } from './location.js'
import { requireFrom } from './require.js'

const PACKAGE = 'native-websocket-server'

/** What is read of package.json. */
export interface Manifest {
  readonly version: string
  /** Names of the packages that a package manager may leave out. */
  readonly optional: readonly string[]
}

let found: { readonly root: string | undefined } | undefined

/** The package's own folder; `undefined` in a bundle beside which the package is not installed. */
export function packageRoot(): string | undefined {
  found ??= { root: rootAround() ?? rootInstalled() }
  return found.root
}

/** Throws where there is no such file, or no JSON in it. */
export function readManifest(file: string): Manifest {
  const { version, optionalDependencies } = Object(readJson(file))
  return { version: String(version), optional: Object.keys(Object(optionalDependencies)) }
}

/** The nearest folder around this code whose package.json has this package's name. */
function rootAround(): string | undefined {
  if (LOCATION?.startsWith('file:') !== true) return undefined
  for (let folder = dirname(fileURLToPath(LOCATION)); folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json')
    if (nameIn(file) === PACKAGE) return folder
  }
  return undefined
}

/** As seen from the bundle, the program, and the folder where it was started. */
function rootInstalled(): string | undefined {
  const files = [LOCATION, process.argv[1] && resolve(process.argv[1]), join(process.cwd(), 'program.js')]
  for (const file of files) {
    try {
      if (file !== undefined && file !== '') return dirname(requireFrom(file).resolve(`${PACKAGE}/package.json`))
    } catch {
      // Not from here.
    }
  }
  return undefined
}

function nameIn(file: string): unknown {
  try {
    return Object(readJson(file)).name
  } catch {
    return undefined
  }
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'))
}
