/**
 * Platform packages: each carries the addon, built, for one kind of system, and nothing that runs when it is
 * installed. `npm run build:packages` makes them; the published package names them as optional dependencies,
 * and a package manager installs the one whose `os`, `cpu` and `libc` fit.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readManifest } from './package-root.js'
import { requireFrom } from './require.js'

const PACKAGE = 'native-websocket-server'

/** The addon's file: in a platform package, and in build/Release of a package that was built where it is. */
export const ADDON_FILE = 'native_websocket_server.node'

/** A kind of system that addons are built for, in the words of package.json. */
export interface System {
  readonly os: 'darwin' | 'linux'
  readonly cpu: 'arm64' | 'x64'
  /** On Linux only: which C library. */
  readonly libc?: 'glibc' | 'musl'
}

/** The system that this process runs on; `undefined` where no platform package is made for it. */
export function thisSystem(): System | undefined {
  const { platform: os, arch: cpu } = process
  if ((os !== 'linux' && os !== 'darwin') || (cpu !== 'x64' && cpu !== 'arm64')) return undefined
  return os === 'darwin' ? { os, cpu } : { os, cpu, libc: usesMusl() ? 'musl' : 'glibc' }
}

/** For example `native-websocket-server-linux-x64-gnu`. */
export function platformPackageOf({ os, cpu, libc }: System): string {
  const parts = [PACKAGE, os, cpu]
  if (libc !== undefined) parts.push(libc === 'glibc' ? 'gnu' : 'musl')
  return parts.join('-')
}

/** What was found of the platform package: the addon's file, or why there is none. */
export type PlatformAddon =
  | { readonly name: string; readonly file: string }
  | { readonly name: string | undefined; readonly file?: undefined; readonly problem: string; readonly isLeftOut?: boolean }

/** Looks for the platform package of this system, where the package in `root` may import it from. */
export function findPlatformAddon(root: string): PlatformAddon {
  const system = thisSystem()
  if (system === undefined)
    return { name: undefined, problem: `there is no package with a built one for ${process.platform} on ${process.arch}` }
  const name = platformPackageOf(system)
  const { version, optional } = readManifest(join(root, 'package.json'))
  const manifest = resolve(root, `${name}/package.json`)
  if (manifest === undefined) {
    const isLeftOut = optional.includes(name)
    const why = isLeftOut ? ': the package manager has left it out' : ''
    return { name, isLeftOut, problem: `the package with a built one for this system, ${name}, is not installed${why}` }
  }
  const theirs = readManifest(manifest).version
  // What the addon and the TypeScript share in memory changes without notice.
  if (theirs !== version) return { name, problem: `${name} is of version ${theirs}, and must be of ${version}` }
  return { name, file: join(dirname(manifest), ADDON_FILE) }
}

function resolve(root: string, specifier: string): string | undefined {
  try {
    return requireFrom(join(root, 'package.json')).resolve(specifier)
  } catch {
    return undefined
  }
}

/** Bytes at the start of a program in which it names its loader. */
const HEAD_OF_PROGRAM = 4096

/** A Node that is linked with musl names musl's loader at its start: `/lib/ld-musl-x86_64.so.1`. */
function usesMusl(): boolean {
  const program = openSync(process.execPath, 'r')
  try {
    const head = Buffer.alloc(HEAD_OF_PROGRAM)
    return head.subarray(0, readSync(program, head)).includes('/ld-musl-')
  } finally {
    closeSync(program)
  }
}
