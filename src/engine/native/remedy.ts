/**
 * What brings the addon where there is none, for the package manager at hand. Package managers differ in
 * whether they run install scripts, and in what makes them.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

const PACKAGE = 'native-websocket-server'

/**
 * A package manager, as far as the remedies differ; `next`: Next.js, which copies packages for `output:
 * 'standalone'`.
 */
export type PackageManager = 'clone' | 'npm' | 'pnpm' | 'yarn classic' | 'yarn' | 'next'

/**
 * The commands that build the addon, also where install scripts were refused. docs/install.md says with which
 * versions each was tried.
 */
const BUILDS: Readonly<Record<PackageManager, string>> = {
  clone: '"npm run build" builds it',
  npm: `"npm rebuild ${PACKAGE} --ignore-scripts=false" builds it (from npm 12 on, after "npm install-scripts approve ${PACKAGE}")`,
  pnpm: `"pnpm approve-builds" allows its install script and builds it (where that has nothing to approve, "pnpm rebuild ${PACKAGE}" does)`,
  'yarn classic': '"yarn install --force" without --ignore-scripts builds it',
  yarn: `"yarn rebuild ${PACKAGE}" builds it, with "dependenciesMeta": { "${PACKAGE}": { "built": true } } in package.json`,
  next: `"outputFileTracingIncludes": { "/*": ["./node_modules/${PACKAGE}/build/Release/*.node"] } in next.config takes it into the standalone output`,
}

/** The commands that bring a platform package which the package manager has left out. */
const COMPLETES: Readonly<Record<PackageManager, string>> = {
  clone: BUILDS.clone,
  npm: '"npm install --include=optional" brings it; where a package-lock.json from another system forgets it, after removing that file and node_modules',
  pnpm: '"pnpm install --force" without --no-optional brings it',
  'yarn classic': '"yarn install --force" without --ignore-optional brings it',
  yarn: '"yarn install" with supportedArchitectures for this system in .yarnrc.yml brings it',
  next: `"outputFileTracingIncludes": { "/*": ["./node_modules/${PACKAGE}-*/**"] } in next.config takes it into the standalone output`,
}

/** How the addon can be had: `leftOut` when its platform package was named, but not installed. */
export function remedy(leftOut: boolean, manager: PackageManager): string {
  const [completes, builds] = [COMPLETES[manager], BUILDS[manager]]
  if (!leftOut) return builds
  // What is asked for may be in no registry: what builds is then all there is.
  return manager === 'clone' || manager === 'next' ? completes : `${completes}; where that changes nothing, ${builds}`
}

/** What each package manager leaves in the node_modules that it has written, and Next.js beside it. */
const TRACES: readonly (readonly [trace: string, manager: PackageManager])[] = [
  ['.modules.yaml', 'pnpm'],
  ['.yarn-state.yml', 'yarn'],
  ['.yarn-integrity', 'yarn classic'],
  ['.package-lock.json', 'npm'],
  ['../.next/required-server-files.json', 'next'],
]

/** Which package manager has put the package into `folder`: npm unless something else shows. */
export function installedBy(folder: string): PackageManager {
  if (existsSync(join(folder, 'tsconfig.build.json'))) return 'clone'
  if (/[\\/](\.yarn|__virtual__)[\\/]/.test(folder)) return 'yarn'
  for (let above = dirname(folder); above !== dirname(above); above = dirname(above)) {
    const traces = TRACES.filter(([trace]) => existsSync(join(above, trace)))
    if (traces[0] !== undefined) return traces[0][1]
  }
  return 'npm'
}
