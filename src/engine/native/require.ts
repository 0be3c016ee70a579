/** CommonJS' `require` for paths that are known at run time alone. */
import process from 'node:process'

/**
 * `createRequire(file)` of node:module, out of the sight of bundlers: webpack would put its own function in
 * the place of an imported one, and fail on a path that it does not know.
 */
export function requireFrom(file: string): NodeJS.Require {
  return process.getBuiltinModule('node:module').createRequire(file)
}
