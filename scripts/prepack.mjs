/**
 * Before `npm pack` and `npm publish`: the package carries dist/, made anew, and the upstream sources at the
 * pinned commits.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { root, upstreamDirectory } from './install/paths.mjs'
import { paragraphs } from './install/report.mjs'
import { findSources } from './install/sources.mjs'
import { compileTypeScript } from './install/typescript.mjs'

const sources = findSources()
if (sources.directory !== upstreamDirectory)
  fail(paragraphs(sources.missing) || 'UWEBSOCKETS_DIR is set: the package carries external/uwebsockets.')
if (sources.note) fail(sources.note)
rmSync(join(root, 'dist'), { recursive: true, force: true })
const { problem } = compileTypeScript()
if (problem) fail(problem)

/**
 * @param {string} problem
 * @returns {never}
 */
function fail(problem) {
  console.error(problem)
  process.exit(1)
}
