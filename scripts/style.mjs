/**
 * Checks (`--check`) or repairs (`--write`) the style of everything: Biome for TypeScript, JavaScript and
 * JSON, clang-format for C++, and the width of comments and Markdown, which is checked only. Each runs
 * whatever the others have found.
 *
 * Releases of clang-format differ in what they make of the same settings, so exactly one is asked. Where it
 * is not installed this says so and leaves the C++ sources alone; in continuous integration (CI=true) that is
 * a failure.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import process from 'node:process'
import { root } from './install/paths.mjs'
import { run, which } from './install/processes.mjs'
import { MAX_WIDTH, tooWide } from './style/prose-width.mjs'

/** The release of clang-format whose opinion counts. */
const CLANG_FORMAT_RELEASE = 14
/** Where our own C++ is. */
const CPP_FOLDERS = ['native', 'bench/load', 'bench/limit']

const [mode = ''] = process.argv.slice(2)
if (!['--check', '--write'].includes(mode)) {
  console.error('usage: style.mjs --check | --write')
  process.exit(1)
}
const write = mode === '--write'
const scriptsPass = runBiome()
const sourcesPass = runClangFormat()
const prosePasses = write || checkProse()
process.exit(scriptsPass && sourcesPass && prosePasses ? 0 : 1)

function checkProse() {
  const { ok, output } = run(['git', 'ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
  if (!ok) {
    console.error(`The width of comments and Markdown was not checked: ${output}`)
    return false
  }
  const files = output.split('\n').filter((file) => /\.(ts|mts|mjs|cpp|h|md)$/.test(file) && existsSync(join(root, file)))
  const found = files.flatMap((file) => tooWide(file, readFileSync(join(root, file), 'utf8')).map((line) => `${file}:${line}`))
  for (const place of found) console.error(`${place}: a comment or a paragraph is wider than ${MAX_WIDTH} columns`)
  if (found.length === 0) console.log(`Comments and Markdown: ${files.length} files are no wider than ${MAX_WIDTH} columns.`)
  return found.length === 0
}

function runBiome() {
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
  const args = [biome, 'check', ...(write ? ['--write'] : []), '.']
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status === 0
}

function runClangFormat() {
  const { program, tried } = findClangFormat()
  if (!program) {
    console.error(
      `clang-format ${CLANG_FORMAT_RELEASE} is missing, so the C++ sources were not ${write ? 'formatted' : 'checked'} (${tried}). ` +
        `Debian 12, Ubuntu 22.04 and 24.04: apt-get install clang-format-${CLANG_FORMAT_RELEASE}; ` +
        `elsewhere: pipx install "clang-format==${CLANG_FORMAT_RELEASE}.*", or CLANG_FORMAT=/path/to/it.`,
    )
    return !process.env.CI
  }
  const sources = CPP_FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(cpp|h)$/.test(file))
      .map((file) => join(folder, file)),
  )
  const { ok, output } = run([program, ...(write ? ['-i'] : ['--dry-run', '--Werror']), ...sources], { cwd: root })
  if (output) console.error(output)
  if (ok) console.log(`clang-format: ${sources.length} files are well formatted.`)
  else console.error('"npm run format" formats the C++ sources.')
  return ok
}

/** The program, or what was found instead. */
function findClangFormat() {
  const named = process.env.CLANG_FORMAT
  const names = named ? [named] : [`clang-format-${CLANG_FORMAT_RELEASE}`, 'clang-format']
  const tried = []
  for (const name of names) {
    const program = which(name)
    if (!program) {
      tried.push(`no ${name} on PATH`)
      continue
    }
    const { output } = run([program, '--version'])
    const [, release] = /version (\d+)\./.exec(output) ?? []
    if (Number(release) === CLANG_FORMAT_RELEASE) return { program, tried: '' }
    tried.push(`${program} is ${release ? `release ${release}` : `no clang-format: ${output.split('\n', 1)[0]}`}`)
  }
  return { tried: tried.join(', ') }
}
