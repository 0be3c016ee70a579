/** The repository's own sources as data: which files there are, and what each of them imports or includes. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A dependency of one source file. */
export interface Dependency {
  /** The importing file, relative to the repository. */
  readonly from: string
  /**
   * A file relative to the repository, or a package (`ws`), a built-in (`node:fs`), or a header in angle
   * brackets (`<napi.h>`).
   */
  readonly to: string
  /** Whether it is gone after compilation. */
  readonly typeOnly: boolean
}

/** Every file below a folder with one of these endings, relative to the repository. */
export function filesBelow(folder: string, endings: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => posix.join(folder, file))
    .filter((file) => endings.test(file) && !file.includes('node_modules'))
    .sort()
}

/** A file's content, by its path in the repository. */
export const contentOf = (file: string): string => readFileSync(join(root, file), 'utf8')

/** What a TypeScript or JavaScript file imports, re-exports and loads on demand. */
export function importsOf(file: string, content: string): Dependency[] {
  const statements = content.matchAll(/^(?:import|export)\s+(type\s+)?(?:[\w*$\s{},]+?\s+from\s+)?'([^']+)'/gm)
  const calls = content.matchAll(/\bimport\('([^']+)'\)/g)
  return [
    ...[...statements].map(([, type, to = '']) => ({ from: file, to: resolved(file, to), typeOnly: type !== undefined })),
    ...[...calls].map(([, to = '']) => ({ from: file, to: resolved(file, to), typeOnly: false })),
  ]
}

/**
 * What a C++ file includes: in quotes, found beside it or in `native/`; or in angle brackets, kept as they
 * are.
 */
export function includesOf(file: string, content: string, isThere: (file: string) => boolean): Dependency[] {
  return [...content.matchAll(/^\s*#\s*include\s+(?:"([^"]+)"|(<[^>]+>))/gm)].map(([, quoted, angled = '']) => {
    const places = quoted === undefined ? [] : [posix.join(dirname(file), quoted), posix.join('native', quoted)]
    return { from: file, to: places.find(isThere) ?? (quoted ? `"${quoted}"` : angled), typeOnly: false }
  })
}

function resolved(file: string, specifier: string): string {
  return specifier.startsWith('.') ? posix.join(dirname(file), specifier).replace(/\.js$/, '.ts') : specifier
}
