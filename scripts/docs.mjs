/**
 * Writes the reference by symbol into docs/api.md, between its two markers, from the docstrings of what the
 * package exports. What is outside of the markers is written by hand. Exits 1 when something public has no
 * docstring.
 *
 * It reads the declarations in dist/, and therefore compiles src/ first. `--check` does not, and changes
 * nothing: it fails when the page is not up to date with dist/, which tests run beside others that use it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { apiReference } from './docs/api.mjs'
import { root } from './install/paths.mjs'
import { compileTypeScript } from './install/typescript.mjs'

const page = join(root, 'docs', 'api.md')
const BEGIN = '<!-- From here on written by "npm run docs", from the docstrings in src/. -->'
const END = '<!-- To here. -->'

const isCheck = process.argv.includes('--check')
const { problem } = isCheck ? {} : compileTypeScript()
const { markdown, problems } = apiReference(join(root, 'dist'))
if (problem) problems.unshift(problem)
const before = readFileSync(page, 'utf8')
const [begin, end] = [before.indexOf(BEGIN), before.indexOf(END)]
if (begin < 0 || end < begin) problems.push(`${page} lacks a marker: ${BEGIN} or ${END}`)
else {
  const after = `${before.slice(0, begin)}${BEGIN}\n\n${markdown}\n\n${before.slice(end)}`
  if (!isCheck) writeFileSync(page, after)
  else if (after !== before) problems.push('docs/api.md is not what the docstrings say: run "npm run docs".')
}
for (const each of problems) console.error(each)
process.exit(problems.length > 0 ? 1 : 0)
