/** `npm run build:ts`: compiles src/ to dist/, as ES modules and, in dist/cjs, as CommonJS. */
import process from 'node:process'
import { compileTypeScript } from './install/typescript.mjs'

const { problem } = compileTypeScript()
if (problem) {
  console.error(problem)
  process.exit(1)
}
