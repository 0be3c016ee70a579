/**
 * Before all tests: `src/` is compiled to `dist/`, which child processes run and to which the package's own
 * name resolves. NATIVE_WEBSOCKET_SERVER_KEEP_DIST=1 says that this has been done (scripts/compile.mjs).
 */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export function setup(): void {
  if (process.env.NATIVE_WEBSOCKET_SERVER_KEEP_DIST === '1') return
  const root = fileURLToPath(new URL('../..', import.meta.url))
  // What is left of sources that are gone would be tested, and packed, as if it were there.
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  execFileSync(process.execPath, ['scripts/compile.mjs'], { cwd: root, stdio: 'inherit' })
}
