/** The folder of this package, and what its package.json says. */
import { readFileSync } from 'node:fs'

/** The package's own folder. */
export const ROOT = new URL('../../../', import.meta.url)

/** What is read of package.json. */
export interface Manifest {
  readonly version: string
  /** Names of the packages that a package manager may leave out. */
  readonly optional: readonly string[]
}

/** This package's package.json. */
export function ownManifest(): Manifest {
  return readManifest(new URL('package.json', ROOT))
}

/** Throws where there is no such file, or no JSON in it. */
export function readManifest(file: URL | string): Manifest {
  const content: unknown = JSON.parse(readFileSync(file, 'utf8'))
  const { version, optionalDependencies } = Object(content)
  return { version: String(version), optional: Object.keys(Object(optionalDependencies)) }
}
