/**
 * Formats the C++ sources (`--write`) or checks them (`--check`). clang-format is the system's own: where it is not
 * installed this says so and does nothing, except in continuous integration (CI=true), where that is a failure.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { root } from './install/paths.mjs'
import { run, which } from './install/processes.mjs'

const clangFormat = which(process.env.CLANG_FORMAT ?? 'clang-format')
if (!clangFormat) {
  const remedy = 'install it (Debian, Ubuntu: apt-get install clang-format; macOS: brew install clang-format)'
  console.error(`clang-format is not installed, so the C++ sources were not checked; ${remedy}.`)
  process.exit(process.env.CI ? 1 : 0)
}
const folders = ['native', 'bench/load', 'bench/limit']
const sources = folders.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(cpp|h)$/.test(file))
    .map((file) => join(folder, file)),
)
const mode = process.argv.includes('--write') ? ['-i'] : ['--dry-run', '--Werror']
const { ok, output } = run([clangFormat, ...mode, ...sources], { cwd: root })
if (output) console.error(output)
if (!ok) {
  console.error('\n"npm run format" formats the C++ sources.')
  process.exit(1)
}
console.log(`clang-format: ${sources.length} files are well formatted.`)
