/**
 * `npm run build:ts`: compiles src/ to dist/, as ES modules and, in dist/cjs, as CommonJS.
 * NATIVE_WEBSOCKET_SERVER_KEEP_DIST=1 says that this has been done, and that dist/ is being used.
 */
import process from 'node:process'
import { compileTypeScript } from './install/typescript.mjs'

if (process.env.NATIVE_WEBSOCKET_SERVER_KEEP_DIST === '1') process.exit(0)
const { problem } = compileTypeScript()
if (problem) {
  console.error(problem)
  process.exit(1)
}
