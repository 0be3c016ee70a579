/**
 * Compiles src/ to dist/ in a clone: the npm package carries dist/ ready made, with src/ only for its source
 * maps to point to.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { finishCommonJs } from './commonjs.mjs'
import { inlineConsolePage } from './console-page.mjs'
import { isClone, root } from './paths.mjs'
import { run } from './processes.mjs'

/**
 * `done` is worth a line; `problem` is a failure.
 * @returns {{ done?: string, problem?: string }}
 */
export function compileTypeScript() {
  if (!isClone) return {}
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  if (!existsSync(compiler)) {
    if (existsSync(join(root, 'dist', 'index.js'))) return { done: 'TypeScript is not installed; dist/ stays as it is.' }
    return {
      problem:
        'TypeScript is not installed, so that src/ cannot be compiled: run "npm install" with the development dependencies.',
    }
  }
  const projects = ['tsconfig.build.json', 'tsconfig.cjs.json'].filter((project) => existsSync(join(root, project)))
  for (const project of projects) {
    const { ok, output } = run([process.execPath, compiler, '-p', project], { cwd: root })
    if (!ok) return { problem: `The TypeScript does not compile.\n\n${output}` }
  }
  if (existsSync(join(root, 'src', 'pages', 'console.html')))
    for (const folder of projects.length > 1 ? ['pages', 'cjs/pages'] : ['pages']) inlineConsolePage(folder)
  if (projects.length > 1) finishCommonJs()
  return { done: 'The TypeScript was compiled.' }
}
