/** Where the install step reads and writes. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import process from 'node:process'

/** The package's own folder. */
export const root = resolve(import.meta.dirname, '../..')
/** cmake-js builds here. */
export const buildDirectory = join(root, 'build')
/** What the native build makes, and what src/engine/native/engine.ts loads. */
export const addonFile = join(buildDirectory, 'Release', 'native_websocket_server.node')
/** Everything that CMake, make and the compiler printed. */
export const logFile = join(buildDirectory, 'install.log')
/** Why there is no native engine: a sentence, then the details. Absent when there is one. */
export const reasonFile = join(buildDirectory, 'install-reason.txt')
/** What the addon was built from. */
export const stateFile = join(buildDirectory, 'install-state.json')
/** The submodule, or what an npm tarball carries of it. */
export const upstreamDirectory = join(root, 'external', 'uwebsockets')
/** Whether this is a clone, rather than the npm package, which carries nothing that compiles TypeScript. */
export const isClone = existsSync(join(root, 'tsconfig.build.json'))

/** The command of the package manager that runs the install step, which tells its name; else npm's. */
function rebuild() {
  const [, name, major] = /^(\w+)\/(\d+)/.exec(process.env.npm_config_user_agent ?? '') ?? []
  if (name === 'pnpm') return 'pnpm rebuild native-websocket-server'
  if (name === 'yarn') return major === '1' ? 'yarn install --force' : 'yarn rebuild native-websocket-server'
  return 'npm rebuild native-websocket-server'
}

/** What tries again, in a clone and where the package is a dependency. */
export const tryAgain = isClone ? 'npm run build' : rebuild()
