/** Finding and running programs. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import process from 'node:process'

/**
 * Runs a program to its end. `output` is what it printed, or why it could not run.
 * @param {readonly string[]} command
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, input?: string, timeout?: number }} [options] timeout in
 *   milliseconds
 */
export function run(command, options = {}) {
  const [program = '', ...args] = command
  const result = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, ...options })
  const printed = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim()
  return { ok: result.status === 0, output: result.error ? `${printed}\n${result.error.message}`.trim() : printed }
}

/**
 * The full path of a program on PATH, as a shell would find it.
 * @param {string} program a name, or a path
 * @returns {string | undefined}
 */
export function which(program) {
  if (program.includes('/')) return isExecutable(resolve(program)) ? resolve(program) : undefined
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const candidate = join(resolve(folder), program)
    if (isExecutable(candidate)) return candidate
  }
  return undefined
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
